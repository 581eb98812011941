"""The lines of one payload frame of rows, found by their hash.

A frame holds the versions of neighbouring rows, row by row, so a row's index nearly tells where its
lines lie. Lines are hashed from there outwards, each at most once and each time twice as many, until the
hash is met: one row costs a few hashes. Who asks for a second row will want the others, too: all rows of
the frame, or a hash that no line has, cost one hash for each line.
"""

from __future__ import annotations

from elspeth.core.canonical import sha256_each
from elspeth.core.payloads import Frame

__all__ = ["FrameLines"]


class FrameLines:
    """What lies between the newlines of a frame's content."""

    __slots__ = ("_asked_for", "_data", "_first_row", "_hashed", "_left", "_reach", "_right", "_rows")

    def __init__(self, frame: Frame, data: bytes) -> None:
        self._data = data
        self._first_row = frame.first_row or 0
        self._rows = max((frame.last_row or 0) - self._first_row + 1, 1)
        self._hashed: dict[bytes, bytes] = {}
        self._asked_for: int | None = None
        self._left: int | None = None  # what lies from here on
        self._right = 0  # up to here is hashed
        self._reach = 0  # so many bytes and the rest of a line come next, on either side

    def has_row(self, row_index: int) -> bool:
        """Whether the frame should hold bytes of a row."""
        return 0 <= row_index - self._first_row < self._rows

    def known(self, sha: bytes) -> bytes | None:
        """The line with that hash, where it is hashed already."""
        return self._hashed.get(sha)

    def find(self, sha: bytes, row_index: int) -> bytes | None:
        """The line with that hash, wherever it lies; None when no line has it."""
        if self._asked_for is None:
            self._asked_for = row_index
        elif self._asked_for != row_index:
            return self.all().get(sha)
        while sha not in self._hashed and self._hash_more(row_index):
            pass
        return self._hashed.get(sha)

    def all(self) -> dict[bytes, bytes]:
        """Every line by its hash."""
        self._reach = max(self._reach, len(self._data))
        while self._hash_more(self._first_row):
            pass
        return self._hashed

    def _hash_more(self, row_index: int) -> bool:
        """Hashes the next lines to the left and to the right; false when there are none."""
        data, size = self._data, len(self._data)
        if self._left is None:
            at = max(size * (row_index - self._first_row) // self._rows, 0)
            self._left = self._right = data.rfind(b"\n", 0, at) + 1
        left, right, reach = self._left, self._right, self._reach
        if right <= size:
            end = data.find(b"\n", right + reach)
            self._right = (size if end < 0 else end) + 1
            self._add(right, self._right - 1)
        if left > 0:
            self._left = data.rfind(b"\n", 0, max(left - 1 - reach, 0)) + 1
            self._add(self._left, left - 1)
        self._reach = max(2 * reach, 1)
        return self._left > 0 or self._right <= size

    def _add(self, start: int, end: int) -> None:
        lines = self._data[start:end].split(b"\n")
        self._hashed.update(zip(sha256_each(lines), lines, strict=True))
