"""What moves through the graph, and where it ends.

Rows move by column: those that went the same way are one *flock*, so that a step costs a few operations in C for
all of them and what is recorded of them is one journey. A token by itself is made where rows part from each other:
where each waits for its own answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from elspeth.contracts import NodeStep, Outcome, Row

__all__ = ["Arrival", "Arrivals", "Flock", "Token", "at_places", "grouped", "in_source_order"]

_Value = TypeVar("_Value")


class Token(msgspec.Struct, gc=False, eq=False):
    """One row: its index, its value, and the bytes and hash of that value.

    ``writer`` is the node whose codec made the bytes; ``row`` may be changed in place by a plugin, the bytes
    never are.
    """

    index: int
    row: Row
    data: bytes
    sha256: bytes
    writer: int


class Flock:
    """Tokens that went the same way in this sweep, by column and in source order.

    The columns are those of `Token`. ``steps`` is the way so far; ``changed`` has the rows' hashes after each of
    the steps that changed them.
    """

    __slots__ = ("changed", "data", "hashes", "indexes", "rows", "steps", "writer")

    def __init__(
        self,
        indexes: Sequence[int],
        rows: Sequence[Row],
        data: Sequence[bytes],
        hashes: Sequence[bytes],
        *,
        writer: int,
        steps: tuple[NodeStep, ...] = (),
        changed: tuple[Sequence[bytes], ...] = (),
    ) -> None:
        self.indexes = indexes
        self.rows = rows
        self.data = data
        self.hashes = hashes
        self.writer = writer
        self.steps = steps
        self.changed = changed

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> Flock:
        """Tokens with the same writer that have gone nowhere yet."""
        return cls(
            [token.index for token in tokens],
            [token.row for token in tokens],
            [token.data for token in tokens],
            [token.sha256 for token in tokens],
            writer=tokens[0].writer,
        )

    def __len__(self) -> int:
        return len(self.indexes)

    def at(self, places: Sequence[int]) -> Flock:
        """Those at some places, ascending."""
        if len(places) == len(self):
            return self
        return Flock(
            at_places(self.indexes, places),
            at_places(self.rows, places),
            at_places(self.data, places),
            at_places(self.hashes, places),
            writer=self.writer,
            steps=self.steps,
            changed=tuple(at_places(column, places) for column in self.changed),
        )

    def after(self, step: NodeStep, rows: Sequence[Row]) -> Flock:
        """The same behind a step that left their bytes as they were, but may have handed out other objects."""
        return Flock(
            self.indexes,
            rows,
            self.data,
            self.hashes,
            writer=self.writer,
            steps=(*self.steps, step),
            changed=self.changed,
        )

    def become(
        self, step: NodeStep, rows: Sequence[Row], data: Sequence[bytes], hashes: Sequence[bytes], *, writer: int
    ) -> Flock:
        """The same behind a step that changed them."""
        steps, changed = (*self.steps, step), (*self.changed, hashes)
        return Flock(self.indexes, rows, data, hashes, writer=writer, steps=steps, changed=changed)

    def token(self, place: int) -> Token:
        """One of them by itself."""
        return Token(self.indexes[place], self.rows[place], self.data[place], self.hashes[place], self.writer)


class Arrival(msgspec.Struct, gc=False, eq=False):
    """A token at its end: how it ended, at which step, in which sink (None: discarded), with what.

    ``row`` and ``data`` are the row and its bytes; for a rejected record ``row`` is what a sink gets of it
    and ``data`` is empty. ``error`` has the code and the message of a failure.
    """

    index: int
    outcome: Outcome
    step_no: int | None
    sink_no: int | None
    row: Row
    data: bytes
    error: Mapping[str, Any] | None = None


class Arrivals:
    """Tokens that ended alike, by column and in source order. The columns are those of `Arrival`.

    ``errors`` is None where nothing failed; ``reason`` is the code that they all have.
    """

    __slots__ = ("data", "errors", "indexes", "outcome", "reason", "rows", "sink_no", "step_no")

    def __init__(
        self,
        indexes: Sequence[int],
        rows: Sequence[Row],
        data: Sequence[bytes],
        *,
        outcome: Outcome,
        step_no: int | None,
        sink_no: int | None,
        reason: str | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.indexes = indexes
        self.rows = rows
        self.data = data
        self.outcome = outcome
        self.step_no = step_no
        self.sink_no = sink_no
        self.reason = reason
        self.errors = errors

    def __len__(self) -> int:
        return len(self.indexes)

    def at(self, places: Sequence[int]) -> Arrivals:
        """Those at some places, ascending."""
        if len(places) == len(self):
            return self
        return Arrivals(
            at_places(self.indexes, places),
            at_places(self.rows, places),
            at_places(self.data, places),
            outcome=self.outcome,
            step_no=self.step_no,
            sink_no=self.sink_no,
            reason=self.reason,
            errors=None if self.errors is None else at_places(self.errors, places),
        )

    def before(self, row: int) -> Arrivals:
        """Those of the rows before ``row``."""
        return self.at(range(bisect_left(self.indexes, row)))


def grouped(arrivals: Iterable[Arrival]) -> list[Arrivals]:
    """Arrivals, given in source order, those that ended alike together."""
    alike: dict[tuple[Outcome, int | None, int | None, str | None], list[Arrival]] = {}
    for one in arrivals:
        reason = None if one.error is None else str(one.error["code"])
        alike.setdefault((one.outcome, one.step_no, one.sink_no, reason), []).append(one)
    return [
        Arrivals(
            [one.index for one in group],
            [one.row for one in group],
            [one.data for one in group],
            outcome=outcome,
            step_no=step_no,
            sink_no=sink_no,
            reason=reason,
            errors=None if reason is None else [one.error or {} for one in group],
        )
        for (outcome, step_no, sink_no, reason), group in alike.items()
    ]


def at_places(column: Sequence[_Value], places: Sequence[int]) -> Sequence[_Value]:
    """The values of a column at some places, ascending."""
    return column if len(places) == len(column) else list(map(column.__getitem__, places))


def in_source_order(
    flocks: Sequence[Flock], work: Callable[[Sequence[int], Sequence[Row]], Sequence[_Value]]
) -> list[Sequence[_Value]]:
    """Does some work on the rows of all flocks, given by index and row in source order; its results by flock."""
    if len(flocks) == 1:
        return [work(flocks[0].indexes, flocks[0].rows)]
    indexes = list(chain.from_iterable(flock.indexes for flock in flocks))
    rows = list(chain.from_iterable(flock.rows for flock in flocks))
    order = sorted(range(len(indexes)), key=indexes.__getitem__)
    done = work([indexes[place] for place in order], [rows[place] for place in order])
    by_place = [value for _, value in sorted(zip(order, done, strict=True), key=itemgetter(0))]
    results: list[Sequence[_Value]] = []
    start = 0
    for flock in flocks:
        results.append(by_place[start : start + len(flock)])
        start += len(flock)
    return results
