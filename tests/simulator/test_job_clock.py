"""Where a job stands, without a server."""

from dataclasses import replace
from typing import Any

import pytest

from elspeth.simulator.job_clock import counts_of, phase_of, phase_times
from elspeth.simulator.records import Ending, Job, Stage

JOB = Job(
    id="batch_1",
    seq=1,
    profile="openai",
    endpoint="/v1/chat/completions",
    input_file_id="file-1",
    input_bytes=1,
    completion_window="24h",
    metadata=None,
    created_at=1000.0,
    latency_s=10.0,
)
VALID = replace(JOB, total=100, validated_at=1000.1)
MADE = replace(VALID, stage=Stage.MADE, made_at=1000.5, completed=90, failed=10)


@pytest.mark.parametrize(("job", "after_s", "expected"), [
    (JOB, 5, "validating"),
    (VALID, 1, "validating"),
    (VALID, 3, "in_progress"),
    (VALID, 50, "in_progress"),
    (MADE, 1, "validating"),
    (MADE, 3, "in_progress"),
    (MADE, 9, "finalizing"),
    (MADE, 10, "completed"),
    (replace(MADE, ending=Ending(phase="expired")), 10, "expired"),
    (replace(JOB, stage=Stage.INVALID), 1, "validating"),
    (replace(JOB, stage=Stage.INVALID), 2, "failed"),
    (replace(MADE, cancel_at=1004.0), 5, "cancelling"),
    (replace(MADE, cancel_at=1004.0), 6, "cancelled"),
    (replace(VALID, cancel_at=1004.0), 60, "cancelling"),
    (replace(MADE, latency_s=0.0), 0, "completed"),
])  # fmt: skip
def test_a_job_needs_the_clock_and_the_worker_to_advance(job: Job, after_s: float, expected: str) -> None:
    assert expected == phase_of(job, 1000.0 + after_s)


@pytest.mark.parametrize(("after_s", "worked", "expected"), [
    (1, (90, 10), (0, 0)),
    (5, (90, 10), (45, 5)),
    (5, (10, 0), (10, 0)),
    (10, (90, 10), (90, 10)),
])  # fmt: skip
def test_counts_grow_with_the_clock_and_never_pass_the_worker(after_s: float, worked: Any, expected: Any) -> None:
    now = 1000.0 + after_s
    counts = counts_of(MADE, phase_of(MADE, now), worked, now)
    assert expected == (counts.completed, counts.failed)


def test_times_are_given_for_the_phases_that_were_reached() -> None:
    times = phase_times(MADE, phase_of(MADE, 1020.0), 1020.0)
    assert {name: moment for name, moment in times.items() if moment is not None} == {
        "in_progress_at": 1002.0,
        "finalizing_at": 1008.0,
        "completed_at": 1010.0,
    }
