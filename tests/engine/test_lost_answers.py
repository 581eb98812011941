"""Answers that are late, refused or gone: what is paid for is waited for, and nothing is paid for twice by itself."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.test_account import PRICE, money
from tests.engine.test_extra_jobs import extra_of, two_jobs
from tests.engine.test_remote import complete, fault, names, prepare, sent
from tests.engine.test_uploads import stray
from tests.engine.workbench import HurriedClock, Project, count

from elspeth.contracts import BatchPendingError, RunStatus
from elspeth.engine.decisions import Decisions


def test_an_output_file_that_is_told_after_the_error_file_is_waited_for(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(row_faults={"row-1-0": "content_filter"})
    fault(simulator, "batches.retrieve", {"patch": {"output_file_id": None}}, occurrence=[1, 2])
    assert sent(bench, simulator).status is RunStatus.COMPLETED
    assert count(simulator, "batches.create") == 1
    assert [outcome for _, outcome, *_ in bench.outcomes()] == ["completed", "failed", "completed"]


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_files_of_a_job_that_was_cut_short_are_waited_for_too(
    bench: Project, serve: Serve, hurried: HurriedClock, status: str
) -> None:
    simulator = serve(quirks=["late_file_ids"])
    fault(simulator, "batches.create", {"end": {"status": status, "fraction": 0.5}})
    complete(bench, sent(bench, simulator, rows=4), rows=4)
    assert [detail["answered"] for _, _, detail in bench.events("harvested")] == [2, 2]


def test_a_completed_job_that_names_no_file_waits_for_a_person(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    nameless = {"patch": {"output_file_id": None, "error_file_id": None}}
    fault(simulator, "batches.retrieve", nameless, occurrence={"from": 1, "to": 11})
    result = sent(bench, simulator)
    assert isinstance(result.error, BatchPendingError)
    assert "--adopt" in str(result.error.hint)
    assert names(bench)[-1] == "results_lost"
    ((job,),) = bench.query("SELECT remote_batch FROM v_batches")
    complete(bench, bench.resume(decisions=Decisions(adopt=job)))
    assert count(simulator, "batches.create") == 1


def test_a_job_that_names_the_queue_and_has_answers_is_harvested(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    full = {"status": "failed", "errors": {"data": [{"code": "token_limit_exceeded", "message": "full"}]}}
    fault(simulator, "batches.retrieve", {"patch": full})
    complete(bench, sent(bench, simulator))
    assert count(simulator, "batches.create") == 1


@pytest.mark.parametrize("status", [400, 410])
def test_a_file_that_is_refused_for_good_waits_for_a_person(
    bench: Project, serve: Serve, hurried: HurriedClock, status: int
) -> None:
    simulator = serve()
    fault(simulator, "files.content", {"status": status})
    assert isinstance(sent(bench, simulator).error, BatchPendingError)
    complete(bench, bench.resume(decisions=Decisions(lost=(1,))))


@pytest.mark.parametrize(
    ("operation", "action", "event"),
    [
        ("files.delete", {"status": 403}, "strays_deleted"),
        ("files.list", {"status": 403}, "strays_left"),
        ("files.list", {"status": 404}, "strays_left"),
        ("files.list", {"status": 405}, "strays_left"),
    ],
)
def test_answers_do_not_wait_for_a_copy_that_we_may_not_delete(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str, action: Any, event: str
) -> None:
    simulator = serve()
    stray(simulator)
    fault(simulator, operation, action, occurrence={"from": 1 if operation == "files.delete" else 2})
    complete(bench, sent(bench, simulator))
    assert names(bench)[-2:] == [event, "harvested"]


def test_a_job_too_many_that_we_may_not_cancel_is_watched_to_its_end(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    fault(simulator, "batches.cancel", {"status": 403}, occurrence="every")
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0))
    assert names(bench, extra_of(bench))[1] == "cancel_refused"


def test_a_run_that_waits_only_for_jobs_too_many_says_how_to_end_it(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    fault(simulator, "batches.cancel", {"status": 429, "headers": {"retry-after": "7200"}})
    prepare(bench, simulator, reconcile_grace_seconds=0)
    result = bench.run(wait_s=7_000)
    assert isinstance(result.error, BatchPendingError)
    assert "--declare-lost" in str(result.error.hint)


def test_a_job_too_many_that_never_ends_can_be_given_up(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    prepare(bench, simulator, reconcile_grace_seconds=0, price=PRICE)
    fault(simulator, "batches.retrieve", {"patch": {"status": "cancelling"}}, occurrence={"from": 1})
    assert bench.run(wait_s=60).status is RunStatus.PENDING
    simulator.clear_faults()
    number = extra_of(bench)
    complete(bench, bench.resume(decisions=Decisions(lost=(number,))))
    assert names(bench, number)[-2:] == ["declared_lost", "settled"]
    assert money(bench)["lost_at_most_usd"] > 0
