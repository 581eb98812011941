"""The fault matrix: watching a job, while credentials expire, processes die or meet, and clocks differ."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.fault_scene import Exchange, Scene, error, fault, scene
from tests.e2e.project import Done, ended
from tests.e2e.wire import of

Folders = pytest.TempPathFactory
FOR_EVER_S = 600.0
DAY_S = 86_400.0
POLLS: list[object] = [
    {"status": 500},
    {"status": 503},
    {"status": 408},
    "malformed_json",
    "truncate",
    "reset_before",
    {"status": 429},
    {"status": 409},
    {"status": 200, "body": [1, 2]},
    {"patch": {"status": "reticulating"}},
    {"patch": {"status": None}},
    {"patch": {"status": "In_Progress", "request_counts": {"total": None, "completed": None, "failed": None}}},
    {"patch": {"status": "in_progress", "request_counts": None, "endpoint": None, "output_file_id": ""}},
    {"patch": {"id": "batch_of_somebody_else"}},
    error(404, "not_found"),
]


@pytest.fixture(scope="module")
def polls(tmp_path_factory: Folders) -> Iterator[Scene]:
    """One job that is told in every wrong way, one after the other, before it is told to be completed."""
    faults = [fault("batches.retrieve", number, action) for number, action in enumerate(POLLS, start=1)]
    with scene(tmp_path_factory.mktemp("polls"), *faults, quirks=["capitalised_status"]) as played:
        played.prepare(1)
        played.run()
        yield played


def answer(played: Scene, action: object) -> Exchange:
    """The poll that met a fault."""
    (found,) = (pair for pair in played.exchanges(1, "batches.retrieve") if pair.entry["fault"] == action)
    return found


@pytest.mark.parametrize("status", [500, 503])
def test_poll_answers_5xx(polls: Scene, status: int) -> None:
    found = answer(polls, {"status": status})
    assert ("error", status) == (found.call["status"], found.call["http_status"])
    assert "A scripted fault." in found.error["body"]
    assert status in [detail["http_status"] for _, detail in polls.news(1, "failed_attempt")]


def test_poll_answers_408(polls: Scene) -> None:
    found = answer(polls, {"status": 408})
    assert ("error", 408) == (found.call["status"], found.call["http_status"])
    assert 408 in [detail["http_status"] for _, detail in polls.news(1, "failed_attempt")]


@pytest.mark.parametrize("action", ["malformed_json", "truncate", {"status": 200, "body": [1, 2]}], ids=str)
def test_poll_answers_malformed_json(polls: Scene, action: object) -> None:
    """The raw answer is kept as far as it came."""
    found = answer(polls, action)
    assert 200 == found.call["http_status"]
    raw = polls.project.payload(found.call["response_hash"])
    assert json.loads(raw) == [1, 2] if isinstance(action, dict) else raw.startswith(b"{")
    assert "malformed_answer" in [detail["code"] for _, detail in polls.news(1, "failed_attempt")]


def test_poll_answers_an_unknown_or_capitalised_status(polls: Scene) -> None:
    """It is noted as it was spelt, and is never an end."""
    told = [detail["provider_status"] for _, detail in polls.news(1, "polled")]
    assert ["reticulating", "", "In_Progress", "in_progress"] == told
    assert "Completed" == polls.detail(1, "ended")["provider_status"]


def test_poll_answers_null_counts(polls: Scene) -> None:
    assert [None, None] == [detail["total"] for _, detail in polls.news(1, "polled")[-2:]]
    assert 1 == polls.detail(1, "ended")["total"]


def test_poll_answers_404_for_a_job_that_is_still_listed(polls: Scene) -> None:
    """The list is asked, once, and the job is watched on."""
    assert 404 == answer(polls, error(404, "not_found")).call["http_status"]
    assert [200] == polls.statuses(1, "batches.list")
    assert "lost" not in polls.events(1)


def test_polls_that_met_a_fault_leave_one_job_and_every_row_answered(polls: Scene) -> None:
    polls.check_complete(1)
    assert len(POLLS) + 1 == len(polls.exchanges(1, "batches.retrieve"))
    assert (1, 1) == (len(polls.exchanges(1, "files.create")), len(polls.exchanges(1, "batches.create")))


def test_poll_answers_404_for_a_job_that_is_listed_no_more(tmp_path_factory: Folders) -> None:
    """A person decides: no process sends it again by itself, and when the provider finds it again it is adopted."""
    gone = [
        fault("batches.retrieve", "every", error(404, "not_found")),
        fault("batches.list", "every", {"patch": {"data": []}}),
    ]
    with scene(tmp_path_factory.mktemp("gone"), *gone) as played:
        played.prepare(1)
        done = played.run(code=75)
        played.check_told(done, "The provider no longer knows batch 1", "--adopt BATCH_ID", "--declare-lost 1")
        played.resume(code=75)
        assert "lost" == played.events(1)[-1]
        played.simulator.clear_faults()
        (job,) = played.listing("batches")
        played.resume("--adopt", job["id"])
        played.check_complete(1)
        assert 1 == len(played.exchanges(1, "batches.create"))


# Credentials

ENTRA = """\
import pathlib
class DefaultAzureCredential:
    pass
