"""The arithmetic of the benchmark: medians with their spread, ratios of pairs, flatness, and tables for people."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["FLAT_WITHIN", "Report", "Spread", "Table", "above_start", "flatness", "percentile", "ratios"]

FLAT_WITHIN = 1.20
"""Costs a row are flat when the largest is at most so many times the smallest."""

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repeated measurements, and how far they lie apart."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError without a value."""
        found = tuple(values)
        if not found:
            raise ValueError("nothing was measured")
        return cls(found)

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest: of a time, what is left when neighbours add least to it."""
        return min(self.values)

    def text(self, shown: Format) -> str:
        """``median (min..max)``; a single measurement has no spread."""
        if len(self.values) == 1:
            return shown(self.values[0])
        return f"{shown(self.median)} ({shown(self.least)}..{shown(max(self.values))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """For people. The first column is text, the others are set to the right."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Padded, so that it reads well as plain text too. Raises ValueError for a line of another length."""
        cells = [[cell.replace("|", "\\|") for cell in line] for line in (self.header, *self.lines)]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        shown = (_padded(line, widths) for line in (cells[0], rule, *cells[1:]))
        return "\n".join((f"**{self.title}**", "", *shown))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a case found. The limits go by ``figures``, whose names say case, figure and rows."""

    tables: Sequence[Table]
    figures: Mapping[str, Spread] = field(default_factory=dict)


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Of measurements made in turn, pair by pair, so that noise that lasts hits both; raises ValueError."""
    return Spread.of(one / other for one, other in zip(above, below, strict=True))


def above_start(value: float, start: float, rows: int) -> float:
    """What a row costs once the cost of starting is taken away."""
    return (value - start) / rows


def flatness(costs: Iterable[float]) -> float:
    """The largest over the smallest; infinite where a cost is lost in the noise of the start."""
    found = list(costs)
    return max(found) / min(found) if min(found) > 0 else float("inf")


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so many of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = line
    first_width, *others = widths
    cells = [first.ljust(first_width), *(cell.rjust(width) for cell, width in zip(rest, others, strict=True))]
    return f"| {' | '.join(cells)} |"
