"""What an answer that never came leaves behind: found out over several processes, and before anything is done twice."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal

import pytest
from tests.conftest import Serve
from tests.engine.test_account import PRICE, ceilings, money
from tests.engine.test_remote import QUOTA, complete, fault, names, prepare, sent
from tests.engine.workbench import HurriedClock, Project, count

from elspeth.contracts import BatchPendingError, RunStatus
from elspeth.engine.decisions import Decisions
from elspeth.engine.remote import RemoteSteps
from elspeth.engine.uploads import Uploads


class KilledError(BaseException):
    """The process is gone."""


def test_a_job_of_a_killed_process_is_looked_for_by_every_later_one(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process sees too early a listing and ends; the third must not take its silence for an answer."""
    simulator = serve()
    prepare(bench, simulator, reconcile_grace_seconds=3600)
    with monkeypatch.context() as patched:
        patched.setattr(RemoteSteps, "_created", _die)
        with pytest.raises(KilledError):
            bench.run()
    fault(simulator, "batches.list", "stale_list")
    assert bench.resume(wait_s=0).status is RunStatus.PENDING
    assert names(bench)[-2:] == ["outcome_unknown", "job_not_listed"]
    complete(bench, bench.resume())
    assert count(simulator, "batches.create") == 1


def test_a_listing_that_fails_answers_nothing_for_a_later_process(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve()
    prepare(bench, simulator)
    with monkeypatch.context() as patched:
        patched.setattr(RemoteSteps, "_created", _die)
        with pytest.raises(KilledError):
            bench.run()
    fault(simulator, "batches.list", {"status": 500})
    assert bench.resume(wait_s=0).status is RunStatus.PENDING
    complete(bench, bench.resume())
    assert count(simulator, "batches.create") == 1


def test_an_upload_of_a_killed_process_is_looked_for_by_every_later_one(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve()
    prepare(bench, simulator)
    with monkeypatch.context() as patched:
        patched.setattr(Uploads, "_uploaded", _die)
        with pytest.raises(KilledError):
            bench.run()
    fault(simulator, "files.list", {"status": 500})
    assert bench.resume(wait_s=0).status is RunStatus.PENDING
    complete(bench, bench.resume())
    assert count(simulator, "files.create") == 1


def test_a_job_that_a_killed_process_may_have_made_is_in_flight(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, serve(), price=PRICE)
    with monkeypatch.context() as patched:
        patched.setattr(RemoteSteps, "_created", _die)
        with pytest.raises(KilledError):
            bench.run(max_cost_usd=Decimal(50))
    assert money(bench)["in_flight_at_most_usd"] == float(*ceilings(bench)) > 0


def sent_without_an_answer(bench: Project) -> None:
    """A step for each process: upload, create."""
    assert bench.run(wait_s=0).status is RunStatus.PENDING
    assert bench.resume(wait_s=0).status is RunStatus.PENDING
    assert names(bench)[-1] == "outcome_unknown"


def test_a_job_that_may_be_there_is_cancelled_when_it_is_found(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=1.0)
    prepare(bench, simulator)
    fault(simulator, "batches.create", "reset_after")
    sent_without_an_answer(bench)
    result = bench.resume(decisions=Decisions(cancel_now=True))
    assert isinstance(result.error, BatchPendingError)
    assert (count(simulator, "batches.create"), count(simulator, "batches.cancel")) == (1, 1)
    complete(bench, bench.resume())


def test_a_job_that_was_not_there_to_be_cancelled_is_not_cancelled_later(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    prepare(bench, simulator, reconcile_grace_seconds=1)
    fault(simulator, "batches.create", "reset_before")
    sent_without_an_answer(bench)
    assert isinstance(bench.resume(decisions=Decisions(cancel_now=True)).error, BatchPendingError)
    complete(bench, bench.resume())
    assert (count(simulator, "batches.create"), count(simulator, "batches.cancel")) == (2, 0)


def test_an_answer_about_a_job_of_another_file_is_no_answer(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "batches.create", {"patch": {"id": "batch-of-others", "input_file_id": "file-of-others"}})
    complete(bench, sent(bench, simulator))
    assert count(simulator, "batches.create") == 1
    assert names(bench)[3:5] == ["outcome_unknown", "adopted_job"]


def test_a_full_queue_is_no_failure_to_send(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """However often the queue was full, one lost answer afterwards is only the first."""
    simulator = serve()
    fault(simulator, "batches.create", QUOTA, occurrence=list(range(1, 9)))
    fault(simulator, "batches.create", "reset_before", occurrence=9)
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=1))


def test_a_job_that_a_person_adopts_is_not_overdue(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.5)
    prepare(bench, simulator)
    fault(simulator, "batches.create", "reset_after")
    fault(simulator, "batches.list", {"status": 500}, occurrence="every")
    assert bench.run(wait_s=10).status is RunStatus.PENDING
    simulator.clear_faults()
    listing = urllib.request.Request(f"{simulator.url}/v1/batches", headers={"authorization": "Bearer any"})
    with urllib.request.urlopen(listing) as answer:
        (job,) = json.load(answer)["data"]
    complete(bench, bench.resume(decisions=Decisions(adopt=job["id"])))
    assert "adopted_by_person" in names(bench)
    assert "overdue" not in names(bench)


def _die(*_args: object) -> None:
    raise KilledError
