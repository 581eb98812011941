"""One process a run: an OS lock with a file that names its holder.

The lock dies with its process, so a crashed holder never blocks a resume; the file's
words serve people. This is control state, not evidence.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from elspeth.contracts import BusyError

__all__ = ["RunLock"]


class RunLock:
    """Held while its ``with`` block runs; raises `BusyError` when another process holds it."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._path = folder / "locks" / f"{run_id}.lock"
        self._run_id = run_id
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                file.seek(0)
                raise self._busy(file.read()) from error
        file.truncate(0)
        holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        file.write(json.dumps(holder))
        file.flush()
        self._file = file
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _busy(self, text: str) -> BusyError:
        try:
            holder = json.loads(text)
            host, pid, since = str(holder["host"]), int(holder["pid"]), str(holder["since"])
        except (ValueError, KeyError, TypeError):
            host, pid, since = "unknown", 0, "unknown"
        return BusyError(
            f"run {self._run_id} is held by process {pid} on {host} since {since}",
            host=host,
            pid=pid,
            since=since,
            hint="Wait for it, or stop it; a process that has died holds nothing.",
        )
