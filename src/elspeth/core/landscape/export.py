"""A run's records, and if wanted its payloads, as lines of JSON.

    {"table": "runs", "run_no": 1, ...}           what the run is: runs, run_files, nodes, edges
    {"table": "run_events", ..., "commit_no": 0}  then commit by commit, within one in the order of
    {"table": "rows", ..., "commit_no": 0}        docs/audit-format.md, within a table by its key
    {"payload": "rows.zst", "start": 0, ...}      then the content of each segment, frame by frame
    {"payload": "calls.zst", "purged": {...}}     or that it was purged

Columns keep their names and their order. Numbers of a vocabulary become words, bytes
become hexadecimal digits. A column of JSON is put in as it is stored, byte for byte, so
that a hash over it can still be checked. The same trail gives the same lines.

Everything streams. SQLite sorts by commit, on the disk where it must; the tables' streams
are merged here.
"""

from __future__ import annotations

import base64
import heapq
import json
from collections.abc import Callable, Iterator
from typing import Any

from elspeth.contracts import PayloadClass, TrailError
from elspeth.core.canonical import compact_json, sha256
from elspeth.core.landscape.columns import Column, Table
from elspeth.core.landscape.extents import SEGMENT_EXTENT, extents_of, first_wrong_extent
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_word
from elspeth.core.landscape.retention import keeping_of
from elspeth.core.landscape.schema import TABLES, table
from elspeth.core.payloads import Frame, SegmentReader

__all__ = ["payload_lines", "record_lines"]

_FIRST = ("runs", "run_files", "nodes", "edges")
_BY_KIND: dict[str, Callable[[Any], str]] = {
    "INTEGER": str,
    "TEXT": compact_json,
    "BLOB": lambda value: f'"{value.hex()}"',
}


def record_lines(reader: LandscapeReader, run: RunHeader) -> Iterator[str]:
    """Every record of a run, in order."""
    for name in _FIRST:
        entry = table(name)
        for record in reader.stream(_select(entry, ", ".join(entry.key)), run.run_no):
            yield _Line(entry).of(record)
    rest = [entry for entry in TABLES if entry.name not in _FIRST]
    by_commit = [entry for entry in rest if "commit_no" in entry.column_names]
    for _, _, line in heapq.merge(*(_stream(reader, run, entry, n) for n, entry in enumerate(by_commit))):
        yield line
    for entry in rest:
        if entry not in by_commit:
            for record in reader.stream(_select(entry, ", ".join(entry.key)), run.run_no):
                yield _Line(entry).of(record)


def payload_lines(reader: LandscapeReader, run: RunHeader) -> Iterator[str]:
    """The content of every segment, a line a frame: text where it is UTF-8, else base64. Of a purged one, a mark.

    Before the first line of a segment its stored bytes are checked against the extents that the commits recorded.
    """
    marks = {mark.payload_class: mark for mark in keeping_of(reader, run).marks}
    for segment_no, name, number in reader.query(
        "SELECT segment_no, name, class FROM segments WHERE run_no = ? ORDER BY segment_no", run.run_no
    ):
        mark = marks.get(read_word(PayloadClass, number, f"segments {run.run_no}/{segment_no}"))
        if mark is not None:
            yield compact_json({"payload": name, "segment_no": segment_no, "purged": mark.as_json()})
            continue
        _check_extents(reader, run, segment_no, name)
        frames = reader.stream(
            "SELECT start, size, stored_start, stored_size, first_row, last_row FROM frames "
            "WHERE run_no = ? AND segment_no = ? ORDER BY start",
            run.run_no,
            segment_no,
        )
        segment = SegmentReader(run.payload_folder / name, lambda _start: iter(()))
        for record in frames:
            frame = Frame(*record)
            data = segment.frame(frame)
            line = {"payload": name, "segment_no": segment_no, "start": frame.start, "size": frame.size}
            yield compact_json({**line, "sha256": sha256(data).hex(), **_content(data)})


class _Line:
    """Makes the lines of one table; raises `TrailError` for a value that its column cannot hold."""

    def __init__(self, entry: Table) -> None:
        self._entry = entry
        self._encoders = tuple(_encoder(entry, column) for column in entry.columns)
        columns = ",".join(f'"{name}":%s' for name in entry.column_names)
        self._template = f'{{"table":"{entry.name}",{columns}}}'

    def of(self, record: tuple[Any, ...]) -> str:
        """The line of a record, without its newline."""
        return self._template % tuple([encode(value) for encode, value in zip(self._encoders, record, strict=True)])


def _stream(reader: LandscapeReader, run: RunHeader, entry: Table, position: int) -> Iterator[tuple[int, int, str]]:
    """The lines of a table by commit; ``position`` tells the tables of one commit apart."""
    line = _Line(entry)
    commit_at = entry.column_names.index("commit_no")
    for record in reader.stream(_select(entry, f"commit_no, {', '.join(entry.key)}"), run.run_no):
        yield record[commit_at], position, line.of(record)


def _select(entry: Table, order: str) -> str:
    return f"SELECT {', '.join(entry.column_names)} FROM {entry.name} WHERE run_no = ? ORDER BY {order}"


def _encoder(entry: Table, column: Column) -> Callable[[Any], str]:
    """How the values of a column are written."""
    encode = _required(column, f"{entry.name}.{column.name}")
    if column.is_required:
        return encode
    return lambda value: "null" if value is None else encode(value)


def _required(column: Column, place: str) -> Callable[[Any], str]:
    if column.words is not None:
        words = column.words
        return lambda value: f'"{read_word(words, value, place).word}"'
    if column.is_json:
        return lambda value: _verbatim_json(value, place)
    return _BY_KIND[column.kind]


def _verbatim_json(text: str, place: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise TrailError(f"{place}: not JSON: {error}") from error
    if "\n" in text or "\r" in text:
        raise TrailError(f"{place}: JSON of more than one line")
    return text


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _check_extents(reader: LandscapeReader, run: RunHeader, segment_no: int, name: str) -> None:
    path = run.payload_folder / name
    try:
        with path.open("rb") as file:
            wrong = first_wrong_extent(file, extents_of(reader, run.run_no, kind=SEGMENT_EXTENT, file_no=segment_no))
    except OSError as error:
        raise TrailError(f"the payload segment {path} cannot be read: {error.strerror or error}") from error
    if wrong is not None:
        raise TrailError(
            f"{path}: the {wrong.length} bytes from {wrong.start} on do not have the hash {wrong.sha256.hex()}",
            hint="The file was changed or cut after the run wrote it.",
        )
