"""The limits that elspeth is held to, and whether the figures of a benchmark keep them.

A limit is told, never enforced: a time decides no test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.figures import FLAT_WITHIN, Spread, Table

__all__ = ["LIMITS", "Limit", "judged"]

FEW, MODERATE, MANY = 10_000, 100_000, 1_000_000
CASES = ("audit", "batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``figure`` is the name that a case gave it; one bound or the other is set."""

    what: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None
    shown: str = "{:.2f}"

    @property
    def bound(self) -> str:
        """For people."""
        sign, value = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {value:g}"

    def is_kept(self, figure: float) -> bool:
        """Whether the figure lies on the right side."""
        is_high_enough = self.at_least is None or figure >= self.at_least
        return is_high_enough and (self.at_most is None or figure <= self.at_most)


def _flat(figure: str) -> Limit:
    return Limit(
        what=f"growth: {figure}, largest / smallest", figure=f"flatness {figure} {FEW}..{MANY}", at_most=FLAT_WITHIN
    )


def _of_plain(what: str, figure: str, rows: int, *, at_least: float) -> Limit:
    return Limit(what=f"audit: {what}, at {rows:,}", figure=f"audit {figure} {rows}", at_least=at_least)


def _large(what: str, figure: str, *, at_most: float) -> Limit:
    return Limit(what=f"{what} at {MANY:,}", figure=f"{figure} {MANY}", at_most=at_most, shown="{:.0f}")


LIMITS = (
    _of_plain("rows/s, of a plain script's", "speed", MODERATE, at_least=0.5),
    _of_plain("rows/s, of a plain script's", "speed", MANY, at_least=0.6),
    _of_plain("CPU, a plain script's over ours", "cpu", MODERATE, at_least=0.45),
    _of_plain("CPU, a plain script's over ours", "cpu", MANY, at_least=0.45),
    Limit(
        what="audit: times as fast as a naive recorder on SQLite's defaults, at 1,000,000",
        figure=f"naive delete {MANY}",
        at_least=100,
        shown="{:.0f}",
    ),
    Limit(what="batch: CPU, times a plain script's, at 100,000", figure=f"batch cpu {MODERATE}", at_most=1.5),
    Limit(what="batch: the same, as aimed at", figure=f"batch cpu {MODERATE}", at_most=1.3),
    _large("batch: MB", "batch memory", at_most=300),
    *(
        Limit(what=f"explain in process, {case}, ms at 1,000,000", figure=f"explain {case} ms {MANY}", at_most=1)
        for case in CASES
    ),
    *(_large(f"explain as a command, {case}, ms", f"explain {case} command ms", at_most=400) for case in CASES),
    Limit(what="elspeth --help, s", figure="help s", at_most=0.3, shown="{:.3f}"),
    *(_large(f"bytes of database a row, {case},", f"{case} database bytes", at_most=300) for case in CASES),
    _flat("audit: elspeth run, µs of CPU a row"),
    _flat("audit: verify, µs of CPU a row"),
    _flat("audit: replay, µs of CPU a row"),
    _flat("database, bytes a row"),
    _flat("payloads, bytes a row"),
    _flat("audit: elspeth run, MB"),
    _flat("audit: verify, MB"),
    _flat("audit: replay, MB"),
)


def judged(figures: Mapping[str, Spread], limits: Sequence[Limit] = LIMITS) -> Table:
    """The summary: the limit, the figure, kept or not. The median decides."""
    lines = [_line(limit, figures.get(limit.figure)) for limit in limits]
    return Table(title="limits", header=("", "limit", "figure", "kept"), lines=lines)


def _line(limit: Limit, figure: Spread | None) -> list[str]:
    if figure is None:
        return [limit.what, limit.bound, "not measured", ""]
    return [
        limit.what,
        limit.bound,
        figure.text(limit.shown.format),
        "yes" if limit.is_kept(figure.median) else "no",
    ]
