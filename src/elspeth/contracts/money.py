"""Tokens and money: what requests may come to, and what a million tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = ["Bounds", "Price", "TokenEstimate", "dollars"]

_MILLION = Decimal(1_000_000)


class Bounds(NamedTuple):
    """A count of tokens that is not known yet."""

    low: int
    likely: int
    ceiling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimate:
    """What the requests of a batch may come to in tokens, both ways, before anything is sent.

    ``is_assumed`` is true when nothing bounds the replies, so that the ceiling of ``output`` is an assumption.
    """

    input: Bounds
    output: Bounds
    is_assumed: bool = False

    def as_json(self) -> dict[str, Any]:
        """As an event keeps it: low, likely, ceiling."""
        return {"input": list(self.input), "output": list(self.output), "is_assumed": self.is_assumed}

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> TokenEstimate:
        """The inverse of `as_json`."""
        return cls(
            input=Bounds(*recorded["input"]),
            output=Bounds(*recorded["output"]),
            is_assumed=bool(recorded["is_assumed"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens, as a batch is billed; ``origin`` says who says so."""

    input_per_mtok: Decimal
    output_per_mtok: Decimal
    origin: str

    def cost_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What so many tokens cost, exactly."""
        return (input_tokens * self.input_per_mtok + output_tokens * self.output_per_mtok) / _MILLION

    def bounds_usd(self, estimate: TokenEstimate) -> tuple[Decimal, Decimal, Decimal]:
        """What an estimate costs: low, likely, ceiling."""
        low, likely, ceiling = map(self.cost_usd, estimate.input, estimate.output)
        return low, likely, ceiling

    def as_json(self) -> dict[str, str]:
        """As the trail keeps it; decimals are text."""
        return {
            "input_per_mtok": str(self.input_per_mtok),
            "output_per_mtok": str(self.output_per_mtok),
            "origin": self.origin,
        }

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> Price:
        """The inverse of `as_json`."""
        return cls(
            input_per_mtok=Decimal(recorded["input_per_mtok"]),
            output_per_mtok=Decimal(recorded["output_per_mtok"]),
            origin=str(recorded["origin"]),
        )


def dollars(amount: Decimal | float) -> str:
    """For people: ``$18.40``, and to the hundredth of a cent below one dollar."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"
