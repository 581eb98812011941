"""Whether a batch may be sent now, and if not, what holds it back.

Everything is counted from the batches as they are, so a resume comes to the same
answer. Uploads are free; the answer that counts is the one before the create.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from elspeth.engine.account import ceiling_usd
from elspeth.engine.batch import Batch
from elspeth.engine.batches import Batches
from elspeth.engine.plan import Plan

__all__ = ["Allowance", "Hold"]


class Hold(Enum):
    """What holds a batch back."""

    SUBMITTING = "nothing more is sent"
    CANARY = "the first rows are not home yet"
    PLACES = "as many batches as allowed are in flight"
    TOKENS = "the provider's token queue is full"
    COST = "it might cost more than is left"


class Allowance:
    """The limits of one process's work on a run.

    ``has_failed`` and ``is_cancelling`` each keep all new work back: too many rows failed, or a person wants an end.
    """

    def __init__(self, plan: Plan, batches: Batches, *, max_cost_usd: Decimal | None) -> None:
        self._plan = plan
        self._batches = batches
        self.max_cost_usd = max_cost_usd
        self._ceilings: dict[int, Decimal] = {}
        self.has_failed = False
        self.is_cancelling = False

    def hold(self, batch: Batch) -> Hold | None:
        """What holds back a batch that is not a job yet; None when it may go."""
        step = self._plan.steps[batch.node_no]
        if step.batch is None:
            raise RuntimeError("only batch transforms have batches")
        limits = step.batch.limits
        if self.has_failed or self.is_cancelling:
            return Hold.SUBMITTING
        if not batch.is_canary and any(first.is_live for first in self._batches.canary(batch.node_no)):
            return Hold.CANARY
        if not batch.is_with_provider and self._batches.in_flight(batch.node_no) >= limits.max_batches_in_flight:
            return Hold.PLACES
        if limits.max_enqueued_tokens is not None and self._is_queue_full(batch, limits.max_enqueued_tokens):
            return Hold.TOKENS
        return Hold.COST if self._is_too_dear(batch) else None

    def missing_usd(self, batch: Batch) -> Decimal:
        """How much more the limit would have to be for a batch that is held back for its cost."""
        return self._committed_with(batch) - (self.max_cost_usd or Decimal(0))

    def _is_queue_full(self, batch: Batch, most: int) -> bool:
        """By our estimate; a batch that is too large for any queue goes alone."""
        others = [_likely_input(other) for other in self._batches.enqueued(batch.node_no) if other is not batch]
        return bool(others) and sum(others) + _likely_input(batch) > most

    def _is_too_dear(self, batch: Batch) -> bool:
        return self.max_cost_usd is not None and self._committed_with(batch) > self.max_cost_usd

    def _committed_with(self, batch: Batch) -> Decimal:
        """What the run may come to when this batch is sent as well."""
        if batch.number not in self._ceilings:
            self._ceilings[batch.number] = ceiling_usd(batch, self._plan.steps[batch.node_no].price)
        return self._batches.account().at_most + self._ceilings[batch.number]


def _likely_input(batch: Batch) -> int:
    return 0 if batch.estimate is None else batch.estimate.input.likely
