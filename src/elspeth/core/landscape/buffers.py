"""Columnar buffers for the records that every row makes, and their bulk statements.

Records that share everything but the row form one group; a group is inserted by one
statement whose rows come from a JSON array and whose hashes are cut from one blob.
That is a third of the cost of a statement with one tuple a record, and SQLite does
it without the interpreter's lock.

The lines that are hashed for the records (`leaves`) are made by group, too: what the group
shares is encoded once. They come in layers: a row's lines in the order of the layers are its
lines in the order of their keys.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import NamedTuple

import msgspec

__all__ = ["Layer", "LineColumns", "MemberBuffer", "OutcomeBuffer", "OutcomeKind", "RowBuffer", "Slot", "StateBuffer"]

Layer = tuple[Sequence[int], Sequence[str]]
"""Rows, each once, and the lines of each, newline included."""

OutcomeKind = tuple[int, int | None, int | None, str | None]
"""How a token ended: outcome, step, sink, reason."""

_HASH_DIGITS = 64


def _packed(rows: Sequence[int], lines: Sequence[int]) -> tuple[int, int, int, str]:
    """Lowest row, lowest line, a power of two, and a JSON array of line distance * power + row distance."""
    base_row, base_line = min(rows), min(lines)
    power = 1 << (max(rows) - base_row).bit_length()
    distances = [(line - base_line) * power + row - base_row for row, line in zip(rows, lines, strict=True)]
    return base_row, base_line, power, _numbers(distances)


def _numbers(items: Sequence[int]) -> str:
    """Whole numbers as a JSON array."""
    return msgspec.json.encode(items).decode()


def _of_one_width(numbers: Sequence[int]) -> tuple[bytes, int]:
    """Numbers as decimal digits of one width, and that width, so that SQLite can cut each out by its place."""
    width = max(len(str(min(numbers))), len(str(max(numbers))))
    return (f"%0{width}d" * len(numbers) % tuple(numbers)).encode("ascii"), width


def _json(value: str | int | None) -> str:
    if value is None:
        return "null"
    return encode_basestring(value) if isinstance(value, str) else str(value)


def _digits(hashes: Sequence[bytes]) -> list[str]:
    """The hashes as hexadecimal digits."""
    joined = b"".join(hashes).hex()
    return [joined[at : at + _HASH_DIGITS] for at in range(0, len(joined), _HASH_DIGITS)]


class RowBuffer:
    """Records for `rows`."""

    _INSERT = """
        INSERT INTO rows (run_no, row_index, commit_no, line, data_hash)
        SELECT ?1, ?2 + value % ?3, ?4, ?5 + value / ?3, substr(?6, key * 32 + 1, 32)
        FROM json_each(?7)"""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._lines: list[int] = []
        self._hashes: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[int], lines: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Adds rows by column."""
        self._rows.extend(rows)
        self._lines.extend(lines)
        self._hashes.extend(hashes)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything."""
        if self._rows:
            base_row, base_line, power, packed = _packed(self._rows, self._lines)
            hashes = b"".join(self._hashes)
            connection.execute(self._INSERT, (run_no, base_row, power, commit_no, base_line, hashes, packed))

    def layers(self) -> list[Layer]:
        """What is hashed for each row."""
        columns = zip(self._rows, self._lines, _digits(self._hashes), strict=True)
        return [(self._rows, [f'["rows",{row},{line},"{digits}"]\n' for row, line, digits in columns])]


class _States:
    """States of one kind: the rows, the hashes if they have any, and for each row at which of the moments it was."""

    __slots__ = ("hashes", "moments", "places", "rows")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.hashes: list[bytes] = []
        self.moments: list[tuple[int, int]] = []
        self.places: list[int] = []


class StateBuffer:
    """Records for `node_states` without an error; those with one are inserted singly by the recorder.

    Micro-batches differ in when they passed a node. So that they can go into one statement, each row takes its own
    moment out of a column of digits.
    """

    _INSERT = """
        INSERT INTO node_states (run_no, row_index, path, node_no, attempt, commit_no, status, route,
                                 output_hash, started_us, duration_us, error_json)
        SELECT ?1, ?2 + value / ?3, x'', ?4, ?5, ?6, ?7, ?8,
               CASE WHEN ?9 IS NULL THEN NULL ELSE substr(?9, key * 32 + 1, 32) END,
               CAST(substr(?10, value % ?3 * ?11 + 1, ?11) AS INTEGER),
               CAST(substr(?12, value % ?3 * ?13 + 1, ?13) AS INTEGER), NULL
        FROM json_each(?14)"""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, int, str | None, bool], _States] = {}

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self._groups.values())

    def add(
        self,
        rows: Sequence[int],
        *,
        node_no: int,
        attempt: int,
        status: int,
        route: str | None,
        hashes: Sequence[bytes] | None,
        started_us: int,
        duration_us: int,
    ) -> None:
        """Adds the states of rows that differ in nothing but the row and the hash."""
        key = (node_no, attempt, status, route, hashes is not None)
        group = self._groups.get(key) or self._groups.setdefault(key, _States())
        group.rows.extend(rows)
        group.places.extend([len(group.moments)] * len(rows))
        group.moments.append((started_us, duration_us))
        if hashes is not None:
            group.hashes.extend(hashes)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything, a statement a group."""
        for (node_no, attempt, status, route, has_hash), group in self._groups.items():
            base_row, count = min(group.rows), len(group.moments)
            packed = [(row - base_row) * count + place for row, place in zip(group.rows, group.places, strict=True)]
            hashes = b"".join(group.hashes) if has_hash else None
            started, took = zip(*group.moments, strict=True)
            moments = (*_of_one_width(started), *_of_one_width(took))
            place = (run_no, base_row, count, node_no, attempt, commit_no)
            connection.execute(self._INSERT, (*place, status, route, hashes, *moments, _numbers(packed)))

    def layers(self, failures: Sequence[tuple[int, int, int, str]]) -> list[Layer]:
        """What is hashed for each row; ``failures`` are the lines of single records: node, attempt, row, line."""
        found = [(node_no, attempt, ([row], [line])) for node_no, attempt, row, line in failures]
        for (node_no, attempt, status, route, has_hash), group in self._groups.items():
            opening = f',"",{node_no},{attempt},{status},{_json(route)},'
            moments = [f",{started_us},{duration_us},null]\n" for started_us, duration_us in group.moments]
            endings = map(moments.__getitem__, group.places)
            if has_hash:
                columns = zip(group.rows, _digits(group.hashes), endings, strict=True)
                lines = [f'["node_states",{row}{opening}"{digits}"{ending}' for row, digits, ending in columns]
            else:
                pairs = zip(group.rows, endings, strict=True)
                lines = [f'["node_states",{row}{opening}null{ending}' for row, ending in pairs]
            found.append((node_no, attempt, (group.rows, lines)))
        return [layer for _, _, layer in sorted(found, key=lambda one: one[:2])]


