"""Which row of one run belongs to which row of another.

By key where both runs name a key field, else by index. A record that never became a row
has no key: it belongs to one with the same raw bytes, the first to the first.

Pairs come in the source order of the first run, so that the frames which hold its rows'
bytes, and most often the other run's too, are read one after the other; what is only in
the second run comes behind. SQLite does the joining and the sorting, on the disk where
it must, so memory stays flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from elspeth.core.landscape.reader import LandscapeReader, RunHeader

__all__ = ["Pair", "are_keyed", "pairs"]

_BY_INDEX = """
    SELECT NULL, a.row_index, b.row_index FROM rows a
    LEFT JOIN rows b ON b.run_no = ?2 AND b.row_index = a.row_index
    WHERE a.run_no = ?1 ORDER BY a.row_index"""
_ONLY_SECOND_BY_INDEX = """
    SELECT NULL, NULL, b.row_index FROM rows b WHERE b.run_no = ?2
    AND NOT EXISTS (SELECT 1 FROM rows a WHERE a.run_no = ?1 AND a.row_index = b.row_index) ORDER BY b.row_index"""
_BY_KEY = """
    SELECT a.key, a.row_index, b.row_index FROM row_keys a
    LEFT JOIN row_keys b ON b.run_no = ?2 AND b.key = a.key
    WHERE a.run_no = ?1 ORDER BY a.row_index"""
_ONLY_SECOND_BY_KEY = """
    SELECT b.key, NULL, b.row_index FROM row_keys b WHERE b.run_no = ?2
    AND NOT EXISTS (SELECT 1 FROM row_keys a WHERE a.run_no = ?1 AND a.key = b.key) ORDER BY b.row_index"""
_REJECTED = """
    SELECT r.data_hash, r.row_index FROM rows r WHERE r.run_no = ?1
    AND EXISTS (SELECT 1 FROM node_states s
                WHERE s.run_no = r.run_no AND s.row_index = r.row_index AND s.path = x'' AND s.node_no = 0)
    ORDER BY r.data_hash, r.row_index"""


class Pair(NamedTuple):
    """The index of a row in each of two runs, None where a run does not have it; ``key`` where there is one."""

    key: str | None
    a: int | None
    b: int | None


def are_keyed(a: RunHeader, b: RunHeader) -> bool:
    """Whether the rows of both runs have keys."""
    return a.key_field is not None and b.key_field is not None


def pairs(reader: LandscapeReader, a: RunHeader, b: RunHeader) -> Iterator[Pair]:
    """Every row of both runs, once."""
    statements = (_BY_KEY, _ONLY_SECOND_BY_KEY) if are_keyed(a, b) else (_BY_INDEX, _ONLY_SECOND_BY_INDEX)
    for statement in statements:
        for key, first, second in reader.stream(statement, a.run_no, b.run_no):
            yield Pair(key, first, second)
    if are_keyed(a, b):
        yield from _joined(reader.stream(_REJECTED, a.run_no), reader.stream(_REJECTED, b.run_no))


def _joined(a: Iterator[tuple[bytes, int]], b: Iterator[tuple[bytes, int]]) -> Iterator[Pair]:
    """Joins two ascending sequences of (hash, index); of equal hashes the first belongs to the first."""
    left, right = next(a, None), next(b, None)
    while left is not None or right is not None:
        is_left = left is not None and (right is None or left[0] <= right[0])
        is_right = right is not None and (left is None or right[0] <= left[0])
        yield Pair(None, left[1] if is_left and left else None, right[1] if is_right and right else None)
        left = next(a, None) if is_left else left
        right = next(b, None) if is_right else right
