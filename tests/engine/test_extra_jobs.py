"""Jobs too many, and jobs that a person wants stopped: cancelled, watched to their end, and their cost recorded."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.test_account import PAID, PRICE, money, used
from tests.engine.test_remote import complete, fault, names, prepare, sent
from tests.engine.workbench import HurriedClock, Project, count

from elspeth.contracts import BatchPendingError, CallStatus, RunStatus, StoppedError
from elspeth.engine.decisions import Decisions
from elspeth.simulator import Simulator

TIGHT = "retry: {max_attempts: 3, initial_seconds: 1, max_seconds: 2}\n"


def two_jobs(simulator: Simulator) -> None:
    """The first job is hidden by a stale list until a second one has been made, whose answer is lost as well."""
    fault(simulator, "batches.create", "reset_after", occurrence=[1, 2])
    fault(simulator, "batches.list", "stale_list")


def extra_of(bench: Project) -> int:
    ((_, _, extra),) = bench.events("extra_job")
    return int(extra["extra_batch"])


def last(bench: Project, number: int) -> dict[str, Any]:
    return dict([detail for batch, _, detail in bench.events() if batch == number][-1])


def test_of_several_jobs_one_is_kept_and_the_others_are_cancelled_and_paid_for(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0, price=PRICE))
    assert (count(simulator, "batches.create"), count(simulator, "batches.cancel")) == (2, 1)
    number = extra_of(bench)
    assert names(bench, number)[:2] == ["opened", "cancel_accepted"]
    assert names(bench, number)[-1] == "settled"
    ((kept, ours), (extra, its)) = bench.query("SELECT batch, remote_batch FROM v_batches ORDER BY batch")
    assert (kept, extra) == (1, number)
    assert ours != its
    assert money(bench)["spent_usd"] == float(used(bench))


def test_a_job_too_many_that_ran_to_its_end_is_counted_as_orphaned_money(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    two_jobs(simulator)
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0, price=PRICE))
    assert count(simulator, "batches.cancel") == 0, "it has ended by itself"
    paid = money(bench)
    assert paid["orphaned_usd"] == paid["spent_usd"] / 2 > 0
    assert paid["spent_usd"] == float(used(bench))
    assert [row["text"] for row in bench.lines("done")] == ["say 0", "say 1", "say 2"]


@pytest.mark.parametrize(("fault_of_cancel", "event"), [({"status": 409}, "refused"), ({"status": 404}, "refused")])
def test_when_a_cancel_is_refused_looking_at_the_job_tells(
    bench: Project, serve: Serve, hurried: HurriedClock, fault_of_cancel: Any, event: str
) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    fault(simulator, "batches.cancel", fault_of_cancel)
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0, poll_interval_seconds=1))
    number = extra_of(bench)
    assert names(bench, number)[:2] == ["opened", f"cancel_{event}"]
    assert names(bench, number)[-1] == "settled"


@pytest.mark.parametrize("action", [{"status": 500}, "reset_after", {"status": 429, "headers": {"retry-after": "9"}}])
def test_a_cancel_is_asked_for_until_there_is_an_answer(
    bench: Project, serve: Serve, hurried: HurriedClock, action: Any
) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    fault(simulator, "batches.cancel", action)
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0))
    assert count(simulator, "batches.cancel") == 2
    assert names(bench, extra_of(bench))[1:3] == ["failed_attempt", "cancel_accepted"]


def test_a_cancel_outlives_the_process(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.5)
    two_jobs(simulator)
    fault(simulator, "batches.cancel", {"status": 429, "headers": {"retry-after": "7200"}})
    prepare(bench, simulator, reconcile_grace_seconds=0)
    assert bench.run(wait_s=7_000).status is RunStatus.PENDING
    assert bench.query("SELECT COUNT(*) FROM outcomes") == [(3,)], "no row waits for a job too many"
    complete(bench, bench.resume())
    assert count(simulator, "batches.cancel") == 2


def test_a_job_too_many_that_is_lost_is_no_persons_business(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    two_jobs(simulator)
    fault(simulator, "files.content", {"status": 404})
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0, price=PRICE, poll_interval_seconds=1))
    assert money(bench)["lost_at_most_usd"] > 0
    assert names(bench, extra_of(bench))[-2:] == ["results_lost", "settled"]


def test_remote_jobs_are_cancelled_when_a_person_says_so_and_what_is_done_is_kept(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=1.0)
    prepare(bench, simulator, rows=4, max_requests=2, price=PRICE)
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    result = bench.resume(decisions=Decisions(cancel_now=True))
    assert isinstance(result.error, BatchPendingError)
    assert "--cancel-remote" in str(result.error.hint)
    assert count(simulator, "batches.cancel") == 2
    assert count(simulator, "batches.create") == 2, "nothing more is sent"
    who = {detail["cancelled_by"] for _, _, detail in bench.events("cancel_wanted")}
    assert len(who) == 1
    assert "@" in who.pop()
    complete(bench, bench.resume(), rows=4)
    assert PAID.origin == "test"


def test_a_stop_cancels_nothing_unless_told(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=1.0)
    stop = threading.Event()
    prepare(bench, simulator)
    hurried.on_sleep = stop.set
    assert isinstance(bench.run(stop=stop).error, StoppedError)
    assert count(simulator, "batches.cancel") == 0


def test_a_stop_cancels_what_is_in_flight_when_told(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=1.0)
    stop = threading.Event()
    prepare(bench, simulator)
    hurried.on_sleep = stop.set
    result = bench.run(stop=stop, decisions=Decisions(cancel_on_stop=True))
    assert (result.status, result.exit_code) == (RunStatus.INTERRUPTED, 130)
    assert count(simulator, "batches.cancel") == 1
    calls = bench.query("SELECT status FROM calls WHERE operation = 'batches.cancel'")
    assert calls == [(CallStatus.SUCCESS.value,)]
    complete(bench, bench.resume())
    assert names(bench)[-1] == "harvested"


def test_a_cancelling_of_ours_costs_a_row_no_attempt(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=1.0)
    prepare(bench, simulator, row_attempts=1)
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    bench.resume(decisions=Decisions(cancel_now=True))
    complete(bench, bench.resume())
