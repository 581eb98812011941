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
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from elspeth.contracts import BusyError, RunError

__all__ = ["OutputLock", "RunLock"]

_ATTEMPTS = 4
_PAUSE_S = 0.05


class HeldLock:
    """Held while its ``with`` block runs; raises `BusyError` when another process holds it."""

    def __init__(self, folder: Path, name: str, *, what: str) -> None:
        self._path = folder / "locks" / f"{name}.lock"
        self._what = what
        self._file: IO[str] | None = None

    def __enter__(self) -> HeldLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        except OSError as error:
            raise RunError(
                f"the lock {self._path} cannot be made: {error.strerror or error}",
                hint="Make room, mend the permissions or move away what stands in its place, then resume the run.",
            ) from error
        if not _taken(file):
            with file:
                file.seek(0)
                raise self._busy(file.read())
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


def _taken(file: IO[str]) -> bool:
    """Whether the lock is ours now. Whoever only asks about it holds it for an instant: that is waited out."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


class RunLock(HeldLock):
    """The lock of one run; ``folder`` is the database's."""

    def __init__(self, folder: Path, run_id: str) -> None:
        super().__init__(folder, run_id, what=f"run {run_id}")

    @property
    def is_held(self) -> bool:
        """Whether a living process works on the run, as far as this machine can tell."""
        try:
            file = self._path.open("r")
        except OSError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


class OutputLock(HeldLock):
    """The lock of one output file, among the runs of one trail; ``folder`` is the database's."""

    def __init__(self, folder: Path, path: Path) -> None:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
        super().__init__(folder, f"output-{name}", what=f"the output {path}")
