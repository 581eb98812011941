"""The lines of one payload frame of rows, found by their hash.

A frame holds the versions of a micro-batch's rows, row by row, so a row's index nearly tells where its
lines lie. Lines are hashed from there outwards, each at most once, until the hash is met: one row costs
a few hashes; all rows of the frame, or a hash that no line has, cost one for each line.
"""

from __future__ import annotations

from elspeth.core.canonical import sha256
from elspeth.core.payloads import Frame

__all__ = ["FrameLines"]


class FrameLines:
    """What lies between the newlines of a frame's content."""

    __slots__ = ("_data", "_first_row", "_hashed", "_left", "_right", "_rows")

    def __init__(self, frame: Frame, data: bytes) -> None:
        self._data = data
        self._first_row = frame.first_row or 0
        self._rows = max((frame.last_row or 0) - self._first_row + 1, 1)
        self._hashed: dict[bytes, bytes] = {}
        self._left: int | None = None  # what lies from here on
        self._right = 0  # up to here is hashed

    def known(self, sha: bytes) -> bytes | None:
        """The line with that hash, where it is hashed already."""
        return self._hashed.get(sha)

    def find(self, sha: bytes, row_index: int) -> bytes | None:
        """The line with that hash, wherever it lies; None when no line has it."""
        while sha not in self._hashed and self._hash_more(row_index):
            pass
        return self._hashed.get(sha)

    def all(self) -> dict[bytes, bytes]:
        """Every line by its hash."""
        while self._hash_more(self._first_row):
            pass
        return self._hashed

    def _hash_more(self, row_index: int) -> bool:
        """Hashes the next line to the left and to the right; false when there are none."""
        if self._left is None:
            at = max(len(self._data) * (row_index - self._first_row) // self._rows, 0)
            self._left = self._right = self._data.rfind(b"\n", 0, at) + 1
        left, right = self._left, self._right
        if right <= len(self._data):
            end = self._data.find(b"\n", right)
            end = len(self._data) if end < 0 else end
            self._add(right, end)
            self._right = end + 1
        if left > 0:
            self._left = self._data.rfind(b"\n", 0, left - 1) + 1
            self._add(self._left, left - 1)
        return left > 0 or right <= len(self._data)

    def _add(self, start: int, end: int) -> None:
        line = self._data[start:end]
        self._hashed[sha256(line)] = line
