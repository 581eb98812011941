"""The tree of one commit, made from what the commit is about to write.

The same leaves come from the tables again when a run is verified (`audit`); a test holds
the two equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from elspeth.core.canonical import compact_json
from elspeth.core.landscape.buffers import Layer
from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hashes, line_encoder
from elspeth.core.landscape.schema import TABLES
from elspeth.core.merkle import root_of

__all__ = ["CommitTree", "SingleRecords", "tree_of"]

_ENCODERS = {entry.name: line_encoder(entry) for entry in TABLES}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTree:
    """What a commit's record says of its tree."""

    leaf_count: int
    root: bytes
    nonce: bytes
    leaf_hints: bytes
    table_checks_json: str


class SingleRecords:
    """The lines of records that were gathered one by one, all columns in order."""

    def __init__(self, records: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        self._records = records

    def of_others(self, entry: Table) -> list[str]:
        """Lines of a table whose records stand for themselves, by key."""
        return [line for _, line in self._keyed(entry)]

    def of_rows(self, entry: Table) -> list[Layer]:
        """Lines of a table of tokens, all lines of a row at once."""
        row_at = entry.column_names.index("row_index")
        found: dict[int, str] = {}
        for record, line in self._keyed(entry):
            row = record[row_at]
            found[row] = found.get(row, "") + line
        return [(list(found), list(found.values()))]

    def of_passages(self, entry: Table) -> list[tuple[int, int, str]]:
        """Journey, row and line of each passage that was recorded by itself."""
        journey_at, row_at = (entry.column_names.index(name) for name in ("journey_no", "row_index"))
        return [(record[journey_at], record[row_at], line) for record, line in self._keyed(entry)]

    def _keyed(self, entry: Table) -> list[tuple[Sequence[Any], str]]:
        records = self._records.get(entry.name, ())
        if not records:
            return []
        key_at = [entry.column_names.index(column) for column in entry.key]
        encode = _ENCODERS[entry.name]
        return [
            (record, encode(record)) for record in sorted(records, key=lambda record: [record[at] for at in key_at])
        ]


def tree_of(tokens: Mapping[str, Sequence[Layer]], others: Mapping[str, Sequence[str]], *, nonce: bytes) -> CommitTree:
    """The tree over the lines of tokens, by table and row, and those of all other records, by table."""
    found = {entry.name: [layer for layer in tokens.get(entry.name, ()) if layer[0]] for entry in TABLES}
    present = {name: layers for name, layers in found.items() if layers}
    rows = sorted(set().union(*(rows for layers in present.values() for rows, _ in layers)))
    places = {row: place for place, row in enumerate(rows)}
    columns = {name: _columns(layers, rows, places) for name, layers in present.items()}
    texts = list(map("".join, zip(*chain.from_iterable(columns.values()), strict=True)))
    by_table: dict[str, Iterable[str]] = {
        name: chain.from_iterable(zip(*of_table, strict=True)) for name, of_table in columns.items()
    }
    for entry in TABLES:
        if lines := others.get(entry.name):
            by_table[entry.name] = lines
            texts.extend(lines)
    hashes = leaf_hashes(nonce, texts)
    checks = {
        entry.name: zlib.crc32("".join(by_table[entry.name]).encode()) for entry in TABLES if entry.name in by_table
    }
    return CommitTree(
        leaf_count=len(hashes),
        root=root_of(hashes),
        nonce=nonce,
        leaf_hints=b"".join([digest[:HINT_BYTES] for digest in hashes]),
        table_checks_json=compact_json(checks),
    )


def _columns(layers: Sequence[Layer], rows: Sequence[int], places: Mapping[int, int]) -> list[list[str]]:
    """The lines by row, in as few columns as keep a row's lines in order; empty where a row has none.

    Most layers have a stretch of rows without a gap, which is put in its place at once.
    """
    columns = [[""] * len(rows)]
    for some, lines in layers:
        last = columns[-1]
        stretch = slice(places[some[0]], places[some[0]] + len(some))
        if rows[stretch] == some and not any(last[stretch]):
            last[stretch] = lines
            continue
        for place, line in zip(map(places.__getitem__, some), lines, strict=True):
            if last[place] and columns[-1] is last:
                columns.append([""] * len(rows))
            (columns[-1] if last[place] else last)[place] = line
    return columns
