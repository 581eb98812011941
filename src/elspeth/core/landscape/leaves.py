"""What is hashed for a record: the leaves of a commit's tree and of a run's tree.

    line         ["rows",42,17,"9f86d0..."]    the table and its columns in order, as JSON; bytes as hexadecimal
                                               digits; without the numbers of run and commit, but for the record
                                               of a run, which has the run's number
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
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from operator import itemgetter
from struct import iter_unpack
from types import NoneType
from typing import Any

from elspeth.contracts import TrailError
from elspeth.core.landscape.columns import Column, Table
from elspeth.core.merkle import LEAF_PREFIX, leaf_hash

__all__ = [
    "BLINDING_BYTES",
    "HINT_BYTES",
    "NONCE_BYTES",
    "Blinding",
    "commit_content",
    "commit_leaf",
    "leaf_content",
    "leaf_hasher",
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
_BLINDINGS_KEPT = 64


def line_encoder(entry: Table, *, is_lenient: bool = False) -> Callable[[Sequence[Any]], str]:
    """Makes lines of a table's records, given as all columns in order.

    Records whose values have the same types share a template. Raises `TrailError` for a type that a column cannot
    have; a lenient one makes a line that no record has, for whoever wants to know where such a value is.
    """
    columns = entry.hashed_columns
    places = [entry.columns.index(column) for column in columns]
    chosen: Callable[[Sequence[Any]], Any] = itemgetter(*places)
    by_types: dict[tuple[type, ...], tuple[str, list[tuple[int, Callable[[Any], str]]]]] = {}

    def encode(record: Sequence[Any]) -> str:
        values = list(chosen(record))
        types = tuple(map(type, values))
        known = by_types.get(types)
        if known is None:
            known = by_types[types] = _template(entry.name, columns, types, is_lenient=is_lenient)
        template, conversions = known
        for place, convert in conversions:
            values[place] = convert(values[place])
        return template % tuple(values)

    return encode


def leaf_content(blinding: bytes, lines: str) -> bytes:
    """The bytes of a leaf. What was no UTF-8 when it was read stands for the bytes that it was."""
    return _RECORD_FORMAT + blinding + lines.encode(errors="surrogateescape")


def leaf_hashes(nonce: bytes, texts: Sequence[str], *, first: int = 0) -> list[bytes]:
    """The hashes of a commit's leaves from the place ``first`` on, of whose lines ``texts`` are, in order.

    They are the same as one by one, but made faster.
    """
    blinding = Blinding(nonce)
    begin, passed = divmod(first, _LEAVES_A_BLOCK)
    whole, rest = divmod(first + len(texts), _LEAVES_A_BLOCK)
    blocks = [blinding.block(number) for number in range(begin, whole)]
    stretch = b"".join([*blocks, blinding.block(whole, leaves=rest)])[passed * BLINDING_BYTES :]
    begun = hashlib.sha256(LEAF_PREFIX + _RECORD_FORMAT)  # a copy takes less time than a new one
    hashes = []
    for (blinding_bytes,), text in zip(iter_unpack(f"{BLINDING_BYTES}s", stretch), texts, strict=True):
        leaf = begun.copy()
        leaf.update(blinding_bytes + text.encode())
        hashes.append(leaf.digest())
    return hashes


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

    def block(self, number: int, *, leaves: int = _LEAVES_A_BLOCK) -> bytes:
        """The blinding of a block of leaves, or of its first ones."""
        return hashlib.shake_256(self._nonce + number.to_bytes(8, "big")).digest(BLINDING_BYTES * leaves)


def leaf_hasher(nonces: Mapping[int, bytes]) -> Callable[[int, int, str], bytes]:
    """Hashes leaves by commit, place and text, for commits with these nonces; those used last keep their blindings."""
    blinding_of = lru_cache(maxsize=_BLINDINGS_KEPT)(lambda commit_no: Blinding(nonces[commit_no]))
    return lambda commit_no, place, text: leaf_hash(leaf_content(blinding_of(commit_no).of(place), text))


def _template(
    name: str, columns: Sequence[Column], types: Sequence[type], *, is_lenient: bool
) -> tuple[str, list[tuple[int, Callable[[Any], str]]]]:
    """How values of these types are written, and which of them are converted first."""
    parts, conversions = [], []
    for place, (column, kind) in enumerate(zip(columns, types, strict=True)):
        if kind is NoneType:
            form, convert = _NULL
        elif kind is _TYPES[column.kind]:
            form, convert = _FORMS[kind]
        elif is_lenient:
            form, convert = _FOREIGN
        else:
            raise TrailError(f"{name}: {column.name} holds a {kind.__name__}, which is no {column.kind}")
        parts.append(form)
        if convert is not None:
            conversions.append((place, convert))
    return f"[{encode_basestring(name)},{','.join(parts)}]\n", conversions


_Form = tuple[str, Callable[[Any], str] | None]
"""How a value is written into a line, and what is made of it before."""

_TYPES: dict[str, type] = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
_FORMS: dict[type, _Form] = {int: ("%d", None), str: ("%s", encode_basestring), bytes: ('"%s"', bytes.hex)}
_NULL: _Form = ("null%.0s", None)
_FOREIGN: _Form = ("{%s}", repr)
"""What no value of the right type is written as."""