class OutcomeBuffer:
    """Records for `outcomes`."""

    _INSERT = """
        INSERT INTO outcomes (run_no, row_index, path, commit_no, outcome, step_no, sink_no, sink_line, reason)
        SELECT ?1, ?2 + value % ?3, x'', ?4, ?5, ?6, ?7,
               CASE WHEN ?7 IS NULL THEN NULL ELSE ?8 + value / ?3 END, ?9
        FROM json_each(?10)"""

    def __init__(self) -> None:
        self._groups: dict[OutcomeKind, tuple[list[int], list[int]]] = {}

    def counts(self) -> dict[OutcomeKind, int]:
        """How many of each kind."""
        return {kind: len(rows) for kind, (rows, _) in self._groups.items()}

    def add(
        self,
        rows: Sequence[int],
        *,
        outcome: int,
        step_no: int | None,
        sink_no: int | None,
        sink_lines: Sequence[int],
        reason: str | None,
    ) -> None:
        """Adds the outcomes of tokens that ended alike; ``sink_lines`` count only with a sink."""
        key = (outcome, step_no, sink_no, reason)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ([], [])
        group[0].extend(rows)
        group[1].extend(sink_lines)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything, a statement a group."""
        for (outcome, step_no, sink_no, reason), (rows, lines) in self._groups.items():
            base_row, base_line, power, packed = _packed(rows, lines)
            connection.execute(
                self._INSERT,
                (run_no, base_row, power, commit_no, outcome, step_no, sink_no, base_line, reason, packed),
            )

    def layers(self) -> list[Layer]:
        """What is hashed for each row."""
        found: list[Layer] = []
        for (outcome, step_no, sink_no, reason), (rows, sink_lines) in self._groups.items():
            opening = f',"",{outcome},{_json(step_no)},{_json(sink_no)},'
            ending = f",{_json(reason)}]\n"
            if sink_no is None:
                lines = [f'["outcomes",{row}{opening}null{ending}' for row in rows]
            else:
                pairs = zip(rows, sink_lines, strict=True)
                lines = [f'["outcomes",{row}{opening}{line}{ending}' for row, line in pairs]
            found.append((rows, lines))
        return found


class Slot(NamedTuple):
    """Where a line stands: the batch, the segment of its file, and the place in it, in bytes."""

    batch_no: int
    segment_no: int
    position: int
    start: int
    length: int
    sha256: bytes


@dataclass(slots=True)
class LineColumns:
    """Lines of one file of a batch, by column: the rows that they are for, and their places; for each row a line."""

    rows: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def add(self, row: int, *, position: int, start: int, length: int, sha256: bytes) -> None:
        """Adds a line; ``start`` and ``length`` in bytes."""
        self.rows.append(row)
        self.positions.append(position)
        self.starts.append(start)
        self.lengths.append(length)
        self.hashes.append(sha256)

    def extend(self, lines: LineColumns) -> None:
        """Adds lines of the same file."""
        self.rows.extend(lines.rows)
        self.positions.extend(lines.positions)
        self.starts.extend(lines.starts)
        self.lengths.extend(lines.lengths)
        self.hashes.extend(lines.hashes)


class MemberBuffer:
    """Records for `batch_members`."""

    _INSERT = """
        INSERT INTO batch_members (run_no, row_index, path, batch_no, role, commit_no, segment_no,
                                   position, start, length, line_hash)
        SELECT ?1, ?2 + value % ?3, x'', ?4, ?5, ?6, ?7, ?8 + value / ?3,
               CAST(substr(?9, key * ?10 + 1, ?10) AS INTEGER), CAST(substr(?11, key * ?12 + 1, ?12) AS INTEGER),
               substr(?13, key * 32 + 1, 32)
        FROM json_each(?14)"""

    def __init__(self) -> None:
        self._groups: defaultdict[tuple[int, int, int], LineColumns] = defaultdict(LineColumns)

    def add(self, lines: LineColumns, *, batch_no: int, role: int, segment_no: int) -> None:
        """Adds the places of lines of one file."""
        if lines.rows:
            self._groups[batch_no, role, segment_no].extend(lines)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything, a statement a file."""
        for (batch_no, role, segment_no), lines in self._groups.items():
            base_row, base_position, power, packed = _packed(lines.rows, lines.positions)
            place = (run_no, base_row, power, batch_no, role, commit_no, segment_no, base_position)
            sizes = (*_of_one_width(lines.starts), *_of_one_width(lines.lengths))
            connection.execute(self._INSERT, (*place, *sizes, b"".join(lines.hashes), packed))

    def layers(self) -> list[Layer]:
        """What is hashed for each row."""
        found: list[Layer] = []
        for (batch_no, role, segment_no), lines in sorted(self._groups.items(), key=lambda group: group[0]):
            opening = f',"",{batch_no},{role},{segment_no},'
            columns = zip(lines.rows, lines.positions, lines.starts, lines.lengths, _digits(lines.hashes), strict=True)
            texts = [
                f'["batch_members",{row}{opening}{place},{start},{length},"{digits}"]\n'
                for row, place, start, length, digits in columns
            ]
            found.append((lines.rows, texts))
        return found
