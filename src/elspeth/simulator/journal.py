"""The journal: what every request was and what was answered, one JSON line each.

An entry is written before the last byte of its answer leaves (before the
reset, before the stall), so a client that knows how its request ended finds
it here. Lines are appended unbuffered: they outlive a kill of the process.
"""

import json
import os
import threading
from pathlib import Path

from elspeth.simulator.json_values import JsonObject


class Journal:
    """Safe to call from any thread. `n` counts requests in the order of their arrival."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stream = path.open("ab", buffering=0)
        if not _ends_with_newline(path):
            self._stream.write(b"\n")
        self._last = max((entry["n"] for entry in self.entries()), default=0)

    def close(self) -> None:
        with self._lock:
            self._stream.close()

    def next_number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def append(self, entry: JsonObject) -> None:
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            if not self._stream.closed:
                os.write(self._stream.fileno(), line)

    def entries(self) -> list[JsonObject]:
        """In the order of arrival. A line torn by a kill is left out."""
        found = []
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return sorted(found, key=lambda entry: int(entry["n"]))


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, size - 1))
        return size == 0 or lines.read(1) == b"\n"
