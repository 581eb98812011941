"""How rows of a run stand: which bytes are their last, where gates sent them, how they ended.

Made for many rows at a time, with names instead of numbers: two runs number their nodes
each in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from elspeth.contracts import Outcome, TrailError
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_word

__all__ = ["Ending", "Standing", "Standings"]


class Ending(NamedTuple):
    """How a row ended, in words; all None while it has not. ``step`` is the one that decided it."""

    outcome: str | None
    step: str | None
    sink: str | None
    reason: str | None


class Standing:
    """How one row stands: its last bytes by hash and commit, the labels that gates chose, its end.

    Of a record that is no row, the hash is that of its raw bytes. Made for every row, so slotted but not frozen.
    """

    __slots__ = ("commit_no", "ending", "index", "is_rejected", "routes", "sha256")

    def __init__(self, index: int, *, sha256: bytes, commit_no: int, ending: Ending) -> None:
        self.index = index
        self.sha256 = sha256
        self.commit_no = commit_no
        self.ending = ending
        self.routes: Mapping[str, str] = _NO_ROUTES
        self.is_rejected = False

    def add_route(self, gate: str, label: str) -> None:
        """Notes which label a gate chose."""
        self.routes = {**self.routes, gate: label}


_NO_ROUTES: Mapping[str, str] = {}


class Standings:
    """Reads the standings of one run's rows."""

    def __init__(self, reader: LandscapeReader, run: RunHeader) -> None:
        self._reader = reader
        self._run = run
        self._names: dict[int | None, str | None] = {None: None}
        self._names.update(reader.query("SELECT node_no, name FROM nodes WHERE run_no = ?", run.run_no))
        self._endings: dict[tuple[Any, ...], Ending] = {}

    def fetch(self, indexes: Sequence[int]) -> dict[int, Standing]:
        """The standings of these rows, by index; raises `TrailError` when one is missing."""
        wanted = json.dumps(list(indexes))
        found = {
            index: Standing(index, sha256=sha, commit_no=commit_no, ending=self._ending(tuple(end)))
            for index, sha, commit_no, *end in self._reader.stream(
                "SELECT r.row_index, r.data_hash, r.commit_no, o.outcome, o.step_no, o.sink_no, o.reason FROM rows r "
                "LEFT JOIN outcomes o ON o.run_no = r.run_no AND o.row_index = r.row_index AND o.path = x'' "
                "WHERE r.run_no = ? AND r.row_index IN (SELECT value FROM json_each(?))",
                self._run.run_no,
                wanted,
            )
        }
        if len(found) != len(indexes):
            missing = len(indexes) - len(found)
            raise TrailError(f"run {self._run.run_id}: {missing} of {len(indexes)} rows are missing")
        for index, node_no, route, sha, commit_no in self._reader.stream(
            "SELECT row_index, node_no, route, output_hash, commit_no FROM node_states "
            "WHERE run_no = ? AND row_index IN (SELECT value FROM json_each(?)) "
            "AND (route IS NOT NULL OR output_hash IS NOT NULL OR node_no = 0) "
            "ORDER BY row_index, path, node_no, attempt",
            self._run.run_no,
            wanted,
        ):
            standing = found[index]
            if node_no == 0:
                standing.is_rejected = True
            if sha is not None:
                standing.sha256, standing.commit_no = sha, commit_no
            if route is not None:
                standing.add_route(self._name(node_no), route)
        return found

    def _name(self, node_no: int) -> str:
        name = self._names.get(node_no)
        if name is None:
            raise TrailError(f"run {self._run.run_id} has no node {node_no}")
        return name

    def _ending(self, kind: tuple[Any, ...]) -> Ending:
        """The words for numbers; there are few kinds of ends, however many rows."""
        ending = self._endings.get(kind)
        if ending is None:
            outcome, step_no, sink_no, reason = kind
            word = None if outcome is None else read_word(Outcome, outcome, f"outcomes {self._run.run_no}").word
            step = None if step_no is None else self._name(step_no)
            sink = None if sink_no is None else self._name(sink_no)
            ending = self._endings[kind] = Ending(word, step, sink, reason)
        return ending
