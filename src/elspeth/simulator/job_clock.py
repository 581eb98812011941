"""Where a job stands at a moment: pure functions of its record and the time.

A job needs both the clock and the worker to advance: it validates for the
first fifth of its latency, works until four fifths, finalizes for the rest,
and stays longer in any of these while the worker is not done with it.
"""

from dataclasses import dataclass

from elspeth.simulator.records import TERMINAL_PHASES, Job, Phase, Stage

VALIDATED_SHARE = 0.2
WORKED_SHARE = 0.8
CANCELLING_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    total: int
    completed: int
    failed: int


def phase_of(job: Job, now: float) -> Phase:
    share = _clock_share(job, now)
    if job.stage == Stage.INVALID:
        return Phase.VALIDATING if share < VALIDATED_SHARE else Phase.FAILED
    if job.cancel_at is not None:
        done = job.stage == Stage.MADE and now >= job.cancel_at + CANCELLING_SHARE * job.latency_s
        return Phase.CANCELLED if done else Phase.CANCELLING
    if share < VALIDATED_SHARE or job.validated_at is None:
        return Phase.VALIDATING
    if share < WORKED_SHARE or job.stage != Stage.MADE:
        return Phase.IN_PROGRESS
    return Phase.FINALIZING if share < 1 else Phase(job.ending.phase)


def is_terminal(job: Job, now: float) -> bool:
    return phase_of(job, now) in TERMINAL_PHASES


def ended_at(job: Job) -> float:
    """When the job is terminal at the earliest, once the worker has decided it."""
    if job.stage == Stage.INVALID:
        return max(job.created_at + VALIDATED_SHARE * job.latency_s, job.made_at or 0)
    by_clock = job.created_at + job.latency_s
    if job.cancel_at is not None:
        by_clock = job.cancel_at + CANCELLING_SHARE * job.latency_s
    return max(by_clock, job.made_at or 0)


def phase_times(job: Job, phase: Phase, now: float) -> dict[str, float | None]:
    """The `..._at` fields of the wire object."""
    started = max(job.created_at + VALIDATED_SHARE * job.latency_s, job.validated_at or 0)
    worked = max(job.created_at + WORKED_SHARE * job.latency_s, job.made_at or 0)
    end = ended_at(job) if phase in TERMINAL_PHASES else None
    has_started = job.validated_at is not None and phase is not Phase.VALIDATING
    has_worked = phase in TERMINAL_PHASES | {Phase.FINALIZING} and has_started and job.cancel_at is None
    return {
        "in_progress_at": started if has_started and started <= now else None,
        "finalizing_at": worked if has_worked else None,
        "completed_at": end if phase is Phase.COMPLETED else None,
        "failed_at": end if phase is Phase.FAILED else None,
        "expired_at": end if phase is Phase.EXPIRED else None,
        "cancelling_at": job.cancel_at,
        "cancelled_at": end if phase is Phase.CANCELLED else None,
    }


def counts_of(job: Job, phase: Phase, worked: tuple[int, int], now: float) -> Counts:
    """Of the (completed, failed) rows the worker has done, as many as the clock allows to be seen."""
    if job.total is None or job.stage == Stage.INVALID or phase is Phase.VALIDATING:
        return Counts(total=0, completed=0, failed=0)
    if phase in TERMINAL_PHASES:
        return Counts(total=job.total, completed=job.completed, failed=job.failed)
    completed, failed = worked
    done = completed + failed
    until = job.cancel_at if job.cancel_at is not None else now
    pace = (_clock_share(job, until) - VALIDATED_SHARE) / (WORKED_SHARE - VALIDATED_SHARE)
    seen = min(done, int(round(job.total * min(1.0, max(0.0, pace)), 6)))
    seen_failed = failed * seen // done if done else 0
    return Counts(total=job.total, completed=seen - seen_failed, failed=seen_failed)


def _clock_share(job: Job, now: float) -> float:
    return (now - job.created_at) / job.latency_s if job.latency_s > 0 else 1.0
