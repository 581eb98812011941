"""A table of keys that is thrown away: for what may be too large for memory and is in the trail anyway.

It lies in a nameless file of the system's folder for temporary files (TMPDIR), which is gone
with the process, however that ends. Only a bounded part of it is in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["ScratchTable"]

_CACHE_KIB = 32_768


class ScratchTable:
    """Values by key (bytes), in the columns that are named."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute("PRAGMA synchronous=OFF")
        names = ", ".join(columns)
        self._connection.execute(f"CREATE TABLE entries (key BLOB PRIMARY KEY, {names}) WITHOUT ROWID")
        self._connection.execute("BEGIN")  # never committed: nothing of it is to last
        marks = ", ".join("?" * (1 + len(columns)))
        self._get = f"SELECT {names} FROM entries WHERE key = ?"
        self._put = f"INSERT OR REPLACE INTO entries VALUES ({marks})"
        self._add = f"INSERT OR IGNORE INTO entries VALUES ({marks})"

    def get(self, key: bytes) -> tuple[Any, ...] | None:
        """The values of a key."""
        found: tuple[Any, ...] | None = self._connection.execute(self._get, (key,)).fetchone()
        return found

    def put(self, key: bytes, *values: Any) -> None:
        """Sets the values of a key."""
        self._connection.execute(self._put, (key, *values))

    def add_all(self, entries: Iterable[tuple[Any, ...]]) -> None:
        """Adds entries, each a key and its values; a key that is there keeps what it has."""
        self._connection.executemany(self._add, entries)

    def close(self) -> None:
        """Throws it away."""
        self._connection.close()
