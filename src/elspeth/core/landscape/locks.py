"""One process a run, one live run an output: OS locks with a file that names the holder.

The lock dies with its process, so a crashed holder never blocks a resume; the file's
words serve people. This is control state, not evidence.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from elspeth.contracts import BusyError

__all__ = ["OutputLock", "RunLock"]


class HeldLock:
    """Held while its ``with`` block runs; raises `BusyError` when another process holds it."""

    def __init__(self, folder: Path, name: str, *, what: str) -> None:
        self._path = folder / "locks" / f"{name}.lock"
        self._what = what
        self._file: IO[str] | None = None

    def __enter__(self) -> HeldLock:
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
            f"{self._what} is held by process {pid} on {host} since {since}",
            host=host,
            pid=pid,
            since=since,
            hint="Wait for it, or stop it; a process that has died holds nothing.",
        )


class RunLock(HeldLock):
    """The lock of one run; ``folder`` is the database's."""

    def __init__(self, folder: Path, run_id: str) -> None:
        super().__init__(folder, run_id, what=f"run {run_id}")


class OutputLock(HeldLock):
    """The lock of one output file, among the runs of one trail; ``folder`` is the database's."""

    def __init__(self, folder: Path, path: Path) -> None:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
        super().__init__(folder, f"output-{name}", what=f"the output {path}")
