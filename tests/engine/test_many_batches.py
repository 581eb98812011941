"""Many small batches: nothing grows with their number, and the time that was given is kept."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, created

from elspeth.contracts import BatchPendingError, RunStatus


@pytest.fixture
def few_files() -> Iterator[None]:
    """Lets this process open hardly more files than it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_harvest_may_fill_more_batches_than_there_are_files_to_open(
    bench: Project, serve: Serve, few_files: None
) -> None:
    simulator = serve()
    bench.rows([{"text": f"t{n}"} for n in range(1_000)])
    options = {"poll_interval_seconds": 0.05, "max_batches_in_flight": 400}
    first = ask(simulator, name="first", response_field="one", **options)
    second = ask(simulator, name="second", response_field="two", max_requests=4, **options)
    bench.pipeline(first + second, sinks=("done", "failed"))
    result = bench.run()
    assert (result.status, result.error) == (RunStatus.COMPLETED, None)
    assert len(created(simulator)) == 251


def test_the_wait_is_bounded_even_while_there_is_always_something_to_do(bench: Project, serve: Serve) -> None:
    simulator = serve(latency_s=600.0)
    bench.rows([{"text": f"t{n}"} for n in range(60)])
    bench.pipeline(
        ask(simulator, max_requests=1, max_batches_in_flight=60, poll_interval_seconds=0.001),
        sinks=("done", "failed"),
    )
    begun = time.monotonic()
    result = bench.run(wait_s=1.0, stop=threading.Event())
    assert isinstance(result.error, BatchPendingError)
    assert time.monotonic() - begun < 60


def test_a_queue_that_stays_full_is_asked_less_and_less(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(enqueued_token_limit=10, quota_style="job")
    bench.rows([{"text": "x" * 400}])
    bench.pipeline(
        ask(simulator, poll_interval_seconds=1),
        sinks=("done", "failed"),
        more="retry: {max_attempts: 3, initial_seconds: 1, max_seconds: 300}\n",
    )
    assert isinstance(bench.run(wait_s=2_000.0).error, BatchPendingError)
    waits = [detail["times_queued"] for _, _, detail in bench.events("queued")]
    assert waits == list(range(1, len(waits) + 1))
    assert len(created(simulator)) < 25
