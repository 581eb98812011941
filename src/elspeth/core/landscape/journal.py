"""The journal of a run: gathers records and makes them durable, commit by commit.

1. every payload segment and every part file is synced,
2. one transaction inserts all gathered records, the frames and extents of what was
   appended, and the commit with the frontier that a resume starts from.

A commit runs on the trail's thread while the engine goes on; `drain` waits for it.
The engine adds the records of a micro-batch only when the whole of it has been
computed, so the frontier, asked for at each commit, always describes exactly what
is recorded, whoever asks for the commit.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elspeth.contracts import Clock
from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.buffers import MemberBuffer, OutcomeBuffer, OutcomeKind, RowBuffer, StateBuffer
from elspeth.core.landscape.schema import table
from elspeth.core.landscape.writer import Task, TrailWriter
from elspeth.core.payloads import (
    Extent,
    Frame,
    PartFile,
    PayloadStore,
    SegmentState,
    SegmentWriter,
    Synced,
    sync_segments,
)

__all__ = ["PART_EXTENT", "SEGMENT_EXTENT", "Counters", "Journal"]

SEGMENT_EXTENT = 1
PART_EXTENT = 2


@dataclass(slots=True, kw_only=True)
class Counters:
    """The next free numbers of a run, and how many tokens ended in which way; a new run starts at the defaults."""

    commit_no: int = 0
    run_event_no: int = 0
    intent_no: int = 0
    call_no: int = 0
    batch_no: int = 1
    batch_event_no: dict[int, int] = field(default_factory=dict)
    segment_no: int = 1
    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)


@dataclass(slots=True)
class Gathered:
    """What the next commit will write."""

    rows: RowBuffer = field(default_factory=RowBuffer)
    states: StateBuffer = field(default_factory=StateBuffer)
    outcomes: OutcomeBuffer = field(default_factory=OutcomeBuffer)
    members: MemberBuffer = field(default_factory=MemberBuffer)
    records: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    row_count: int = 0


class Journal:
    """One run's writer. All methods belong to the engine's thread."""

    def __init__(
        self,
        *,
        database: Path,
        run_no: int,
        payload_folder: Path,
        clock: Clock,
        counters: Counters | None = None,
        segments: tuple[SegmentState, ...] = (),
    ) -> None:
        self.run_no = run_no
        self.clock = clock
        self.counters = counters or Counters()
        self.gathered = Gathered()
        self._frontier: Callable[[], Mapping[str, Any]] = dict
        self._parts: dict[int, PartFile] = {}
        self._writer = TrailWriter(database)
        self.payloads = PayloadStore(
            payload_folder, submit=self.submit, known=segments, next_no=self.counters.segment_no
        )

    @property
    def commit_no(self) -> int:
        """The number of the commit that is being gathered."""
        return self.counters.commit_no

    @property
    def has_records(self) -> bool:
        """Whether something was gathered, beside rows, since the last commit."""
        return bool(self.gathered.records)

    def checkpoint_with(self, frontier: Callable[[], Mapping[str, Any]], parts: Mapping[int, PartFile]) -> None:
        """From now on commits carry what ``frontier`` returns and the growth of the sinks' part files."""
        self._frontier = frontier
        self._parts = dict(parts)

    def submit(self, task: Callable[[], None]) -> None:
        """Runs a task on the trail's thread, after everything submitted before."""
        self._writer.submit(lambda _connection: task())

    def add(self, name: str, /, **columns: Any) -> None:
        """Gathers one record of a table that is not written for every row; run and commit are filled in."""
        entry = table(name)
        columns["run_no"] = self.run_no
        columns["commit_no"] = self.commit_no
        self.gathered.records.setdefault(name, []).append(tuple(columns[column] for column in entry.column_names))

    def commit(self) -> None:
        """Hands everything gathered to the trail's thread; at most one commit is in flight."""
        self._writer.drain()
        self.payloads.cut_all()
        commit = _Commit(
            run_no=self.run_no,
            number=self.commit_no,
            at=self.clock.now_us(),
            frontier=canonical_json({**self._frontier(), **self._tally()}).decode(),
            parts=dict(self._parts),
            new_segments=self.payloads.take_unrecorded(),
            segments=self.payloads.writers(),
            gathered=self.gathered,
        )
        self.counters.commit_no += 1
        self.gathered = Gathered()
        self._writer.submit(self._in_place(commit.store))
        self.payloads.close_finished()

    def _in_place(self, store: Task) -> Task:
        """A commit that is refused when the database is no longer where it was."""

        def checked(connection: sqlite3.Connection) -> None:
            self._writer.require_in_place()
            store(connection)

        return checked

    def _tally(self) -> dict[str, Any]:
        """How the tokens ended so far, this commit's included, so that a report need not count them."""
        outcomes = self.counters.outcomes
        outcomes.update(self.gathered.outcomes.counts())
        return {"outcomes": [[*kind, rows] for kind, rows in outcomes.items()]} if outcomes else {}

    def commit_durably(self) -> None:
        """Commits and waits until it is on the disk."""
        self.commit()
        self.drain()

    def drain(self) -> None:
        """Waits until everything handed over is durable; raises what the trail's thread raised."""
        self._writer.drain()

    def close(self) -> None:
        """Ends the trail's thread and closes every file."""
        self._writer.close()
        self.payloads.close()
        for part in self._parts.values():
            part.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    """One commit on its way to the disk; ``store`` runs on the trail's thread."""

    run_no: int
    number: int
    at: int
    frontier: str
    parts: Mapping[int, PartFile]
    new_segments: Sequence[SegmentState]
    segments: Sequence[tuple[int, SegmentWriter]]
    gathered: Gathered

    def store(self, connection: sqlite3.Connection) -> None:
        synced = sync_segments(list(self.segments))
        parts = {number: part.sync() for number, part in self.parts.items()}
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(connection, synced, parts)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has rolled back by itself
                connection.execute("ROLLBACK")
            raise

    def _insert(
        self, connection: sqlite3.Connection, synced: Sequence[Synced], parts: Mapping[int, Extent | None]
    ) -> None:
        gathered = self.gathered
        for buffer in (gathered.rows, gathered.states, gathered.outcomes, gathered.members):
            buffer.flush(connection, run_no=self.run_no, commit_no=self.number)
        for state in self.new_segments:
            gathered.records.setdefault("segments", []).append(
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
        gathered.records["extents"] = [
            (self.run_no, self.number, kind, number, extent.start, extent.length, extent.sha256)
            for kind, number, extent in extents
            if extent is not None
        ]
        gathered.records["frames"] = [
            self._frame_record(one.segment_no, frame) for one in synced for frame in one.frames
        ]
        gathered.records["commits"] = [(self.run_no, self.number, self.at, self.frontier)]
        for name, records in gathered.records.items():
            marks = ", ".join("?" * len(table(name).columns))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", records)

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
