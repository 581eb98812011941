"""A run in which every batch meets a fault of its own, and all that was said of it.

Batches hold one row each unless told, and one at a time is with the provider: the n-th
row is the n-th batch, and the occurrences of a fault can be counted beforehand.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.e2e.project import KEY, Done, Project, tickets
from tests.e2e.wire import Entry, of, request_payload_hash

from elspeth.app.replay import ReplayRequest, replay_run
from elspeth.app.state import State
from elspeth.simulator import Settings, Simulator

ASKED_BY_TEST = "x-asked-by-test"
STANDING = {"poll_interval_seconds": "0.1", "reconcile_grace_seconds": "1"}
"""Options of every pipeline, until a scene has its own."""

SENDING = ("files.create", "batches.create")


def fault(operation: str, occurrence: object, action: object) -> dict[str, Any]:
    return {"operation": operation, "occurrence": occurrence, "action": action}


def error(status: int, code: str, message: str = "Scripted.", **more: Any) -> dict[str, Any]:
    """An action: a provider's error answer."""
    return {"status": status, "body": {"error": {"code": code, "message": message, "param": None}}, **more}


def has_acted(entry: Entry) -> bool:
    """Whether a request took effect at the provider."""
    action = entry["fault"]
    if action == "reset_after" or (isinstance(action, dict) and action.get("act")):
        return True
    return entry["status"] in (200, 201)


@dataclass(frozen=True)
class Exchange:
    """One request: the call in the trail and the entry of the simulator's journal."""

    call: dict[str, Any]
    entry: Entry

    @property
    def error(self) -> dict[str, Any]:
        """What the trail holds of a failure."""
        found = json.loads(self.call["error_json"] or "{}")
        assert isinstance(found, dict)
        return found


