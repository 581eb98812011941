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

import json
import sqlite3
from collections.abc import Sequence
from json.encoder import encode_basestring

__all__ = ["Layer", "MemberBuffer", "OutcomeBuffer", "OutcomeKind", "RowBuffer", "StateBuffer"]

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
    return base_row, base_line, power, json.dumps(distances)


def _cut(numbers: Sequence[int]) -> bytes:
    """Each as 20 characters, which hold any integer of SQLite: cheaper to cut apart than a JSON array of arrays."""
    return ("%20d" * len(numbers) % tuple(numbers)).encode()


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


class StateBuffer:
    """Records for `node_states` without an error; those with one are inserted singly by the recorder."""

    _INSERT = """
        INSERT INTO node_states (run_no, row_index, path, node_no, attempt, commit_no, status, route,
                                 output_hash, started_us, duration_us, error_json)
        SELECT ?1, value, x'', ?2, ?3, ?4, ?5, ?6,
               CASE WHEN ?7 IS NULL THEN NULL ELSE substr(?7, key * 32 + 1, 32) END, ?8, ?9, NULL
        FROM json_each(?10)"""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, int, str | None, bool, int, int], tuple[list[int], list[bytes]]] = {}

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self._groups.values())

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
        key = (node_no, attempt, status, route, hashes is not None, started_us, duration_us)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ([], [])
        group[0].extend(rows)
        if hashes is not None:
            group[1].extend(hashes)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything, a statement a group."""
        for key, (rows, hashes) in self._groups.items():
            node_no, attempt, status, route, has_hash, started_us, duration_us = key
            connection.execute(
                self._INSERT,
                (
                    run_no,
                    node_no,
                    attempt,
                    commit_no,
                    status,
                    route,
                    b"".join(hashes) if has_hash else None,
                    started_us,
                    duration_us,
                    json.dumps(rows),
                ),
            )

    def layers(self, failures: Sequence[tuple[int, int, int, str]]) -> list[Layer]:
        """What is hashed for each row; ``failures`` are the lines of single records: node, attempt, row, line."""
        found = [(node_no, attempt, ([row], [line])) for node_no, attempt, row, line in failures]
        for key, (rows, hashes) in self._groups.items():
            node_no, attempt, status, route, has_hash, started_us, duration_us = key
            opening = f',"",{node_no},{attempt},{status},{_json(route)},'
            ending = f",{started_us},{duration_us},null]\n"
            if has_hash:
                lines = [
                    f'["node_states",{row}{opening}"{digits}"{ending}'
                    for row, digits in zip(rows, _digits(hashes), strict=True)
                ]
            else:
                lines = [f'["node_states",{row}{opening}null{ending}' for row in rows]
            found.append((node_no, attempt, (rows, lines)))
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


class MemberBuffer:
    """Records for `batch_members`."""

    _INSERT = """
        INSERT INTO batch_members (run_no, row_index, path, batch_no, role, commit_no, segment_no,
                                   position, start, length, line_hash)
        SELECT ?1, value, x'', ?2, ?3, ?4, ?5, CAST(substr(?6, key * 20 + 1, 20) AS INTEGER),
               CAST(substr(?7, key * 20 + 1, 20) AS INTEGER), CAST(substr(?8, key * 20 + 1, 20) AS INTEGER),
               substr(?9, key * 32 + 1, 32)
        FROM json_each(?10)"""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int, int], tuple[list[tuple[int, int, int, int]], list[bytes]]] = {}

    def add(
        self,
        row: int,
        *,
        batch_no: int,
        role: int,
        segment_no: int,
        position: int,
        start: int,
        length: int,
        sha256: bytes,
    ) -> None:
        """Adds one slice; offsets and lengths in bytes."""
        key = (batch_no, role, segment_no)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ([], [])
        group[0].append((row, position, start, length))
        group[1].append(sha256)

    def flush(self, connection: sqlite3.Connection, *, run_no: int, commit_no: int) -> None:
        """Inserts everything, a statement a file."""
        for (batch_no, role, segment_no), (slices, hashes) in self._groups.items():
            rows, positions, starts, lengths = zip(*slices, strict=True)
            columns = (_cut(positions), _cut(starts), _cut(lengths), b"".join(hashes), json.dumps(rows))
            connection.execute(self._INSERT, (run_no, batch_no, role, commit_no, segment_no, *columns))

    def layers(self) -> list[Layer]:
        """What is hashed for each row."""
        found: list[Layer] = []
        for (batch_no, role, segment_no), (slices, hashes) in sorted(self._groups.items()):
            opening = f',"",{batch_no},{role},{segment_no},'
            lines = [
                f'["batch_members",{row}{opening}{place},{start},{length},"{digits}"]\n'
                for (row, place, start, length), digits in zip(slices, _digits(hashes), strict=True)
            ]
            found.append(([row for row, *_ in slices], lines))
        return found
