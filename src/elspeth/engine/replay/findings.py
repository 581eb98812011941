"""What a replay found: differences by sort, rows that cannot be replayed, rows that would be asked anew.

Everything is counted; of each sort the first few are kept to be shown.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

from msgspec import Struct, field

__all__ = ["ABSENT", "Difference", "Findings", "Rows", "Sort"]

_MOST_RANGES = 1_000


class Absent(Enum):
    """The value of what is not there: null is a value, and not being there is none."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


class Sort(Enum):
    """What a difference is one of; the value is the word that people see."""

    RECORD = "record"
    KEY = "key"
    FIELD = "field"
    REQUEST = "request"
    REPLY = "reply"
    ATTEMPT = "attempt"
    ROUTE = "route"
    ERROR = "error"
    CALL = "call"
    OUTCOME = "outcome"
    PAYLOAD = "payload"


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that the record says otherwise than the replay. ``row`` is None for what belongs to several rows."""

    sort: Sort
    row: int | None
    step: str | None
    field: str
    recorded: Any
    replayed: Any

    def as_json(self) -> dict[str, Any]:
        """As JSON; a side on which it is not there is left out."""
        place = {"sort": self.sort.value, "row": self.row, "step": self.step, "field": self.field}
        sides = {"recorded": self.recorded, "replayed": self.replayed}
        return {**place, **{side: value for side, value in sides.items() if value is not ABSENT}}


class Rows(Struct):
    """A set of rows, told as ranges. Rows come stretch by stretch; within one, in any order."""

    count: int = 0
    ranges: list[list[int]] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)

    def add(self, row: int) -> None:
        """Adds a row of the stretch that is gone through."""
        self._open.add(row)

    def __contains__(self, row: int) -> bool:
        """Whether a row of the stretch that is gone through is one of them."""
        return row in self._open

    def end_stretch(self) -> None:
        """Takes the rows of a stretch into the count and the ranges; of those only the first thousand are kept."""
        if not self._open:
            return
        self.count += len(self._open)
        for row in sorted(self._open):
            if self.ranges and self.ranges[-1][1] == row - 1:
                self.ranges[-1][1] = row
            elif len(self.ranges) < _MOST_RANGES:
                self.ranges.append([row, row])
        self._open.clear()


class Findings:
    """Gathers what a replay finds; ``keep`` bounds how many differences of each sort are kept."""

    def __init__(self, *, keep: int) -> None:
        self._keep = keep
        self.counts: Counter[Sort] = Counter()
        self._kept: dict[Sort, list[Difference]] = {}
        self.differing = Rows()
        self.unreplayable: dict[str, Rows] = {}
        self.asked_anew: dict[str, Rows] = {}
        self.not_recomputed: Counter[str] = Counter()
        self._ended: set[int] = set()

    def differ(
        self, sort: Sort, *, row: int | None, step: str | None, field: str, recorded: Any, replayed: Any
    ) -> None:
        """Notes a difference."""
        self.counts[sort] += 1
        if row is not None:
            self.differing.add(row)
        kept = self._kept.setdefault(sort, [])
        if len(kept) < self._keep:
            kept.append(Difference(sort=sort, row=row, step=step, field=field, recorded=recorded, replayed=replayed))

    def cannot_replay(self, row: int, why: str) -> None:
        """Notes that a row ends here because bytes of it cannot be read; ``why`` names what they belong to."""
        self._ended.add(row)
        self.unreplayable.setdefault(why, Rows()).add(row)

    def would_ask(self, row: int, step: str) -> None:
        """Notes that a row ends here because nobody has ever answered its request."""
        self._ended.add(row)
        self.asked_anew.setdefault(step, Rows()).add(row)

    def obeyed(self, why: str) -> None:
        """Notes something that was taken from the record because nobody can compute it again."""
        self.not_recomputed[why] += 1

    def has_ended(self, row: int) -> bool:
        """Whether a row of this stretch cannot go on."""
        return row in self._ended

    def end_stretch(self) -> None:
        """Called when a stretch of rows is done."""
        self._ended.clear()
        for rows in (self.differing, *self.unreplayable.values(), *self.asked_anew.values()):
            rows.end_stretch()

    @property
    def shown(self) -> list[Difference]:
        """The differences that were kept, by sort."""
        return [difference for sort in Sort for difference in self._kept.get(sort, [])]

    @property
    def is_empty(self) -> bool:
        """Whether every row gave what is recorded of it."""
        return not (self.counts or self.unreplayable or self.asked_anew)
