"""The tree of one commit, made from what the commit is about to write.

The same leaves come from the tables again when a run is verified (`recorded_leaves`); a test holds
the two equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from elspeth.core.canonical import compact_json
from elspeth.core.landscape.buffers import Layer
from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hashes, line_encoder
from elspeth.core.landscape.schema import TABLES
from elspeth.core.merkle import CompactTree

__all__ = ["CommitTree", "SingleRecords", "TokenTree", "tree_of", "tree_of_tokens"]

_ENCODERS = {entry.name: line_encoder(entry) for entry in TABLES}


class TokenTree(Struct, frozen=True, kw_only=True):
    """The first leaves of a commit, those of tokens: their tree, hints and checks by table."""

    nonce: bytes
    tree: CompactTree
    hints: bytes
    checks: Mapping[str, int]


class CommitTree(Struct, frozen=True, kw_only=True):
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


def tree_of_tokens(tokens: Mapping[str, Sequence[Layer]], *, nonce: bytes) -> TokenTree:
    """The tree over the lines of tokens, by table and row."""
    found = {entry.name: [layer for layer in tokens.get(entry.name, ()) if layer[0]] for entry in TABLES}
    present = {name: layers for name, layers in found.items() if layers}
    rows = sorted(set().union(*(rows for layers in present.values() for rows, _ in layers)))
    places = {row: place for place, row in enumerate(rows)}
    columns = {name: _columns(layers, rows, places) for name, layers in present.items()}
    hashes = leaf_hashes(nonce, list(map("".join, zip(*chain.from_iterable(columns.values()), strict=True))))
    by_table = {name: chain.from_iterable(zip(*of_table, strict=True)) for name, of_table in columns.items()}
    return TokenTree(
        nonce=nonce,
        tree=CompactTree.of(hashes),
        hints=_hints(hashes),
        checks={name: _check(lines) for name, lines in by_table.items()},
    )


def tree_of(tokens: TokenTree, others: Mapping[str, Sequence[str]]) -> CommitTree:
    """The tree over tokens and, behind them, the lines of all other records, by table."""
    present = {entry.name: lines for entry in TABLES if (lines := others.get(entry.name))}
    tree = tokens.tree.copy()
    hashes = leaf_hashes(tokens.nonce, list(chain.from_iterable(present.values())), first=tree.size)
    for digest in hashes:
        tree.append(digest)
    checks = {**tokens.checks, **{name: _check(lines) for name, lines in present.items()}}
    return CommitTree(
        leaf_count=tree.size,
        root=tree.root(),
        nonce=tokens.nonce,
        leaf_hints=tokens.hints + _hints(hashes),
        table_checks_json=compact_json({entry.name: checks[entry.name] for entry in TABLES if entry.name in checks}),
    )


def _hints(hashes: Sequence[bytes]) -> bytes:
    return b"".join([digest[:HINT_BYTES] for digest in hashes])


def _check(lines: Iterable[str]) -> int:
    return zlib.crc32("".join(lines).encode())


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