def get_bearer_token_provider(credential, scope):
    log = pathlib.Path(__file__).with_name("asked")
    asked = len(log.read_text().splitlines()) + 1 if log.exists() else 1
    with log.open("a") as stream:
        stream.write(scope + "\\n")
    return lambda: f"a-token-of-entra-{asked}"
"""


def use_entra(played: Scene, folder: Path) -> tuple[Path, dict[str, str]]:
    """Tokens of a stand-in for azure-identity, an extra that is not installed; returns its log, and the environment."""
    for name, text in {"azure/core/exceptions.py": "", "azure/identity.py": ENTRA}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "azure/core/exceptions.py").write_text(
        "class AzureError(Exception):\n    pass\nclass ClientAuthenticationError(AzureError):\n    pass\n"
    )
    path = played.project.path("pipeline.yaml")
    path.write_text(path.read_text().replace("api_key: ${AZURE_OPENAI_API_KEY}", "credential: entra"))
    return folder / "azure" / "asked", {"PYTHONPATH": str(folder)}


def test_auth_token_expires_during_a_poll(tmp_path_factory: Folders) -> None:
    """A refused token is renewed once; a second refusal in a row is final, and so is 403."""
    refusals = {1: error(401, "401"), 3: error(401, "401"), 4: error(401, "401"), 6: error(403, "403")}
    faults = [fault("batches.retrieve", number, action) for number, action in refusals.items()]
    slow = fault("batches.retrieve", "every", {"patch": {"status": "in_progress"}})
    folder = tmp_path_factory.mktemp("auth")
    with scene(folder, *faults, slow) as played:
        played.prepare(1)
        asked, environment = use_entra(played, folder / "site")
        refused = played.run(code=4, **environment)
        assert [401, 200, 401, 401] == played.statuses(1, "batches.retrieve")
        assert 3 == len(asked.read_text().splitlines()), (
            "the first token, and a new one after each refusal that is not final"
        )
        played.check_told(refused, "HTTP 401", "the token of Microsoft Entra ID")
        forbidden = played.resume(code=4, **environment)
        played.check_told(forbidden, "HTTP 403", "lacks permission")
        played.simulator.clear_faults()
        played.resume(**environment)
        played.check_complete(1)
        assert (1, 1) == (len(played.exchanges(1, "files.create")), len(played.exchanges(1, "batches.create")))
        assert b"a-token-of-entra" not in played.project.database.read_bytes()


def test_auth_key_is_refused_during_a_poll(tmp_path_factory: Folders) -> None:
    """A key cannot be renewed: the process ends, the job stays ours."""
    faults = [fault("batches.retrieve", 1, error(401, "401")), fault("batches.retrieve", 2, error(403, "403"))]
    with scene(tmp_path_factory.mktemp("key"), *faults) as played:
        played.prepare(1)
        played.check_told(played.run(code=4), "HTTP 401", "AZURE_OPENAI_API_KEY")
        played.check_told(played.resume(code=4), "HTTP 403", "lacks permission")
        played.resume()
        played.check_complete(1)
        assert 1 == played.accepted()


# Processes


@dataclass(frozen=True)
class Held:
    """What a second process was told while another one held the run, and the process that was killed then."""

    scene: Scene
    holder: int
    busy: tuple[Done, Done]


@pytest.fixture(scope="module")
def held(tmp_path_factory: Folders) -> Iterator[Held]:
    with scene(tmp_path_factory.mktemp("held"), latency_s=FOR_EVER_S, file_latency_s=0.0) as played:
        played.prepare(1)
        with ended(played.project.start("run", "pipeline.yaml")) as process:
            until = time.monotonic() + 30
            while not of(played.journal(), "batches.retrieve"):
                assert time.monotonic() < until
                time.sleep(0.02)
            busy = (played.resume(code=6), played.resume("--declare-lost", "1", code=6))
            process.send_signal(signal.SIGKILL)
            process.wait()
        polled = len(of(played.journal(), "batches.retrieve"))
        played.resume("--wait", "1s", code=75)
        assert polled < len(of(played.journal(), "batches.retrieve")), "the job is watched on"
        yield Held(played, process.pid, busy)


def test_concurrency_two_processes_resume_one_run(held: Held) -> None:
    """The second is refused with the holder's name, host and time."""
    run_id = held.scene.project.run_id()
    for done in held.busy:
        assert f"run {run_id} is held by process {held.holder} on {socket.gethostname()} since 2" in done.err
        assert "hint: " in done.err
        assert "" == done.out


