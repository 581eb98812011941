"""What the trail says of a stretch of rows: all of their records, found by row.

Made for every row, so they are plain tuples in dicts, in the shape in which the comparer
asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct, field

from elspeth.contracts import FileRole, StateStatus
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.reader import read_word

__all__ = ["Member", "Stretch", "What", "read_stretches"]

_ROWS_AT_ONCE = 256

What = tuple[int, int, str | None, bytes | None, str | None]
"""What became of a token at a node: status, attempt, route, hash of the row after it, error."""


class Member(NamedTuple):
    """Where a row's line stands in a file of a batch."""

    batch_no: int
    segment_no: int
    position: int
    start: int
    length: int
    line_hash: bytes


class Stretch(Struct):
    """Some consecutive rows. ``states`` by row and node, with the commit; ``outcomes`` as their columns stand.

    ``nodes`` are those that some state speaks of; ``requests`` by row are (node, attempt, member), ``replies`` are
    by row and batch.
    """

    rows: dict[int, tuple[bytes, int]]
    states: dict[tuple[int, int], tuple[What, int]] = field(default_factory=dict)
    outcomes: dict[int, tuple[int, int | None, int | None, int | None, str | None]] = field(default_factory=dict)
    requests: dict[int, list[tuple[int, int, Member]]] = field(default_factory=dict)
    replies: dict[tuple[int, int], tuple[FileRole, Member]] = field(default_factory=dict)
    nodes: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The lowest row."""
        return min(self.rows)

    @property
    def last(self) -> int:
        """The highest row."""
        return max(self.rows)

    def is_rejected(self, row: int) -> bool:
        """Whether the record never became a row."""
        return (row, 0) in self.states

    def states_of(self, row: int) -> list[tuple[int, What, int]]:
        """The states of one row in the order of the nodes: node, what, commit."""
        found = ((node, self.states.get((row, node))) for node in self.nodes)
        return [(node, *state) for node, state in found if state is not None]

    def version_after(self, row: int, node_no: int) -> tuple[bytes, int]:
        """Hash and commit of the bytes that a row has after a node."""
        version = self.rows[row]
        for node, what, commit in self.states_of(row):
            if node <= node_no and what[3] is not None:
                version = (what[3], commit)
        return version

    def error_at(self, row: int, node_no: int | None) -> str | None:
        """The recorded error of a row at a node, as JSON; None when it did not fail there."""
        if node_no is None or (found := self.states.get((row, node_no))) is None:
            return None
        return found[0][4] if found[0][0] == StateStatus.FAILED else None

    def request(self, row: int, node_no: int | None, attempt: int) -> Member | None:
        """The request that a row made at a node, at that attempt."""
        return next(
            (member for node, number, member in self.requests.get(row, ()) if (node, number) == (node_no, attempt)),
            None,
        )

    def first_attempt(self, row: int, node_no: int | None) -> int:
        """The attempt at which a row was first asked about at a node; 0 where it never was."""
        return min((number for node, number, _ in self.requests.get(row, ()) if node == node_no), default=0)


def read_stretches(reader: LandscapeReader, run: RunHeader, *, has_batches: bool) -> Iterator[Stretch]:
    """All rows of a run in their order, a few at a time."""
    at = -1
    while found := reader.query(
        "SELECT row_index, data_hash, commit_no FROM rows WHERE run_no = ? AND row_index > ? "
        "ORDER BY row_index LIMIT ?",
        run.run_no,
        at,
        _ROWS_AT_ONCE,
    ):
        stretch = Stretch({row: (data_hash, commit_no) for row, data_hash, commit_no in found})
        place = (run.run_no, found[0][0], found[-1][0])
        at = found[-1][0]
        stretch.states = {
            (row, node): (what, commit)
            for row, node, commit, *rest in reader.query(
                "SELECT row_index, node_no, commit_no, status, attempt, route, output_hash, error_json "
                "FROM node_states WHERE run_no = ? AND row_index BETWEEN ? AND ? "
                "ORDER BY row_index, path, node_no, attempt",
                *place,
            )
            for what in (tuple(rest),)
        }
        stretch.nodes = sorted({node for _, node in stretch.states})
        stretch.outcomes = {
            row: ending
            for row, *rest in reader.query(
                "SELECT row_index, outcome, step_no, sink_no, sink_line, reason FROM outcomes "
                "WHERE run_no = ? AND row_index BETWEEN ? AND ?",
                *place,
            )
            for ending in (tuple(rest),)
        }
        if has_batches:
            _read_members(reader, stretch, place)
        yield stretch


def _read_members(reader: LandscapeReader, stretch: Stretch, place: tuple[int, int, int]) -> None:
    run_no = place[0]
    for row, role, node_no, attempt, *rest in reader.query(
        "SELECT m.row_index, m.role, b.node_no, b.attempt, m.batch_no, m.segment_no, m.position, m.start, m.length, "
        "m.line_hash FROM batch_members m JOIN batches b ON b.run_no = m.run_no AND b.batch_no = m.batch_no "
        "WHERE m.run_no = ? AND m.row_index BETWEEN ? AND ?",
        *place,
    ):
        member = Member(*rest)
        if role == FileRole.REQUEST:
            stretch.requests.setdefault(row, []).append((node_no, attempt, member))
        else:
            stretch.replies[row, member.batch_no] = (read_word(FileRole, role, f"batch_members {run_no}/{row}"), member)
