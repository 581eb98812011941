"""The fault matrix: creating a job, the one request that costs money each time it arrives."""

import json
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from tests.e2e.fault_scene import Scene, error, fault, scene
from tests.e2e.project import ended
from tests.e2e.silent_proxy import SilentProxy

Folders = pytest.TempPathFactory
GRACE_S = 2.5
QUOTA = error(400, "token_limit_exceeded", "The queue is full.")
FULL = {"data": [{"code": "token_limit_exceeded", "message": "full"}]}
QUOTA_JOB = {"patch": {"status": "failed", "errors": FULL, "output_file_id": None, "request_counts": None}}
UNLISTED = fault("batches.list", "every", {"status": 500})


@pytest.fixture(scope="module")
def creates(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Six batches of one row, side by side; the first create of each is the one of its number."""
    faults = [
        fault("batches.create", 1, "reset_after"),
        fault("batches.create", 2, {"status": 500, "act": True}),
        fault("batches.create", 3, {"status": 408, "act": True}),
        fault("batches.create", 4, "truncate"),
        fault("batches.create", 5, "reset_before"),
        fault("batches.create", 6, {"status": 503}),
    ]
    with scene(tmp_path_factory.mktemp("creates"), *faults) as played:
        played.prepare(6, options={"max_batches_in_flight": 6, "reconcile_grace_seconds": GRACE_S})
        played.run()
        yield played


@pytest.fixture(scope="module")
def several(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Both creates of a file arrive and lose their answers: the first listing does not show the first job yet."""
    faults = [
        fault("batches.create", [1, 2], "reset_after"),
        fault("batches.list", 1, "stale_list"),
        fault("batches.cancel", 1, {"status": 409}),
    ]
    with scene(tmp_path_factory.mktemp("several"), *faults, latency_s=3.0, file_latency_s=0.0) as played:
        played.prepare(1, attempts=3)
        played.run()
        yield played


@pytest.fixture(scope="module")
def refused(tmp_path_factory: Folders) -> Iterator[Scene]:
    """A create that is refused in five ways; all but the first 404, which leads to the file, end a process."""
    refusals = [
        error(400, "invalid_request", "the schema is not supported"),
        error(404, "not_found", "no such file"),
        error(404, "DeploymentNotFound", "no such deployment"),
        error(401, "401", "bad key"),
        error(403, "403", "network rules"),
    ]
    faults = [fault("batches.create", number, action) for number, action in enumerate(refusals, start=1)]
    with scene(tmp_path_factory.mktemp("refused"), *faults) as played:
        played.prepare(1)
        played.run(code=3)
        for code in (3, 4, 4, 0):
            played.resume(code=code)
        yield played


@pytest.mark.parametrize(("batch", "status"), [(1, None), (2, 500), (3, 408), (4, 201)])
def test_create_is_accepted_and_its_answer_lost(creates: Scene, batch: int, status: int | None) -> None:
    """All jobs are listed, and the one of this input file is adopted."""
    assert [status] == creates.statuses(batch, "batches.create")
    assert ["outcome_unknown", "adopted_job"] == creates.events(batch)[3:5]
    assert 1 == creates.accepted(batch)


@pytest.mark.parametrize(("batch", "status"), [(5, None), (6, 503)])
def test_create_did_not_arrive(creates: Scene, batch: int, status: int | None) -> None:
    """It is sent again, but only when a listing that was begun after the grace shows no job."""
    first, second = creates.exchanges(batch, "batches.create")
    assert [status, 201] == [first.call["http_status"], second.call["http_status"]]
    assert 1 == creates.accepted(batch)
    events = creates.events(batch)
    assert ["job_not_found", "created"] == events[events.index("job_not_found") :][:2]
    begun = [datetime.fromisoformat(listing.call["started_at"]) for listing in creates.exchanges(batch, "batches.list")]
    sent = datetime.fromisoformat(first.call["started_at"])
    assert begun[-1] - sent >= timedelta(seconds=GRACE_S)


def test_creates_that_met_a_fault_leave_every_row_answered_once(creates: Scene) -> None:
    creates.check_complete(6)
    assert 6 == creates.accepted() == len(creates.listing("batches"))


def test_create_of_which_several_jobs_are_found(several: Scene) -> None:
    """One is kept, its rows are answered once; the other is stopped, and the trail knows its id and state."""
    several.check_complete(1)
    events = several.events(1)
    assert ["outcome_unknown", "job_not_found", "outcome_unknown", "adopted_job", "extra_job"] == events[3:8]
    jobs = [job["id"] for job in several.listing("batches")]
    extra = several.detail(1, "extra_job")
    assert sorted([several.detail(1, "adopted_job")["batch_id"], extra["extra_batch_id"]]) == sorted(jobs)
    assert 2 == several.accepted(), "what was sent a second time was sent only after the grace and a complete listing"


def test_cancel_answers_409(several: Scene) -> None:
    """A job that cannot be stopped is watched to its end, and what it used is counted."""
    extra = several.detail(1, "extra_job")["extra_batch"]
    assert [409] == several.statuses(extra, "batches.cancel")
    assert ["opened", "cancel_refused"] == several.events(extra)[:2]
    assert "completed" == several.detail(extra, "ended")["provider_status"].lower()
    assert [1] == [counts["rows"] for counts in several.detail(extra, "settled")["usage"].values()]


@pytest.mark.parametrize("action", ["reset_after", {"status": 500, "act": True}], ids=["reset", "500"])
def test_cancel_is_accepted_and_its_answer_lost(tmp_path_factory: Folders, action: object) -> None:
    """It is asked for again until there is an answer, and looking at the job tells what is paid for."""
    faults = [
        fault("batches.create", [1, 2], "reset_after"),
        fault("batches.list", 1, "stale_list"),
        fault("batches.cancel", 1, action),
    ]
    with scene(tmp_path_factory.mktemp("cancel"), *faults, latency_s=2.5) as played:
        played.prepare(1, attempts=3)
        played.run()
        played.check_complete(1)
        extra = played.detail(1, "extra_job")["extra_batch"]
        assert 2 == len(played.exchanges(extra, "batches.cancel"))
        assert "cancelled" == played.detail(extra, "ended")["provider_status"].lower()
        assert "settled" == played.events(extra)[-1]


def test_cancel_is_accepted_and_the_job_completes_anyway(tmp_path_factory: Folders) -> None:
    """The answers of the job that was kept are taken, once; those of the other are nobody's."""
    faults = [
        fault("batches.create", [1, 2], "reset_after"),
        fault("batches.list", 1, "stale_list"),
        fault("batches.cancel", "every", {"status": 500}),
    ]
    with scene(tmp_path_factory.mktemp("anyway"), *faults, latency_s=2.5) as played:
        played.prepare(1, attempts=3)
        played.run()
        played.check_complete(1)
        assert ["completed", "completed"] == [job["status"] for job in played.listing("batches")]
        assert 1 == played.events(1).count("harvested")
        extra = played.events(played.detail(1, "extra_job")["extra_batch"])
        assert extra.index("cancel_given_up") < extra.index("settled") == len(extra) - 1


def test_create_whose_listing_cannot_be_completed(tmp_path_factory: Folders) -> None:
    """Nothing is sent, however long it lasts; a person is told how to decide, and may name the job."""
    faults = [fault("batches.create", 1, "reset_after"), UNLISTED]
    with scene(tmp_path_factory.mktemp("unlisted"), *faults) as played:
        played.prepare(1)
        done = played.run("--wait", "5s", code=75)
        assert (1, 1) == (len(played.exchanges(1, "batches.create")), played.accepted())
        assert {500} == set(played.statuses(1, "batches.list"))
        played.simulator.clear_faults()
        (job,) = played.listing("batches")
        played.simulator.add_faults([UNLISTED])
        played.resume("--adopt", job["id"])
        played.check_complete(1)
        assert (1, 1) == (len(played.exchanges(1, "batches.create")), played.accepted())
        assert job["id"] == played.detail(1, "adopted_by_person")["batch_id"]
        played.check_told(done, "PENDING", "--adopt", "--declare-lost 1")


def test_create_whose_listing_cannot_be_completed_and_a_person_declares_it_lost(tmp_path_factory: Folders) -> None:
    faults = [fault("batches.create", 1, "reset_before"), UNLISTED]
    with scene(tmp_path_factory.mktemp("lost"), *faults) as played:
        played.prepare(1)
        played.run("--wait", "5s", code=75)
        assert 0 == played.accepted()
        played.resume("--declare-lost", "1")
        played.check_complete(1)
        assert "@" in played.detail(1, "declared_lost")["who"]
        assert (2, 1) == (len(played.exchanges(1, "batches.create")), played.accepted())


@pytest.mark.parametrize("lost", [b"POST /openai/v1/files ", b"POST /openai/v1/batches "], ids=["upload", "create"])
def test_upload_or_create_and_a_crash_before_the_answer_is_recorded(tmp_path_factory: Folders, lost: bytes) -> None:
    """The provider has done it, the trail has only the intent: it is found by the next process and not sent again."""
    with scene(tmp_path_factory.mktemp("crash")) as played, SilentProxy(played.simulator.url, lost=lost) as proxy:
        played.prepare(1, url=proxy.url)
        with ended(played.project.start("run", "pipeline.yaml")) as process:
            assert proxy.is_lost.wait(30)
            process.send_signal(signal.SIGKILL)
            process.wait()
        proxy.mend()
        played.resume()
        posts = [entry["operation"] for entry in played.journal() if entry["method"] == "POST"]
        assert ["files.create", "batches.create"] == posts
        assert {1} == {len(played.listing("batches"))}
        assert [1] == played.answered()
        assert ("adopted_file" if b"files" in lost else "adopted_job") in played.events(1)
        intents = [one["operation"] for one in played.project.query("SELECT operation FROM call_intents")]
        assert posts == intents


def test_create_answers_token_limit_exceeded(tmp_path_factory: Folders) -> None:
    """Later, not never, whether told as a 400 or by a job that fails, and outside the attempts that a fault has."""
    faults = [
        fault("batches.create", [1, 2, 3], QUOTA),
        fault("batches.retrieve", [1, 2, 3], QUOTA_JOB),
        fault("batches.create", 7, {"status": 429}),
    ]
    with scene(tmp_path_factory.mktemp("quota"), *faults) as played:
        played.prepare(1, attempts=2)
        played.run()
        played.check_complete(1)
        assert [400, 400, 400, 201, 201, 201, 429, 201] == played.statuses(1, "batches.create")
        assert 6 == played.events(1).count("queued")
        assert [(1, 0, None, 1)] == played.batches()


def test_create_answers_token_limit_exceeded_and_then_a_fault(tmp_path_factory: Folders) -> None:
    """Having waited for the queue uses up none of the attempts."""
    faults = [fault("batches.create", [1, 2, 3], QUOTA), fault("batches.create", 4, {"status": 429})]
    with scene(tmp_path_factory.mktemp("budget"), *faults) as played:
        played.prepare(1, attempts=2)
        played.run()
        played.check_complete(1)
        assert [400, 400, 400, 429, 201] == played.statuses(1, "batches.create")


@pytest.mark.parametrize("style", ["http", "job"])
def test_create_with_a_quota_for_one_batch_and_five_to_run(tmp_path_factory: Folders, style: str) -> None:
    """All five are sent by themselves, one after the other, and no row fails."""
    folder = tmp_path_factory.mktemp("five")
    with scene(folder, enqueued_token_limit=600, quota_style=style, latency_s=0.3) as played:
        played.prepare(15, max_requests=3, options={"max_batches_in_flight": 5})
        played.run()
        played.check_complete(15)
        assert [(n, 0, None, 3) for n in range(1, 6)] == played.batches()
        assert any("queued" in played.events(batch) for batch in range(1, 6)), "the quota was met"


def test_create_answers_429_with_a_long_retry_after(tmp_path_factory: Folders) -> None:
    """The provider's wish is obeyed by later processes as well, however long it is."""
    with scene(
        tmp_path_factory.mktemp("later"),
        fault("batches.create", 1, error(429, "rate_limit", headers={"retry-after": "86400"})),
    ) as played:
        played.prepare(1)
        played.check_told(played.run("--wait", "30s", code=75), "PENDING", "HTTP 429")
        played.resume("--wait", "1s", code=75)
        played.resume("--no-wait", code=75)
        (create,) = played.exchanges(1, "batches.create")
        asked_at = datetime.fromisoformat(create.call["started_at"]).timestamp()
        next_at = played.detail(1, "failed_attempt")["next_at"] / 1_000_000
        assert 86_400 <= next_at - asked_at < 86_460
        pending = played.project.query("SELECT detail_json FROM run_events ORDER BY event_no")[-1]
        assert next_at == json.loads(pending["detail_json"])["next_poll_at"] / 1_000_000
        played.check_trail()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0, ["HTTP 400", "the schema is not supported"]),
        (1, ["HTTP 404", "no such deployment", "batch SKU"]),
    ],
    ids=["400", "404 deployment"],
)
def test_create_answers_400_or_404(refused: Scene, place: int, words: list[str]) -> None:
    refused.check_told(refused.told[place], "batch 1: batches.create", *words)


@pytest.mark.parametrize(("place", "word"), [(2, "AZURE_OPENAI_API_KEY"), (3, "lacks permission")], ids=["401", "403"])
def test_create_answers_401_or_403(refused: Scene, place: int, word: str) -> None:
    refused.check_told(refused.told[place], word)


def test_a_refused_create_loses_nothing(refused: Scene) -> None:
    refused.check_complete(1)
    assert [400, 404, 404, 401, 403, 201] == refused.statuses(1, "batches.create")
    assert (1, 1) == (refused.accepted(operation="files.create"), refused.accepted())
    assert 4 == refused.events(1).count("refused")


def test_create_answers_404_since_its_file_is_gone(tmp_path_factory: Folders) -> None:
    """The provider is asked about the file, which has expired: it is sent again, and then there is a job."""
    gone = error(404, "not_found", "no such file")
    faults = [fault("batches.create", 1, gone), fault("files.retrieve", 1, gone)]
    with scene(tmp_path_factory.mktemp("expired"), *faults) as played:
        played.prepare(1)
        played.run()
        played.check_complete(1)
        assert ["file_doubted", "file_gone", "uploaded"] == played.events(1)[3:6]
        assert (2, 1) == (played.accepted(operation="files.create"), played.accepted())
