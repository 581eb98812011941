"""What a run has cost, and what it may still cost, from its batches and the prices of their steps.

Nothing is kept anywhere but in the batches' events: the engine asks before each
submission, the reports ask afterwards, and both get the same sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from elspeth.contracts import BatchPhase, Price
from elspeth.core.landscape.savings import Savings
from elspeth.engine.batch import Batch

__all__ = ["Account", "account_of", "ceiling_usd", "savings_as_json"]

_ZERO = Decimal(0)


class Account(Struct, frozen=True, kw_only=True):
    """US dollars.

    ``spent`` is what the answers of harvested jobs have cost, ``orphaned`` the part of it that bought answers
    for no row. ``in_flight`` and ``unknown`` are ceilings: of jobs that run, and of jobs that may have run and
    whose results nobody has, or of ``uncounted`` answers that do not say what they used. ``unpriced_nodes`` are
    steps that have bought answers at a price nobody told.
    """

    spent: Decimal = _ZERO
    orphaned: Decimal = _ZERO
    in_flight: Decimal = _ZERO
    unknown: Decimal = _ZERO
    uncounted: int = 0
    unpriced_nodes: frozenset[int] = frozenset()

    def __add__(self, other: Account) -> Account:
        return Account(
            spent=self.spent + other.spent,
            orphaned=self.orphaned + other.orphaned,
            in_flight=self.in_flight + other.in_flight,
            unknown=self.unknown + other.unknown,
            uncounted=self.uncounted + other.uncounted,
            unpriced_nodes=self.unpriced_nodes | other.unpriced_nodes,
        )

    @property
    def at_most(self) -> Decimal:
        """What it may come to when nothing more is sent."""
        return self.spent + self.in_flight + self.unknown

    def as_json(self, names: Mapping[int, str]) -> dict[str, Any]:
        """For reports: numbers in US dollars; ``spent_usd`` is None where a part of it is not known."""
        is_unknown = bool(self.unpriced_nodes) or (self.uncounted > 0 and not self.spent and self.unknown > 0)
        return {
            "spent_usd": None if is_unknown else as_number(self.spent),
            "orphaned_usd": as_number(self.orphaned),
            "in_flight_at_most_usd": as_number(self.in_flight),
            "lost_at_most_usd": as_number(self.unknown),
            "unpriced_steps": sorted(names[node] for node in self.unpriced_nodes),
        }


def as_number(amount: Decimal) -> float:
    """Dollars to the millionth."""
    return float(round(amount, 6))


def savings_as_json(savings: Iterable[Savings], prices: Mapping[int, Price]) -> dict[str, Any]:
    """For reports; ``saved_usd``, at this run's prices, is None where a part of it is not known."""
    saved = list(savings)
    costs = [
        price.cost_usd(one.input_tokens, one.output_tokens)
        for one in saved
        if (price := prices.get(one.node_no)) is not None
    ]
    return {
        "saved_usd": as_number(sum(costs, _ZERO)) if len(costs) == len(saved) else None,
        "answers_reused": sum(one.answers_reused for one in saved),
        "requests_shared": sum(one.requests_shared for one in saved),
    }


def account_of(batches: Iterable[Batch], prices: Mapping[int, Price]) -> Account:
    """The account of some batches; ``prices`` are those of nodes, where they are known."""
    total = Account()
    for batch in batches:
        total += _entry(batch, prices.get(batch.node_no))
    return total


def ceiling_usd(batch: Batch, price: Price | None) -> Decimal:
    """The most that one job for a sealed batch may cost; nothing where there is no price."""
    if price is None or batch.estimate is None:
        return _ZERO
    return price.bounds_usd(batch.estimate)[2]


def _entry(batch: Batch, price: Price | None) -> Account:
    may_run = batch.is_enqueued or batch.phase is BatchPhase.ENDED
    if price is None:
        is_lost = batch.lost_jobs > 0 or batch.phase is BatchPhase.LOST
        has_cost = may_run or is_lost or bool(batch.usage) or batch.uncounted_rows > 0
        return Account(unpriced_nodes=frozenset({batch.node_no}) if has_cost else frozenset())
    ceiling = ceiling_usd(batch, price)
    unknown = ceiling * (batch.lost_jobs + (batch.phase is BatchPhase.LOST))
    unknown += ceiling * batch.uncounted_rows / max(batch.requests, 1)
    spent = price.cost_usd(*batch.tokens_used)
    return Account(
        spent=spent,
        orphaned=spent if batch.is_extra else _ZERO,
        in_flight=ceiling if may_run else _ZERO,
        unknown=unknown,
        uncounted=batch.uncounted_rows,
    )
