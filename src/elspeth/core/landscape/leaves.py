"""What is hashed for a record: the leaves of a commit's tree and of a run's tree.

    line         ["rows",42,17,"9f86d0..."]    the table and its columns in order, as JSON; bytes as hexadecimal
                                               digits; without the numbers of run and commit
    content      0x01, 16 blinding bytes, then lines: all that the commit says of one token, in the order of the
                 tables and of their keys; or the one line of any other record
    leaf         SHA-256 of 0x00 and the content (RFC 6962)
    commit leaf  0x02, then ["commit",RUN ID,WRITER,NUMBER,LEAVES,ROOT] and a newline, hashed likewise

The leaves of a commit: tokens by row and path, then the other records by table and key. The
blinding is stretched from the commit's nonce, a block of leaves at a time, so that the leaf of
one row can be shown without a word about its neighbours, whose contents could be guessed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from elspeth.contracts import TrailError
from elspeth.core.landscape.schema import Column, Table
from elspeth.core.merkle import LEAF_PREFIX, leaf_hash

__all__ = [
    "BLINDING_BYTES",
    "HINT_BYTES",
    "NONCE_BYTES",
    "Blinding",
    "commit_content",
    "commit_leaf",
    "leaf_content",
    "leaf_hashes",
    "line_encoder",
]

NONCE_BYTES = 32
BLINDING_BYTES = 16
HINT_BYTES = 4
WRITER = 0
"""The number of the one process that writes a run."""
_RECORD_FORMAT = b"\x01"
_COMMIT_FORMAT = b"\x02"
_LEAVES_A_BLOCK = 1_024


def line_encoder(entry: Table) -> Callable[[Sequence[Any]], str]:
    """Makes lines of a table's records, given as all columns in order."""
    places = [(entry.columns.index(column), _value_encoder(column)) for column in entry.hashed_columns]
    template = f"[{json.dumps(entry.name)}{',%s' * len(places)}]\n"

    def encode(record: Sequence[Any]) -> str:
        try:
            return template % tuple([value(record[place]) for place, value in places])
        except (AttributeError, TypeError, ValueError) as error:
            raise TrailError(f"{entry.name}: a value is not of its column's type: {error}") from error

    return encode


def leaf_content(blinding: bytes, lines: str) -> bytes:
    """The bytes of a leaf."""
    return _RECORD_FORMAT + blinding + lines.encode()


def leaf_hashes(nonce: bytes, texts: Sequence[str]) -> list[bytes]:
    """The hashes of a commit's leaves, of whose lines ``texts`` are, in order; the same as one by one, but faster."""
    blinding = Blinding(nonce)
    blocks = [blinding.block(number) for number in range(-(-len(texts) // _LEAVES_A_BLOCK))]
    stretch, prefix, sha256 = b"".join(blocks), LEAF_PREFIX + _RECORD_FORMAT, hashlib.sha256
    return [
        sha256(prefix + stretch[at : at + BLINDING_BYTES] + text.encode()).digest()
        for at, text in zip(range(0, len(stretch), BLINDING_BYTES), texts, strict=False)
    ]


def commit_content(run_id: str, *, commit_no: int, leaf_count: int, root: bytes) -> bytes:
    """The bytes of a commit's leaf in the run's tree."""
    line = json.dumps(["commit", run_id, WRITER, commit_no, leaf_count, root.hex()], separators=(",", ":"))
    return _COMMIT_FORMAT + f"{line}\n".encode()


def commit_leaf(run_id: str, *, commit_no: int, leaf_count: int, root: bytes) -> bytes:
    """The hash of a commit's leaf in the run's tree."""
    return leaf_hash(commit_content(run_id, commit_no=commit_no, leaf_count=leaf_count, root=root))


class Blinding:
    """The blinding bytes of a commit's leaves, by their place; the last block is kept."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._block_no = -1
        self._block = b""

    def of(self, place: int) -> bytes:
        """The blinding of the leaf at a 0-based place."""
        number, within = divmod(place, _LEAVES_A_BLOCK)
        if number != self._block_no:
            self._block_no, self._block = number, self.block(number)
        return self._block[within * BLINDING_BYTES : (within + 1) * BLINDING_BYTES]

    def block(self, number: int) -> bytes:
        """The blinding of a whole block of leaves."""
        return hashlib.shake_256(self._nonce + number.to_bytes(8, "big")).digest(BLINDING_BYTES * _LEAVES_A_BLOCK)


def _value_encoder(column: Column) -> Callable[[Any], str]:
    if column.kind == "BLOB":
        return lambda value: "null" if value is None else f'"{value.hex()}"'
    if column.kind == "INTEGER":
        return lambda value: "null" if value is None else format(value, "d")
    return lambda value: json.dumps(value, ensure_ascii=False)