class Scene:
    """A project, its provider, and what the commands said, in order."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.project = Project(folder)
        self.simulator = simulator
        self.told: list[Done] = []

    def prepare(
        self,
        rows: int,
        *,
        url: str | None = None,
        source: str | None = None,
        attempts: int = 2,
        options: Mapping[str, object] | None = None,
        **values: Any,
    ) -> None:
        """Writes the pipeline; ``options`` are those of the batch step."""
        lines = {"max_batches_in_flight": 1, **(options or {})}
        text = "\n      ".join(f"{name}: {value}" for name, value in lines.items())
        self.project.write("tickets.csv", source or tickets(rows))
        values = {"max_requests": 1, "options": text, **values}
        path = self.project.write_pipeline(url or self.simulator.url, **values)
        written = path.read_text().replace("max_attempts: 2", f"max_attempts: {attempts}").splitlines(keepends=True)
        own = [line for line in written if line.strip() not in (f"{name}: {STANDING.get(name)}" for name in lines)]
        path.write_text("".join(own))

    def run(self, *options: str, code: int = 0, **environment: str) -> Done:
        return self._tell("run", "pipeline.yaml", *options, code=code, env=environment)

    def resume(self, *options: str, code: int = 0, **environment: str) -> Done:
        return self._tell("resume", "latest", *options, code=code, env=environment)

    def _tell(self, *arguments: str, code: int, env: dict[str, str]) -> Done:
        self.told.append(self.project(*arguments, code=code, env=env, timeout=120))
        return self.told[-1]

    # What the provider knows

    def journal(self) -> list[Entry]:
        """The requests of the commands; what the test itself has asked is left out."""
        return [entry for entry in self.simulator.journal() if ASKED_BY_TEST not in entry["headers"]]

    def listing(self, collection: str) -> list[dict[str, Any]]:
        """The provider's ``files`` or ``batches``, the oldest first."""
        headers = {"api-key": KEY, ASKED_BY_TEST: "yes"}
        request = Request(f"{self.simulator.url}/openai/v1/{collection}?limit=100", headers=headers)
        with urlopen(request, timeout=30) as answer:
            found = json.loads(answer.read())["data"]
        return sorted(found, key=lambda item: item["created_at"])

    # What was recorded

    def exchanges(self, batch: int | None = None, operation: str | None = None) -> list[Exchange]:
        """The requests, each as the trail and as the provider saw it; they must agree one by one."""
        found = self.project.query("SELECT * FROM v_calls WHERE method IS NOT NULL")
        calls = sorted(found, key=lambda call: int(call["call_id"].rpartition(":")[2]))
        journal = self.journal()
        assert [(e["operation"], e["status"]) for e in journal] == [(c["operation"], c["http_status"]) for c in calls]
        pairs = [Exchange(call, entry) for call, entry in zip(calls, journal, strict=True)]
        return [
            pair
            for pair in pairs
            if batch in (None, pair.call["batch"]) and operation in (None, pair.call["operation"])
        ]

    def statuses(self, batch: int, operation: str) -> list[int | None]:
        return [pair.call["http_status"] for pair in self.exchanges(batch, operation)]

    def accepted(self, batch: int | None = None, operation: str = "batches.create") -> int:
        """How many of a batch's requests took effect: jobs, by default, which are what is paid for."""
        return sum(has_acted(pair.entry) for pair in self.exchanges(batch, operation))

    def events(self, batch: int) -> list[str]:
        return [event for event, _ in self.news(batch)]

    def news(self, batch: int, event: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """A batch's events with their details."""
        found = self.project.query(
            "SELECT event, detail_json FROM batch_events WHERE batch_no = ? ORDER BY event_no", batch
        )
        news = [(one["event"], json.loads(one["detail_json"])) for one in found]
        return [one for one in news if event in (None, one[0])]

    def detail(self, batch: int, event: str) -> dict[str, Any]:
        """The detail of a batch's one event of that name."""
        ((_, detail),) = self.news(batch, event)
        return detail

    def batches(self) -> list[tuple[int, int, int | None, int]]:
        """Number, attempt, parent and requests of every batch."""
        found = self.project.query(
            "SELECT b.batch_no, b.attempt, b.parent_no, v.requests FROM batches b "
            "JOIN v_batches v ON v.batch = b.batch_no ORDER BY b.batch_no"
        )
        return [tuple(record.values()) for record in found]  # type: ignore[misc]

    def state_error(self, row: int) -> dict[str, Any]:
        """Why a row failed, as the trail has it."""
        ((text,),) = (
            record.values()
            for record in self.project.query(
                "SELECT error_json FROM v_states WHERE row_index = ? AND status = 'failed'", row
            )
        )
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def answered(self) -> list[int]:
        """The ids in the outputs for answered rows; each output in the source's order."""
        triaged = [int(line.split(",")[0]) for line in self.project.text("out/triaged.csv").splitlines()[1:]]
        urgent = [row["id"] for row in self.project.lines("out/urgent.jsonl")]
        assert (sorted(triaged), sorted(urgent)) == (triaged, urgent)
        return sorted(triaged + urgent)

    def failed(self) -> dict[int, str]:
        """Id and code of each failed row."""
        return {row["id"]: row["_error"]["code"] for row in self.project.lines("out/failed.jsonl")}

    # What must always hold

    def check_trail(self) -> None:
        """Every request is a recorded call with the bytes that passed; a failure has its details, a send its intent."""
        for pair in self.exchanges():
            call, entry = pair.call, pair.entry
            assert request_payload_hash(entry) == call["request_hash"]
            assert (entry["response_sha256"] if entry["status"] else None) == call["response_hash"]
            is_cut = entry["fault"] == "truncate"
            if entry["status"] is None or entry["status"] >= 400 or is_cut:
                assert "error" == call["status"]
                assert pair.error["type"]
            else:
                assert ("success", None) == (call["status"], call["error_json"])
        intents = self.project.query("SELECT operation, lower(hex(request_hash)) AS hash FROM call_intents")
        for post in SENDING:
            sent = sorted(request_payload_hash(entry) for entry in of(self.journal(), post))
            assert sent == sorted(intent["hash"] for intent in intents if intent["operation"] == post)

    def check_complete(self, rows: int, failed: Sequence[int] = ()) -> None:
        """The run has completed under one id, every row is accounted for, the trail is whole and replays."""
        self.check_trail()
        assert ["completed"] == [run["status"] for run in self.project.query("SELECT status FROM v_runs")]
        assert [{"rows": rows}] == self.project.query("SELECT COUNT(*) AS rows FROM v_outcomes")
        assert sorted(failed) == sorted(self.failed())
        assert [n for n in range(1, rows + 1) if n not in failed] == self.answered()
        replayed = replay_run(ReplayRequest(reference="latest"), state=State(self.project.database.parent), environ={})
        assert replayed.is_identical, replayed.content

    def check_told(self, done: Done, *words: str) -> None:
        """Whoever reads the terminal knows what happened, and the next command."""
        told = done.out + done.err
        for word in (*words, f"elspeth resume {self.project.run_id()}"):
            assert word in told
        if done.code in (3, 4):
            assert "elspeth: " in done.err
            assert "hint: " in done.err


@contextmanager
def scene(folder: Path, *faults: Mapping[str, Any], **settings: Any) -> Iterator[Scene]:
    """A scene before its first command."""
    with Simulator(Settings(**{"latency_s": 0.0, "faults": faults, **settings})) as simulator:
        yield Scene(folder, simulator)
