"""Which of the source's records a run takes: all of them, the first few, or a sample drawn by a seed.

The sample of n out of N records are the n whose SHA-256 of ``seed:index`` is smallest
(ties cannot happen): anybody can draw it again, with any program, from three recorded numbers.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from heapq import nsmallest

from elspeth.contracts import SourceBatch, SourcePosition
from elspeth.core.landscape import RunHeader, Sample

__all__ = ["Selection", "draw"]


def draw(sample: Sample) -> list[int]:
    """The indexes of a sample, ascending."""

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{sample.seed}:{index}".encode()).digest()

    return sorted(nsmallest(sample.rows, range(sample.of), key=rank))


class Selection:
    """The records that a run takes, by their indexes."""

    def __init__(self, run: RunHeader) -> None:
        self._limit = run.row_limit
        self._drawn = None if run.sample is None else draw(run.sample)

    @property
    def stop(self) -> int | None:
        """The index at which reading may end; None for the source's own end."""
        if self._drawn is not None:
            return self._drawn[-1] + 1 if self._drawn else 0
        return self._limit

    def below(self, index: int) -> int:
        """How many records with a smaller index are taken."""
        return index if self._drawn is None else bisect_left(self._drawn, index)

    def between(self, start: int, stop: int) -> Sequence[int]:
        """The indexes that are taken, from ``start`` to before ``stop``."""
        if self._drawn is None:
            return range(start, stop)
        return self._drawn[bisect_left(self._drawn, start) : bisect_left(self._drawn, stop)]

    def cut(self, batch: SourceBatch) -> SourceBatch:
        """What is taken of a stretch of records. The position stays its end, or that of the limit."""
        stop = self.stop
        if self._drawn is None and (stop is None or batch.end.next_row <= stop):
            return batch
        end = batch.end.next_row if stop is None else min(batch.end.next_row, stop)
        first = min([*batch.indexes[:1], *(rejected.index for rejected in batch.rejected[:1])], default=end)
        taken = set(self.between(first, end))
        kept = [place for place, index in enumerate(batch.indexes) if index in taken]
        return SourceBatch(
            indexes=[batch.indexes[place] for place in kept],
            lines=[batch.lines[place] for place in kept],
            rows=[batch.rows[place] for place in kept],
            rejected=[rejected for rejected in batch.rejected if rejected.index in taken],
            end=SourcePosition(next_row=end, cursor=batch.end.cursor),
        )
