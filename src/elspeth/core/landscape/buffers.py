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

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from json.encoder import encode_basestring
from operator import itemgetter
from typing import NamedTuple

import msgspec

__all__ = [
    "JourneyStep",
    "Layer",
    "LineColumns",
    "MemberBuffer",
    "OutcomeBuffer",
    "OutcomeKind",
    "PassageBuffer",
    "RowBuffer",
    "Slot",
    "Statement",
]

Statement = tuple[str, tuple[int | str | bytes | None, ...]]
"""SQL and what is bound to it."""

Layer = tuple[Sequence[int], Sequence[str]]
"""Rows, each once, and the lines of each, newline included."""

OutcomeKind = tuple[int, int | None, int | None, str | None]
"""How a token ended: outcome, step, sink, reason."""

JourneyStep = tuple[int, int, int, str | None, int | None, int, int]
"""A step of a journey: node, attempt, status, route, number of its hash, start after the run's opening, duration."""

_HASH_BYTES = 32
_HASH_DIGITS = 2 * _HASH_BYTES


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

    def add(self, rows: Sequence[int], lines: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Adds rows by column."""
        self._rows.extend(rows)
        self._lines.extend(lines)
        self._hashes.extend(hashes)

    def statements(self, *, run_no: int, commit_no: int) -> Iterator[Statement]:
        """What inserts everything."""
        if self._rows:
            base_row, base_line, power, packed = _packed(self._rows, self._lines)
            hashes = b"".join(self._hashes)
            yield self._INSERT, (run_no, base_row, power, commit_no, base_line, hashes, packed)

    def layers(self) -> list[Layer]:
        """What is hashed for each row."""
        columns = zip(self._rows, self._lines, _digits(self._hashes), strict=True)
        return [(self._rows, [f'["rows",{row},{line},"{digits}"]\n' for row, line, digits in columns])]


class _Part(NamedTuple):
    """Tokens of one journey, and what it made of them: all hashes of a row, one after the other, row after row."""

    journey_no: int
    rows: Sequence[int]
    hashes: bytes


class PassageBuffer:
    """Records for `passages` and their `journeys`; passages with an error are inserted singly by the recorder.

    Journeys have numbers of their own in each commit. Passages with equally many hashes go into one statement,
    each with the number of its journey.
    """

    _INSERT = """
        INSERT INTO passages (run_no, row_index, path, commit_no, journey_no, output_hashes, error_json)
        SELECT ?1, ?2 + value / ?3, x'', ?4, value % ?3, substr(?5, key * ?6 + 1, ?6), NULL
        FROM json_each(?7)"""

    def __init__(self) -> None:
        self._journeys: list[Sequence[JourneyStep]] = []
        self._parts: defaultdict[int, list[_Part]] = defaultdict(list)

    def add_journey(self, steps: Sequence[JourneyStep]) -> int:
        """Adds a journey and returns its number."""
        self._journeys.append(steps)
        return len(self._journeys) - 1

    def add(self, rows: Sequence[int], steps: Sequence[JourneyStep], hashes: Sequence[Sequence[bytes]]) -> None:
        """Adds the passages of rows that differ in nothing but their hashes, of which each column has one for a row."""
        joined = b"".join(chain.from_iterable(zip(*hashes, strict=True)))
        self._parts[len(hashes)].append(_Part(self.add_journey(steps), rows, joined))

    def journeys(self, *, run_no: int, commit_no: int) -> list[tuple[int | str | None, ...]]:
        """The records of the journeys, by key."""
        return [
            (run_no, commit_no, journey_no, place, len(steps) - 1, *step)
            for journey_no, steps in enumerate(self._journeys)
            for place, step in enumerate(steps)
        ]

    def statements(self, *, run_no: int, commit_no: int) -> Iterator[Statement]:
        """What inserts the passages, a statement for each number of hashes."""
        count = len(self._journeys)
        for hash_count, parts in self._parts.items():
            base_row = min(min(part.rows) for part in parts)
            packed = [(row - base_row) * count + part.journey_no for part in parts for row in part.rows]
            hashes = b"".join([part.hashes for part in parts]) if hash_count else None
            place = (run_no, base_row, count, commit_no)
            yield self._INSERT, (*place, hashes, hash_count * _HASH_BYTES, _numbers(packed))

    def layers(self, failures: Sequence[tuple[int, int, str]]) -> list[Layer]:
        """What is hashed for each row; ``failures`` are the lines of single records: journey, row, line."""
        found: list[tuple[int, Layer]] = [(journey_no, ([row], [line])) for journey_no, row, line in failures]
        for hash_count, parts in self._parts.items():
            found += [(part.journey_no, (part.rows, _passage_lines(part, hash_count))) for part in parts]
        return [layer for _, layer in sorted(found, key=itemgetter(0))]


def _passage_lines(part: _Part, hash_count: int) -> list[str]:
    opening = f',"",{part.journey_no},'
    if not hash_count:
        return [f'["passages",{row}{opening}null,null]\n' for row in part.rows]
    digits, width = part.hashes.hex(), hash_count * _HASH_DIGITS
    columns = zip(part.rows, range(0, len(digits), width), strict=True)
    return [f'["passages",{row}{opening}"{digits[at : at + width]}",null]\n' for row, at in columns]


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

    def statements(self, *, run_no: int, commit_no: int) -> Iterator[Statement]:
        """What inserts everything, a statement a group."""
        for (outcome, step_no, sink_no, reason), (rows, lines) in self._groups.items():
            base_row, base_line, power, packed = _packed(rows, lines)
            place = (run_no, base_row, power, commit_no)
            yield self._INSERT, (*place, outcome, step_no, sink_no, base_line, reason, packed)

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


class LineColumns(msgspec.Struct):
    """Lines of one file of a batch, by column: the rows that they are for, and their places; for each row a line."""

    rows: list[int] = msgspec.field(default_factory=list)
    positions: list[int] = msgspec.field(default_factory=list)
    starts: list[int] = msgspec.field(default_factory=list)
    lengths: list[int] = msgspec.field(default_factory=list)
    hashes: list[bytes] = msgspec.field(default_factory=list)

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

    def statements(self, *, run_no: int, commit_no: int) -> Iterator[Statement]:
        """What inserts everything, a statement a file."""
        for (batch_no, role, segment_no), lines in self._groups.items():
            base_row, base_position, power, packed = _packed(lines.rows, lines.positions)
            place = (run_no, base_row, power, batch_no, role, commit_no, segment_no, base_position)
            sizes = (*_of_one_width(lines.starts), *_of_one_width(lines.lengths))
            yield self._INSERT, (*place, *sizes, b"".join(lines.hashes), packed)

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
