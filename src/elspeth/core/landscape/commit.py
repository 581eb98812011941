"""One commit on its way to the disk.

1. what was gathered becomes statements and the leaves of its tokens (`prepare`),
2. every payload segment and every part file is synced,
3. the tree over everything that the commit says is completed (`leaves`, `commit_tree`),
4. one transaction inserts all gathered records, the frames and extents of what was
   appended, and the commit with its root and the frontier that a resume starts from.

The first is the engine's thread's work, the others are the trail's: two threads that both
need the interpreter hinder each other more than they help, so the trail's is left with
what goes on without it.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct, field

from elspeth.core.landscape.buffers import MemberBuffer, OutcomeBuffer, PassageBuffer, RowBuffer, Statement
from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.commit_tree import CommitTree, SingleRecords, TokenTree, tree_of, tree_of_tokens
from elspeth.core.landscape.extents import PART_EXTENT, SEGMENT_EXTENT
from elspeth.core.landscape.leaves import NONCE_BYTES
from elspeth.core.landscape.schema import TABLES, table
from elspeth.core.landscape.seals import Sealer
from elspeth.core.payloads import Extent, Frame, PartFile, SegmentState, SegmentWriter, Synced, sync_segments

__all__ = ["BY_COLUMN", "Commit", "Gathered", "Prepared", "prepare"]

BY_COLUMN = frozenset({"rows", "outcomes", "batch_members"})
"""Tables whose records are gathered by column, and never one by one."""
_RECORDS_A_STATEMENT = 250
"""SQLite takes 32,766 values, so of at most 131 columns."""


class Gathered(Struct):
    """What the next commit will write."""

    rows: RowBuffer = field(default_factory=RowBuffer)
    passages: PassageBuffer = field(default_factory=PassageBuffer)
    outcomes: OutcomeBuffer = field(default_factory=OutcomeBuffer)
    members: MemberBuffer = field(default_factory=MemberBuffer)
    records: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)


class Prepared(Struct, frozen=True, kw_only=True):
    """What was gathered, ready to be written: the leaves of its tokens, and how all of it is inserted."""

    tokens: TokenTree
    statements: Sequence[Statement]
    records: dict[str, list[tuple[Any, ...]]]


def prepare(gathered: Gathered, *, run_no: int, commit_no: int) -> Prepared:
    """All that can be done before the files are synced."""
    records = gathered.records
    single = SingleRecords(records)
    tokens = {
        "rows": gathered.rows.layers(),
        "passages": gathered.passages.layers(single.of_passages(table("passages"))),
        "outcomes": gathered.outcomes.layers(),
        "batch_members": gathered.members.layers(),
    }
    single_only = (entry for entry in TABLES if entry.is_of_tokens and entry.name not in tokens)
    tokens |= {entry.name: single.of_rows(entry) for entry in single_only if entry.name in records}
    buffers = (gathered.rows, gathered.passages, gathered.outcomes, gathered.members)
    return Prepared(
        tokens=tree_of_tokens(tokens, nonce=secrets.token_bytes(NONCE_BYTES)),
        statements=[one for buffer in buffers for one in buffer.statements(run_no=run_no, commit_no=commit_no)],
        records={**records, "journeys": gathered.passages.journeys(run_no=run_no, commit_no=commit_no)},
    )


class Commit(Struct, frozen=True, kw_only=True):
    """What is to become durable at once; ``store`` runs on the trail's thread. ``at`` in microseconds."""

    run_no: int
    number: int
    at: int
    frontier: str
    parts: Mapping[int, PartFile]
    new_segments: Sequence[SegmentState]
    segments: Sequence[tuple[int, SegmentWriter]]
    prepared: Prepared
    sealer: Sealer

    def store(self, connection: sqlite3.Connection) -> None:
        """Makes it durable, and tells the sealer."""
        synced = sync_segments(list(self.segments))
        parts = {number: part.sync() for number, part in self.parts.items()}
        self._add_files(synced, parts)
        tree = self._tree(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(connection, tree)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has rolled back by itself
                connection.execute("ROLLBACK")
            raise
        self.sealer.add_commit(commit_no=self.number, leaf_count=tree.leaf_count, root=tree.root)

    def _add_files(self, synced: Sequence[Synced], parts: Mapping[int, Extent | None]) -> None:
        """Records what was appended to the files, and which segments are new."""
        records = self.prepared.records
        for state in self.new_segments:
            records.setdefault("segments", []).append(
                (
                    self.run_no,
                    state.number,
                    self.number,
                    state.payload_class.value,
                    state.name,
                    state.batch_no,
                    None if state.role is None else state.role.value,
                )
            )
        extents = [(SEGMENT_EXTENT, one.segment_no, one.extent) for one in synced]
        extents += [(PART_EXTENT, number, extent) for number, extent in parts.items()]
        records["extents"] = [
            (self.run_no, self.number, kind, number, extent.start, extent.length, extent.sha256)
            for kind, number, extent in extents
            if extent is not None
        ]
        records["frames"] = [self._frame_record(one.segment_no, frame) for one in synced for frame in one.frames]

    def _tree(self, connection: sqlite3.Connection) -> CommitTree:
        records: dict[str, Sequence[tuple[Any, ...]]] = dict(self.prepared.records)
        records["commits"] = [(self.run_no, self.number, self.at, self.frontier)]
        if self.number == 0:  # the run's record is older than any commit; the first one answers for it
            records["runs"] = connection.execute("SELECT * FROM runs WHERE run_no = ?", (self.run_no,)).fetchall()
        single = SingleRecords(records)
        others = {entry.name: single.of_others(entry) for entry in TABLES if not entry.is_of_tokens}
        return tree_of(self.prepared.tokens, others)

    def _insert(self, connection: sqlite3.Connection, tree: CommitTree) -> None:
        records = self.prepared.records
        for statement in self.prepared.statements:
            connection.execute(*statement)
        commit = (
            self.run_no,
            self.number,
            self.at,
            self.frontier,
            tree.leaf_count,
            tree.root,
            tree.nonce,
            self.sealer.peaks,
            tree.leaf_hints,
            tree.table_checks_json,
        )
        records.get("row_keys", []).sort()  # keys come in any order, and neighbours share a page
        for name, some in {**records, "commits": [commit]}.items():
            _insert_all(connection, table(name), some)

    def _frame_record(self, segment_no: int, frame: Frame) -> tuple[int | None, ...]:
        return (
            self.run_no,
            segment_no,
            frame.start,
            self.number,
            frame.size,
            frame.stored_start,
            frame.stored_size,
            frame.first_row,
            frame.last_row,
        )


def _insert_all(connection: sqlite3.Connection, entry: Table, records: Sequence[Sequence[Any]]) -> None:
    """Inserts records, many by each statement: after each of them this thread waits for the interpreter."""
    marks = ", ".join("?" * len(entry.columns))
    for start in range(0, len(records), _RECORDS_A_STATEMENT):
        some = records[start : start + _RECORDS_A_STATEMENT]
        values = ", ".join([f"({marks})"] * len(some))
        connection.execute(f"INSERT INTO {entry.name} VALUES {values}", list(chain.from_iterable(some)))
