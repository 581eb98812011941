"""The journal of a run: gathers records and makes them durable, commit by commit.

A commit runs on the trail's thread while the engine goes on; `drain` waits for it.
The engine adds the records of a micro-batch only when the whole of it has been
computed, so the frontier, asked for at each commit, always describes exactly what
is recorded, whoever asks for the commit.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from elspeth.contracts import Clock
from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.buffers import OutcomeKind
from elspeth.core.landscape.commit import BY_COLUMN, Commit, Gathered, prepare
from elspeth.core.landscape.schema import table
from elspeth.core.landscape.seals import Sealer
from elspeth.core.landscape.writer import Task, TrailWriter
from elspeth.core.payloads import PartFile, PayloadStore, SegmentState

__all__ = ["Counters", "Journal"]

_SEAL_EVERY_US = 60_000_000


class Counters(Struct, kw_only=True):
    """The next free numbers of a run, and how many tokens ended in which way; a new run starts at the defaults."""

    commit_no: int = 0
    run_event_no: int = 0
    intent_no: int = 0
    call_no: int = 0
    batch_no: int = 1
    batch_event_no: dict[int, int] = field(default_factory=dict)
    segment_no: int = 1
    purge_no: int = 0
    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)


class Journal:
    """One run's writer. All methods belong to the engine's thread."""

    def __init__(
        self,
        *,
        database: Path,
        run_no: int,
        payload_folder: Path,
        clock: Clock,
        sealer: Sealer,
        counters: Counters | None = None,
        segments: tuple[SegmentState, ...] = (),
    ) -> None:
        self.run_no = run_no
        self.clock = clock
        self.counters = counters or Counters()
        self.gathered = Gathered()
        self._frontier: Callable[[], Mapping[str, Any]] = dict
        self._parts: dict[int, PartFile] = {}
        self._sealer = sealer
        self._sealed_at = 0
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
        if name in BY_COLUMN:
            raise RuntimeError(f"records of {name} are gathered by column")
        entry = table(name)
        columns["run_no"] = self.run_no
        columns["commit_no"] = self.commit_no
        self.gathered.records.setdefault(name, []).append(tuple(columns[column] for column in entry.column_names))

    def commit(self, *, seal: str | None = None) -> None:
        """Hands everything gathered to the trail's thread; at most one commit is in flight.

        Seals it with ``seal`` as the reason, or without one when a seal is due.
        """
        prepared = prepare(self.gathered, run_no=self.run_no, commit_no=self.commit_no)
        self._writer.drain()
        self.payloads.cut_all()
        for part in self._parts.values():
            part.cut()
        now = self.clock.now_us()
        commit = Commit(
            run_no=self.run_no,
            number=self.commit_no,
            at=now,
            frontier=canonical_json({**self._frontier(), **self._tally()}).decode(),
            parts=dict(self._parts),
            new_segments=self.payloads.take_unrecorded(),
            segments=self.payloads.writers(),
            prepared=prepared,
            sealer=self._sealer,
        )
        self.counters.commit_no += 1
        self.gathered = Gathered()
        self._writer.submit(self._in_place(commit.store))
        self.payloads.close_finished()
        if seal is not None:
            self.seal(seal)
        elif now - self._sealed_at >= _SEAL_EVERY_US:
            self.seal("opened" if self._sealed_at == 0 else "minute")

    def seal(self, reason: str) -> None:
        """Seals everything handed over so far, on the trail's thread; nothing happens when that is sealed already."""
        self._sealed_at = at = self.clock.now_us()
        self._writer.submit(lambda connection: self._sealer.seal(connection, reason=reason, at=at))

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

    def commit_durably(self, *, seal: str | None = None) -> None:
        """Commits and waits until it is on the disk."""
        self.commit(seal=seal)
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
