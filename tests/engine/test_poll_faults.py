"""A job is watched for as long as it takes, whatever the polls are told."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, count, created

from elspeth.contracts import RunStatus

FAULTS: list[Any] = [
    {"status": 500},
    {"status": 502, "body": "<html>Bad Gateway</html>"},
    {"status": 503, "headers": {"retry-after": "7"}},
    {"status": 408},
    {"status": 409},
    {"status": 429},
    {"status": 200, "body": ""},
    {"status": 200, "body": [1, 2]},
    {"status": 200, "body": {"object": "batch"}},
    {"patch": {"id": "batch_of_somebody_else"}},
    {"patch": {"status": "reticulating"}},
    {"patch": {"status": None}},
    {"patch": {"status": 7, "request_counts": "many"}},
    {"patch": {"status": "In_Progress", "request_counts": {"total": None, "completed": None, "failed": None}}},
    {"patch": {"status": "validating", "request_counts": None, "errors": {"data": []}}},
    {"patch": {"status": "cancelling", "output_file_id": ""}},
    "malformed_json",
    "truncate",
    "reset_before",
    "reset_after",
]
POLLS = 10_000
STALLS = 20
HOUR_S = 3_600.0


def prepare(bench: Project, simulator: Any, *, more: str = "", **options: Any) -> None:
    bench.rows([{"text": "one"}])
    step = ask(simulator, **{"poll_interval_seconds": 0.1, **options})
    bench.pipeline(step, source="schema: {text: str}", sinks=["done", "failed"], more=more)


class PatientClock(HurriedClock):
    """A clock on which somebody loses patience after a while."""

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._patience_s = patience_s

    def sleep_s(self, seconds: float) -> None:
        super().sleep_s(seconds)
        self._patience_s -= seconds
        if self._patience_s < 0:
            self.stop.set()


def patient(monkeypatch: pytest.MonkeyPatch, patience_s: float) -> PatientClock:
    clock = PatientClock(patience_s)
    monkeypatch.setattr("elspeth.app.runs.SystemClock", lambda stop=None: clock)
    return clock


@pytest.mark.slow
def test_ten_thousand_poll_faults_in_a_row_do_not_end_a_run(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    """One answer after the other in turn, so that every kind follows every success and every failure of its own."""
    simulator = serve()
    each = (POLLS - STALLS) // len(FAULTS)
    bounds = [(1 + place * each, (place + 1) * each) for place in range(len(FAULTS))]
    simulator.add_faults(
        [
            {"operation": "batches.retrieve", "occurrence": {"from": first, "to": last}, "action": action}
            for (first, last), action in zip(bounds, FAULTS, strict=True)
        ]
    )
    stalls = {"from": bounds[-1][1] + 1, "to": POLLS}
    simulator.add_faults([{"operation": "batches.retrieve", "occurrence": stalls, "action": "stall"}])
    prepare(bench, simulator, timeout_seconds=0.2)
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.COMPLETED, 0)
    assert count(simulator, "batches.retrieve") == POLLS + 1
    assert bench.query("SELECT COUNT(*) FROM calls WHERE operation = 'batches.retrieve'") == [(POLLS + 1,)]
    assert [row["text"] for row in bench.lines("done")] == ["one"]
    assert len(created(simulator)) == 1
    assert max(hurried.sleeps_s) <= 7


def test_waiting_leaves_nothing_in_the_trail_but_the_polls(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """Idle hours are not written down every few seconds."""
    simulator = serve()
    slow = {"patch": {"status": "in_progress", "output_file_id": None}}
    simulator.add_faults([{"operation": "batches.retrieve", "occurrence": {"from": 1, "to": 2}, "action": slow}])
    prepare(bench, simulator, poll_interval_seconds=HOUR_S)
    assert bench.run().status is RunStatus.COMPLETED
    assert sum(hurried.sleeps_s) > 2 * HOUR_S
    ((commits,),) = bench.query("SELECT COUNT(*) FROM commits")
    assert commits < 50


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": "files.retrieve", "action": {"patch": {"status": "pending"}}},
        {"operation": "batches.create", "action": {"status": 400, "body": {"error": {"code": "token_limit_exceeded"}}}},
    ],
    ids=["a file that stays pending", "a queue that stays full"],
)
def test_submitting_alone_ends_by_itself(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    """Without waiting for answers, a process does not wait for hours until it may ask."""
    clock = patient(monkeypatch, HOUR_S / 2)
    simulator = serve(file_latency_s=HOUR_S)
    simulator.add_faults([{**fault, "occurrence": "every"}])
    simulator.add_faults([{"operation": "files.create", "action": {"patch": {"status": "pending"}}}])
    prepare(bench, simulator, more="retry: {max_seconds: 20}\n")
    result = bench.run(submit_only=True, stop=clock.stop)
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert [] == [entry for entry in created(simulator) if entry["status"] == 200]


def test_listings_that_fail_use_up_no_attempts_to_send(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """Looking up what became of a request is not sending it."""
    simulator = serve()
    simulator.add_faults(
        [
            {"operation": "batches.create", "action": "reset_before"},
            {"operation": "batches.list", "occurrence": {"from": 1, "to": 9}, "action": {"status": 500}},
        ]
    )
    prepare(bench, simulator, more="retry: {max_attempts: 3}\n")
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.COMPLETED, 0)
    assert [entry["status"] for entry in created(simulator)] == [None, 200]


@pytest.mark.parametrize("operation", ["batches.retrieve", "batches.create"])
def test_who_may_ask_again_at_once_takes_a_moment_all_the_same(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str
) -> None:
    """`Retry-After: 0` is no invitation to ask a thousand times a second."""
    simulator = serve()
    wish = {"status": 429, "headers": {"retry-after": "0"}}
    simulator.add_faults([{"operation": operation, "occurrence": {"from": 1, "to": 20}, "action": wish}])
    prepare(bench, simulator, more="retry: {max_attempts: 30, initial_seconds: 0.1}\n")
    assert bench.run().status is RunStatus.COMPLETED
    assert sum(hurried.sleeps_s) >= 20 * 0.05
