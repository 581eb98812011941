"""Two runs, row by row: what is the same, what differs and in what, what only one of them has.

    pairs -> standings of both, some thousand at a time -> equal hashes and ends: the same
                                                        -> else the bytes, by frame, and their fields

A row is the same when its last bytes, its way through the gates and its end are. Bytes are
read only where hashes differ. What is kept are counts and the first pairs, so memory does
not grow with the runs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct, field

from elspeth.contracts import PurgedError, TrailError
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.pairing import Pair, pairs
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader
from elspeth.core.landscape.standings import Standing, Standings

__all__ = ["Aspect", "AspectKind", "Comparer", "RowComparison"]

_PAIRS_AT_ONCE = 2_000
_ABSENT = object()


class AspectKind(Enum):
    """In what two rows may differ; the value is the word in JSON.

    ``record``: the source record is a row in one run only, or in none and has other raw bytes. ``bytes``: the
    hashes differ, and in which fields is not known, since the bytes of one are purged.
    """

    FIELD = "field"
    FIELD_ORDER = "field_order"
    BYTES = "bytes"
    RECORD = "record"
    ROUTE = "route"
    OUTCOME = "outcome"
    SINK = "sink"
    FAILURE = "failure"


class Aspect(NamedTuple):
    """One thing in which two rows differ; ``name`` is that of the field or of the gate."""

    kind: AspectKind
    name: str = ""


class RowComparison(Struct, kw_only=True):
    """What a comparison came to. ``aspects`` counts rows; the three lists hold the first pairs of each sort."""

    same: int = 0
    differ: int = 0
    only_a: int = 0
    only_b: int = 0
    aspects: Counter[Aspect] = field(default_factory=Counter)
    first_differing: list[Pair] = field(default_factory=list)
    first_only_a: list[Pair] = field(default_factory=list)
    first_only_b: list[Pair] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows, those that both runs have counted once."""
        return self.same + self.differ + self.only_a + self.only_b

    @property
    def is_same(self) -> bool:
        """Whether no row tells the runs apart."""
        return self.rows == self.same


class Side:
    """One of the two runs: its standings and its rows' bytes."""

    def __init__(self, reader: LandscapeReader, run: RunHeader) -> None:
        self.run = run
        self._standings = Standings(reader, run)
        self._rows = RowSource(reader, run, Payloads(reader, run))

    def standings(self, indexes: list[int]) -> dict[int, Standing]:
        """By index."""
        return self._standings.fetch(indexes)

    def fields(self, standing: Standing) -> dict[str, Any]:
        """The fields of a row's last version; none of a record that is no row."""
        if standing.is_rejected:
            return {}
        value = json.loads(self._rows.bytes_of(standing.index, commit_no=standing.commit_no, sha=standing.sha256))
        if not isinstance(value, dict):
            raise TrailError(f"row {standing.index} of run {self.run.run_id} is not an object")
        return value


class Comparer:
    """Compares the rows of run ``a`` with those of run ``b``."""

    def __init__(self, reader: LandscapeReader, a: RunHeader, b: RunHeader) -> None:
        self._reader = reader
        self.a = Side(reader, a)
        self.b = Side(reader, b)

    def compare(self, *, keep: int) -> RowComparison:
        """Goes through all rows; keeps the first ``keep`` pairs of each sort. Raises `TrailError` if one was missed."""
        found = RowComparison()
        remaining = pairs(self._reader, self.a.run, self.b.run)
        while group := list(islice(remaining, _PAIRS_AT_ONCE)):
            self._take(group, found, keep=keep)
        both = found.same + found.differ
        for side, counted in ((self.a, both + found.only_a), (self.b, both + found.only_b)):
            ((recorded,),) = self._reader.query("SELECT COUNT(*) FROM rows WHERE run_no = ?", side.run.run_no)
            if recorded != counted:
                raise TrailError(
                    f"run {side.run.run_id} has {recorded:,} rows, but {counted:,} with a key or a reason not to be one"
                )
        return found

    def standings_of(self, pair: Pair) -> tuple[Standing | None, Standing | None]:
        """How the two rows of a pair stand."""
        first = None if pair.a is None else self.a.standings([pair.a])[pair.a]
        second = None if pair.b is None else self.b.standings([pair.b])[pair.b]
        return first, second

    def aspects(self, first: Standing, second: Standing) -> Iterator[Aspect]:
        """In what two rows differ; nothing when they are the same."""
        if first.is_rejected or second.is_rejected:
            if first.is_rejected != second.is_rejected or first.sha256 != second.sha256:
                yield Aspect(AspectKind.RECORD)
        elif first.sha256 != second.sha256:
            yield from self._differing_fields(first, second)
        for gate in {**first.routes, **second.routes} if first.routes != second.routes else ():
            if first.routes.get(gate) != second.routes.get(gate):
                yield Aspect(AspectKind.ROUTE, gate)
        one, other = first.ending, second.ending
        if one == other:
            return
        if one.outcome != other.outcome:
            yield Aspect(AspectKind.OUTCOME)
        if one.sink != other.sink:
            yield Aspect(AspectKind.SINK)
        if one.reason != other.reason or (one.reason is not None and one.step != other.step):
            yield Aspect(AspectKind.FAILURE)

    def _differing_fields(self, first: Standing, second: Standing) -> Iterator[Aspect]:
        try:
            one, other = self.a.fields(first), self.b.fields(second)
        except PurgedError:
            yield Aspect(AspectKind.BYTES)
            return
        names = [name for name in {**one, **other} if is_other(one.get(name, _ABSENT), other.get(name, _ABSENT))]
        yield from (Aspect(AspectKind.FIELD, name) for name in names)
        if not names:
            yield Aspect(AspectKind.FIELD_ORDER)

    def _take(self, group: list[Pair], found: RowComparison, *, keep: int) -> None:
        first = self.a.standings([pair.a for pair in group if pair.a is not None])
        second = self.b.standings([pair.b for pair in group if pair.b is not None])
        for pair in group:
            if pair.b is None:
                found.only_a += 1
                kept = found.first_only_a
            elif pair.a is None:
                found.only_b += 1
                kept = found.first_only_b
            else:
                differing = list(self.aspects(first[pair.a], second[pair.b]))
                if not differing:
                    found.same += 1
                    continue
                found.differ += 1
                found.aspects.update(differing)
                kept = found.first_differing
            if len(kept) < keep:
                kept.append(pair)


def is_other(one: Any, other: Any) -> bool:
    """Whether two values differ in their bytes: 1, 1.0 and true are three values."""
    if one is _ABSENT or other is _ABSENT:
        return one is not other
    if type(one) is str and type(other) is str:
        return one != other
    return compact_json(one) != compact_json(other)