def test_poll_and_its_process_dies(held: Held) -> None:
    """The next one goes on by the stored id; there is no new job."""
    posts = [entry["operation"] for entry in held.scene.journal() if entry["method"] == "POST"]
    assert ["files.create", "batches.create"] == posts
    (job,) = held.scene.listing("batches")
    assert [{"remote_batch": job["id"]}] == held.scene.project.query("SELECT remote_batch FROM v_batches")
    paths = {entry["path"] for entry in of(held.scene.journal(), "batches.retrieve")}
    assert {f"/openai/v1/batches/{job['id']}"} == paths


class SkewedTime:
    """The module ``time`` of a machine whose clock is wrong."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self.monotonic = time.monotonic

    def time(self) -> float:
        return time.time() + self._ahead_s


@pytest.mark.parametrize("ahead_s", [-DAY_S, DAY_S], ids=["the provider's clock is behind", "ahead"])
def test_clock_is_skewed(tmp_path_factory: Folders, monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """Times of the two sides are never compared: what is lost is found, what did not arrive is sent after the grace."""
    for module in ("app", "worker"):
        monkeypatch.setattr(f"elspeth.simulator.{module}.time", SkewedTime(ahead_s))
    faults = [
        fault("files.create", 1, "reset_after"),
        fault("batches.create", 1, "reset_after"),
        fault("batches.create", 2, "reset_before"),
    ]
    with scene(tmp_path_factory.mktemp("skewed"), *faults) as played:
        played.prepare(2, options={"max_batches_in_flight": 2})
        played.run()
        played.check_complete(2)
        (told,) = {int(job["created_at"] // DAY_S) for job in played.listing("batches")}
        assert told != int(time.time() // DAY_S)
        assert (2, 2) == (played.accepted(operation="files.create"), played.accepted())
        events = played.events(1) + played.events(2)
        assert {"adopted_file", "adopted_job", "job_not_found", "created"} <= set(events)
        ends = json.loads(played.project("status", "--json").out)["batches"]
        assert ["harvested", "harvested"] == [batch["phase"] for batch in ends]
