"""Why nothing moves any more, and what somebody can do about it."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import NoReturn

from elspeth.contracts import BatchPendingError, BatchPhase, CostLimitError, ErrorRateError, dollars
from elspeth.engine.allowance import Allowance, Hold
from elspeth.engine.attempts import Attempts
from elspeth.engine.batch import Batch
from elspeth.engine.batches import Batches
from elspeth.engine.plan import Plan

__all__ = ["Standstill"]


class Standstill:
    """Finds the error that ends a process whose batches have no step left to take."""

    def __init__(self, plan: Plan, *, batches: Batches, allowance: Allowance, attempts: Attempts) -> None:
        self._plan = plan
        self._batches = batches
        self._allowance = allowance
        self._attempts = attempts

    def stop(self, *, now: int, bad_rows: int, rows: int) -> NoReturn:
        """Raises the first reason that holds, the one that needs a person before the one that needs time."""
        dead = next((step for step in self._plan.batch_steps if self._batches.is_canary_dead(step.number)), None)
        if dead is not None:
            raise self._dead_canary(dead.name, self._batches.canary(dead.number))
        if self._is_over(bad_rows, rows):
            raise _too_many_errors(bad_rows, rows)
        if self._allowance.is_cancelling:
            raise self._pending(now, _CANCELLED)
        for batch in self._batches.live.values():
            if batch.phase in {BatchPhase.SEALED, BatchPhase.READY} and self._allowance.hold(batch) is Hold.COST:
                raise self._too_dear(batch)
        raise self._pending(now, self._hint())

    def undecided(self) -> str | None:
        """What a person can do when nobody can find out whether a job was made; None when nothing is to be done."""
        waiting = [b for b in self._batches.live.values() if b.phase is BatchPhase.READY and b.unsure and b.tries > 1]
        if not waiting:
            return None
        number = waiting[0].number
        return (
            f"Whether batch {number} was accepted is not known while the provider's list of jobs cannot be had, and "
            "nothing is sent again until it can. Resume the run later; or, if you know, with --adopt BATCH_ID, or, to "
            f"send it again, --declare-lost {number}."
        )

    def _is_over(self, bad_rows: int, rows: int) -> bool:
        limit = self._plan.max_error_rate
        return limit is not None and rows > 0 and bad_rows / rows > limit

    def _pending(self, now: int, hint: str) -> BatchPendingError:
        return BatchPendingError(sorted(self._batches.live), now, hint=hint)

    def _dead_canary(self, step: str, family: list[Batch]) -> ErrorRateError:
        failed = sum(batch.failed_requests for batch in family)
        return ErrorRateError(
            f"{failed:,} of the first {family[0].requests:,} rows failed at step {step!r}, its canary",
            hint="Nothing more was sent. `elspeth status` counts the reasons; mend the pipeline and begin another "
            "run: elspeth run FILE --new.",
        )

    def _too_dear(self, batch: Batch) -> CostLimitError:
        account = self._batches.account()
        price = self._plan.steps[batch.node_no].price
        lacks = self._allowance.missing_usd(batch)
        limit = self._allowance.max_cost_usd or Decimal(0)
        enough = dollars(_enough(limit + lacks))
        origin = "" if price is None else f" (price: {price.origin})"
        return CostLimitError(
            f"batch {batch.number} might cost {dollars(lacks)} more than is left: limit {dollars(limit)}, "
            f"spent {dollars(account.spent)}{origin}",
            hint=f"Nothing of it was sent. Go on with a limit of {enough} or more: elspeth resume RUN --max-cost "
            "USD; a smaller `max_completion_tokens` or `max_requests` lowers what a batch may cost.",
        )

    def _hint(self) -> str:
        if self._attempts.stalled:
            number, message = next(iter(self._attempts.stalled.items()))
            return f"Batch {number} could not be sent: {message}. Resume the run later."
        lost = [batch.number for batch in self._batches.live.values() if batch.phase is BatchPhase.LOST]
        if lost:
            return (
                f"The provider no longer knows batch {lost[0]} or its results, and nothing is sent again by itself. "
                f"Find its job and resume with --adopt BATCH_ID, or pay for its rows again: --declare-lost {lost[0]}."
            )
        return "Every batch waits for another one."


def _enough(amount: Decimal) -> Decimal:
    """The amount, rounded up to what `dollars` shows of it."""
    return amount.quantize(Decimal("0.01") if amount >= 1 else Decimal("0.0001"), rounding=ROUND_CEILING)


_CANCELLED = "The jobs were cancelled as --cancel-remote says. A resume without it sends the rows that have no answer."


def _too_many_errors(bad_rows: int, rows: int) -> ErrorRateError:
    return ErrorRateError(
        f"{bad_rows} of {rows} rows failed, more than limits.max_error_rate allows",
        hint="What was submitted is harvested, nothing more is sent under this limit; `elspeth status` counts the "
        "reasons. A run with another limit: elspeth run FILE --new.",
    )
