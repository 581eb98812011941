"""Rows as the trail has them: their states in order, and which bytes are the last.

A resume, the release of waiting rows and the explanation of a row all rebuild rows
from here, so that they cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct

from elspeth.contracts import StateStatus, TrailError
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader, read_json, read_word

__all__ = ["TrailRow", "TrailRows", "TrailState", "Version"]

_STATE = "row_index, node_no, attempt, status, route, output_hash, commit_no, started_us, duration_us, error_json"
_AMONG_STRETCHES = (
    "json_each(?2) AS stretch CROSS JOIN {} AS t ON t.run_no = ?1 "
    "AND row_index BETWEEN json_extract(stretch.value, '$[0]') AND json_extract(stretch.value, '$[1]')"
)


class TrailState(Struct, frozen=True, kw_only=True):
    """What became of a row at a node. ``started_us`` counts from the run's opening."""

    node_no: int
    attempt: int
    status: StateStatus
    route: str | None
    output_hash: bytes | None
    commit_no: int
    started_us: int
    duration_us: int
    error: dict[str, Any]


class TrailRow(Struct, kw_only=True):
    """A row of the trail; ``states`` are in the order of the nodes."""

    index: int
    line: int
    data_hash: bytes
    commit_no: int
    states: list[TrailState]

    @property
    def is_rejected(self) -> bool:
        """Whether the record never became a row."""
        return bool(self.states) and self.states[0].node_no == 0

    def version_before(self, node_no: int) -> tuple[int, bytes, int]:
        """Which bytes the row has on its way to a node: the node that wrote them, hash, commit."""
        version = (0, self.data_hash, self.commit_no)
        for state in self.states:
            if state.node_no < node_no and state.output_hash is not None:
                version = (state.node_no, state.output_hash, state.commit_no)
        return version


class Version(NamedTuple):
    """A row as it stands at some place: the node whose codec wrote its bytes, their hash, and they."""

    writer: int
    sha256: bytes
    data: bytes


class TrailRows:
    """Reads rows of one run back."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, payloads: Payloads) -> None:
        self._reader = reader
        self._run = run
        self._payloads = payloads
        self._source = RowSource(reader, run, payloads)

    def find(self, index: int) -> TrailRow | None:
        """One row, as `fetch` gives it; None when there is none with that index."""
        wanted = (self._run.run_no, index)
        found = self._reader.query(
            "SELECT row_index, line, data_hash, commit_no FROM rows WHERE run_no = ? AND row_index = ?", *wanted
        )
        if not found:
            return None
        states = self._reader.query(
            f"SELECT {_STATE} FROM node_states WHERE run_no = ? AND row_index = ? ORDER BY path, node_no, attempt",
            *wanted,
        )
        place = f"node_states {self._run.run_no}/{index}"
        return _row(found[0], [_state(record, place) for record in states])

    def fetch(self, indexes: Sequence[int]) -> Iterator[TrailRow]:
        """The rows with these ascending indexes; raises `TrailError` when one is missing."""
        wanted = (self._run.run_no, _stretches(indexes))
        states = self._reader.stream(
            f"SELECT {_STATE} FROM {_AMONG_STRETCHES.format('node_states')} "
            "ORDER BY row_index, t.path, node_no, attempt",
            *wanted,
        )
        pending = next(states, None)
        found = 0
        for record in self._reader.stream(
            f"SELECT row_index, line, data_hash, commit_no FROM {_AMONG_STRETCHES.format('rows')} ORDER BY row_index",
            *wanted,
        ):
            index = record[0]
            if pending is not None and pending[0] < index:
                raise TrailError(f"run {self._run.run_id}: row {pending[0]} has states, but no record")
            reached = []
            while pending is not None and pending[0] == index:
                reached.append(_state(pending, f"node_states {self._run.run_no}/{index}"))
                pending = next(states, None)
            found += 1
            yield _row(record, reached)
        if found != len(indexes):
            raise TrailError(f"run {self._run.run_id}: {len(indexes) - found} of {len(indexes)} rows are missing")

    def data(self, row: TrailRow, version: tuple[int, bytes, int]) -> bytes:
        """The bytes of one version of a row, found by its hash."""
        _, sha, commit_no = version
        return self._source.bytes_of(row.index, commit_no=commit_no, sha=sha)

    def waiting_at(self, node_no: int, indexes: Sequence[int]) -> dict[int, Version]:
        """Those of the rows with these ascending indexes that have not passed a node, as they came to it.

        Raises `TrailError` when one is missing.
        """
        wanted = (self._run.run_no, _stretches(indexes))
        versions: dict[int, tuple[int, bytes, int]] = {
            index: (0, data_hash, commit_no)
            for index, data_hash, commit_no in self._reader.query(
                f"SELECT row_index, data_hash, commit_no FROM {_AMONG_STRETCHES.format('rows')} ORDER BY row_index",
                *wanted,
            )
        }
        if len(versions) != len(indexes):
            missing = len(indexes) - len(versions)
            raise TrailError(f"run {self._run.run_id}: {missing} of {len(indexes)} rows are missing")
        passed: set[int] = set()
        for index, state_no, output_hash, commit_no in self._reader.query(
            f"SELECT row_index, node_no, output_hash, commit_no FROM {_AMONG_STRETCHES.format('node_states')} "
            "AND node_no <= ?3 ORDER BY row_index, t.path, node_no, attempt",
            *wanted,
            node_no,
        ):
            if state_no == node_no:
                passed.add(index)
            elif output_hash is not None:
                versions[index] = (state_no, output_hash, commit_no)
        return {
            index: Version(writer, sha, self._source.bytes_of(index, commit_no=commit_no, sha=sha))
            for index, (writer, sha, commit_no) in versions.items()
            if index not in passed
        }

    def raw(self, row: TrailRow) -> bytes:
        """The bytes of a rejected record."""
        raw = row.states[0].error.get("raw", {})
        return self._payloads.body_at(str(raw.get("ref", "")), row.data_hash)


def _stretches(indexes: Sequence[int]) -> str:
    """Ascending indexes as a JSON array of first and last ones, so that neighbours are read in one go."""
    places = [place for place, (one, other) in enumerate(pairwise(indexes), start=1) if other != one + 1]
    pairs = zip([0, *places], [*places, len(indexes)], strict=True)
    return json.dumps([(indexes[start], indexes[end - 1]) for start, end in pairs if start < end])


def _row(record: tuple[Any, ...], states: list[TrailState]) -> TrailRow:
    index, line, data_hash, commit_no = record
    return TrailRow(index=index, line=line, data_hash=data_hash, commit_no=commit_no, states=states)


def _state(record: tuple[Any, ...], place: str) -> TrailState:
    _, node_no, attempt, status, route, output_hash, commit_no, started_us, duration_us, error = record
    return TrailState(
        node_no=node_no,
        attempt=attempt,
        status=read_word(StateStatus, status, place),
        route=route,
        output_hash=output_hash,
        commit_no=commit_no,
        started_us=started_us,
        duration_us=duration_us,
        error=read_json(error, place),
    )
