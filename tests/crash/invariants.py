"""What must hold when a run that was killed has come to its end, held against what the provider saw.

1. the outputs are those of a run that nobody killed, byte for byte, and nothing is left beside them
2. there is one run, and each row has one record and one outcome
3. each batch has one job at the provider; a job too many is recorded, and so is what it came to
4. each file at the provider is the input of one batch; one too many is recorded and deleted
5. the trail has every answer that the program could act on, and none that was not given
6. an intent without an answer is followed by the record of what it had done
7. the payloads hold the bytes that the commits tell of
8. a replay of the trail gives these outputs again, and finds no difference
9. `verify` finds nothing, and all of the run is sealed
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from elspeth.app.replay import ReplayRequest, replay_run
from elspeth.app.state import State
from elspeth.app.verification import read_brought, verify_all
from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader
from elspeth.simulator import Simulator

Answer = tuple[str, str, str]
"""Operation, path, SHA-256 of the answer's body."""

SETTLED_BY = {
    "files.create": {"adopted_file", "upload_not_found"},
    "batches.create": {"adopted_job", "job_not_found"},
    "batches.cancel": {"cancel_accepted", "cancel_refused"},
}


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file in the folder of the outputs, hidden ones too, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Aftermath:
    """The trail and the provider after the last process has ended; ``environ``: in which it ran, and has its key."""

    def __init__(self, database: Path, simulator: Simulator, *, environ: Mapping[str, str] = os.environ) -> None:
        self._database = database
        self._environ = environ
        self.journal = simulator.journal()
        headers = {"authorization": "Bearer any"}
        with httpx2.Client(base_url=f"{simulator.url}/v1", headers=headers) as http:
            self.jobs: list[dict[str, Any]] = http.get("/batches?limit=100").json()["data"]
            self.files: list[dict[str, Any]] = http.get("/files?purpose=batch").json()["data"]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def events(self, *names: str) -> list[tuple[int, int, dict[str, Any]]]:
        """Events of those names: batch, commit, detail."""
        found = self.query("SELECT batch_no, commit_no, event, detail_json FROM batch_events ORDER BY 1, event_no")
        return [(batch, commit, json.loads(detail)) for batch, commit, event, detail in found if event in names]

    def check(self, *, rows: int, deaths: int | None = None) -> None:
        """All but the outputs. ``deaths`` bounds the answers that a process took with it, where each one is news."""
        self.check_rows(rows)
        self.check_jobs()
        self.check_files()
        self.check_answers(deaths)
        self.check_intents()
        self.check_payloads()
        self.check_replay()
        self.check_verified()

    def check_replay(self) -> None:
        found = replay_run(ReplayRequest(reference="latest"), state=State(self._database.parent), environ={})
        assert found.is_identical, found.content

    def check_rows(self, rows: int) -> None:
        assert [("completed",)] == self.query("SELECT status FROM v_runs")
        expected = [(index,) for index in range(rows)]
        assert expected == self.query("SELECT row_index FROM rows ORDER BY 1")
        assert expected == self.query("SELECT row_index FROM outcomes ORDER BY 1")

    def check_jobs(self) -> None:
        kept = self.events("created", "adopted_job")
        extra = {detail["extra_batch"]: detail["extra_batch_id"] for _, _, detail in self.events("extra_job")}
        assert [(n,) for n in sorted({*extra, *(batch for batch, _, _ in kept)})] == self.query(
            "SELECT batch_no FROM batches ORDER BY 1"
        )
        assert sorted(job["id"] for job in self.jobs) == sorted([d["batch_id"] for _, _, d in kept] + [*extra.values()])
        assert sorted(extra) == [batch for batch, _, _ in self.events("settled")]

    def check_files(self) -> None:
        used = {batch: detail["file_id"] for batch, _, detail in self.events("uploaded", "adopted_file")}
        stray = {detail["stray_file_id"] for _, _, detail in self.events("stray_file")}
        extra = {detail["extra_batch_id"] for _, _, detail in self.events("extra_job")}
        assert sorted(file["id"] for file in self.files) == sorted(used.values())
        assert sorted(j["input_file_id"] for j in self.jobs if j["id"] not in extra) == sorted(used.values())
        assert stray.isdisjoint(used.values())

    def check_answers(self, deaths: int | None) -> None:
        """What a process recorded is what it was answered, in order, but for the end that died with it.

        Of the answers in that end, one to a request that changes something had an intent.
        """
        given = [
            (entry["operation"], entry["path"], entry["response_sha256"])
            for entry in self.journal
            if entry["status"] is not None
        ]
        recorded = self._recorded()
        assert is_cut_only_at_ends(given, recorded)
        missing = Counter(given) - Counter(answer for answers in recorded for answer in answers)
        lost = Counter(operation for operation, _, _ in missing.elements())
        unanswered = Counter(operation for _, _, _, operation in self._unanswered())
        assert {} == Counter({operation: lost[operation] for operation in SETTLED_BY}) - unanswered, (lost, unanswered)
        if deaths is not None:
            assert missing.total() <= deaths, missing

    def _recorded(self) -> list[list[Answer]]:
        """The answers in the trail, process by process: each begins with the event that it is running."""
        begun = self.query(f"SELECT commit_no FROM run_events WHERE status = {RunStatus.RUNNING.value} ORDER BY 1")
        found: list[list[Answer]] = [[] for _ in begun]
        for commit, operation, url, sha256 in self.query(
            "SELECT commit_no, operation, url, response_hash FROM calls WHERE response_hash NOTNULL ORDER BY call_no"
        ):
            process = sum(first <= commit for (first,) in begun) - 1
            found[process].append((operation, urlsplit(url).path, sha256.hex()))
        return found

    def check_intents(self) -> None:
        for number, batch, commit, operation in self._unanswered():
            settled = [event for event in self.events(*SETTLED_BY[operation]) if event[0] == batch]
            assert any(later > commit for _, later, _ in settled), (number, batch, operation)

    def check_payloads(self) -> None:
        found = self.query(
            "SELECT payload_folder, name, e.start, e.length, e.hash FROM extents e JOIN runs USING (run_no) "
            "JOIN segments s ON s.run_no = e.run_no AND s.segment_no = e.file_no WHERE e.kind = 1"
        )
        assert found
        for folder, name, start, length, sha256 in found:
            data = (self._database.parent / folder / name).read_bytes()[start : start + length]
            assert sha256 == hashlib.sha256(data).digest(), name

    def check_verified(self) -> None:
        brought = read_brought((), (), self._environ)
        assert brought.known_keys
        with LandscapeReader(self._database) as reader, reader.snapshot():
            found = verify_all(reader, brought=brought, on_report=lambda _report: None)
        assert [] == [*found.findings, *(f for report in found.reports for step in report.steps for f in step.findings)]
        assert [] == [note for report in found.reports for step in report.steps[:7] for note in step.notes]

    def _unanswered(self) -> list[tuple[int, int, int, str]]:
        """The intents without an answer from the provider: intent, batch, commit, operation."""
        return self.query(
            "SELECT intent_no, batch_no, commit_no, operation FROM call_intents i WHERE NOT EXISTS "
            "(SELECT 1 FROM calls c WHERE c.run_no = i.run_no AND c.intent_no = i.intent_no AND http_status NOTNULL)"
        )


def is_cut_only_at_ends(given: list[Answer], recorded: list[list[Answer]]) -> bool:
    """Whether ``given`` is all that was recorded, one process after another, with gaps between processes only."""
    starts = {0}
    for answers in recorded:
        ends = [start + len(answers) for start in starts if given[start : start + len(answers)] == answers]
        if not ends:
            return False
        whole, starts = len(given) in ends, set(range(min(ends), len(given) + 1))
    return whole


def check_outputs(folder: Path, unkilled: Mapping[str, bytes]) -> None:
    assert unkilled
    assert outputs(folder) == unkilled
