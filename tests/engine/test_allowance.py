"""What holds a batch back: the token queue, the canary, the places in flight; and the end of it (standstill.py)."""

from __future__ import annotations

from typing import Any

from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask

from elspeth.contracts import ErrorRateError, RunStatus
from elspeth.simulator import Simulator

BOTH = {"batches.create", "files.content"}


def prepare(bench: Project, simulator: Simulator, *, rows: int = 10, more: str = "", **options: Any) -> None:
    bench.rows([{"text": f"say {n}"} for n in range(rows)])
    options = {"poll_interval_seconds": 10, "max_requests": 2, **options}
    bench.pipeline(ask(simulator, **options), source="schema: {text: str}", sinks=["done", "failed"], more=more)


def order(simulator: Simulator) -> str:
    """Creates and downloads in the order in which they came: ``c`` and ``d``."""
    journal = [entry["operation"] for entry in simulator.journal() if entry["operation"] in BOTH]
    return "".join("c" if operation == "batches.create" else "d" for operation in journal)


def most_enqueued(bench: Project) -> int:
    """How many jobs were with the provider and not known to have ended, at the most."""
    changes = bench.query("SELECT event FROM batch_events WHERE event IN ('created', 'ended') ORDER BY at")
    running = most = 0
    for (event,) in changes:
        running += 1 if event == "created" else -1
        most = max(most, running)
    return most


def test_as_many_tokens_are_enqueued_as_allowed(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.4)
    prepare(bench, simulator, max_enqueued_tokens=60)
    assert bench.run().status is RunStatus.COMPLETED
    tokens = [detail["tokens"]["input"][1] for _, _, detail in bench.events("sealed")]
    assert len(tokens) == 5
    assert all(2 * one <= 60 < 3 * one for one in tokens)
    assert most_enqueued(bench) == 2


def test_files_are_filled_no_fuller_than_the_queue_takes(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    prepare(bench, simulator, max_enqueued_tokens=60, max_requests=100)
    assert bench.run().status is RunStatus.COMPLETED
    sealed = [(detail["requests"], detail["tokens"]["input"][1]) for _, _, detail in bench.events("sealed")]
    assert sum(requests for requests, _ in sealed) == 10
    assert all(tokens <= 60 for _, tokens in sealed)
    requests, tokens = sealed[0]
    assert tokens * (requests + 1) / requests > 60


def test_a_request_too_large_for_the_queue_goes_alone(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=3, max_enqueued_tokens=1)
    assert bench.run().status is RunStatus.COMPLETED
    assert len(bench.events("sealed")) == 3
    assert most_enqueued(bench) == 1


def test_a_canary_goes_first_and_alone(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """With its own second attempts; then the rest goes at once."""
    simulator = serve(row_faults={"row-1-0": "429"}, latency_s=0.3)
    prepare(bench, simulator, canary=3, max_requests=4)
    assert bench.run().status is RunStatus.COMPLETED
    sealed = [(number, detail["requests"]) for number, _, detail in bench.events("sealed")]
    assert sorted(requests for _, requests in sealed) == [1, 3, 3, 4]
    assert order(simulator).startswith("cddcdcc")


def test_a_canary_over_the_error_rate_ends_the_run(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """Ten of a thousand rows read are few; three of the first four are too many."""
    simulator = serve(row_faults={f"row-{n}-0": "content_filter" for n in range(3)})
    prepare(bench, simulator, rows=1_000, canary=4, max_requests=500, more="limits: {max_error_rate: 0.5}\n")
    result = bench.run()
    assert isinstance(result.error, ErrorRateError)
    assert result.error.message == "3 of the first 4 rows failed at step 'ask', its canary"
    assert order(simulator).count("c") == 1
    assert isinstance(bench.resume().error, ErrorRateError)
    assert order(simulator).count("c") == 1


def test_a_canary_within_the_error_rate_lets_the_rest_go(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(row_faults={"row-0-0": "content_filter"})
    prepare(bench, simulator, canary=4, more="limits: {max_error_rate: 0.5}\n")
    assert bench.run().status is RunStatus.COMPLETED


def test_without_a_limit_a_canary_dies_when_nothing_of_it_lives(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(row_faults={f"row-{n}-0": "content_filter" for n in range(2)})
    prepare(bench, simulator, canary=2)
    assert isinstance(bench.run().error, ErrorRateError)


def test_a_canary_is_remembered_by_a_resume(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.7)
    prepare(bench, simulator, canary=3)
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    assert order(simulator) == "c"
    assert bench.resume(submit_only=True).status is RunStatus.PENDING
    assert order(simulator) == "c"
    assert bench.resume().status is RunStatus.COMPLETED
