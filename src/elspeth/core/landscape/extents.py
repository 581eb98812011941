"""Extents read back: what each commit appended to a file, and whether the file still holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO

from elspeth.core.landscape.reader import LandscapeReader
from elspeth.core.payloads import Extent

__all__ = ["PART_EXTENT", "SEGMENT_EXTENT", "extents_of", "first_wrong_extent"]

SEGMENT_EXTENT = 1
PART_EXTENT = 2
_BYTES_AT_ONCE = 1 << 20


def extents_of(
    reader: LandscapeReader, run_no: int, *, kind: int, file_no: int, newest_first: bool = False
) -> Iterator[Extent]:
    """What commits appended to a segment, or to a sink's file."""
    for record in reader.stream(
        "SELECT start, length, hash FROM extents WHERE run_no = ? AND kind = ? AND file_no = ? "
        f"ORDER BY commit_no {'DESC' if newest_first else 'ASC'}",
        run_no,
        kind,
        file_no,
    ):
        yield Extent(*record)


def first_wrong_extent(file: IO[bytes], extents: Iterable[Extent]) -> Extent | None:
    """The first stretch that the file does not hold, or that does not follow the one before it; None without one."""
    at = 0
    file.seek(0)
    for extent in extents:
        if extent.start != at:
            return extent
        digest = hashlib.sha256()
        left = extent.length
        while left and (data := file.read(min(left, _BYTES_AT_ONCE))):
            digest.update(data)
            left -= len(data)
        if left or digest.digest() != extent.sha256:
            return extent
        at += extent.length
    return None
