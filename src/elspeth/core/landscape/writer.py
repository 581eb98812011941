"""The thread that writes: compresses frames, syncs files and commits, in the order of submission.

One thread owns the writing connection, so the order of effects is the order in which
the engine asked for them, and the engine goes on computing while the disk works. The
first failure stops the thread for good; it surfaces at the next ``submit`` or ``drain``.
"""

from __future__ import annotations

import queue
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from elspeth.contracts import RunError
from elspeth.core.landscape.database import connect_writer

__all__ = ["Task", "TrailWriter"]

Task = Callable[[sqlite3.Connection], None]
_MOST_TASKS_WAITING = 64
_SWITCH_INTERVAL_S = 0.001
"""How long the engine's thread keeps the interpreter while the trail's thread, back from the disk, waits for it."""


class _Switching:
    """Sets the interpreter's switch interval while anybody writes a trail: it is the whole process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writers = 0
        self._usual_s = 0.0

    def begin(self) -> None:
        """One writer more."""
        with self._lock:
            if self._writers == 0:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(_SWITCH_INTERVAL_S)
            self._writers += 1

    def end(self) -> None:
        """One writer less; the last one puts back what was found."""
        with self._lock:
            self._writers -= 1
            if self._writers == 0:
                sys.setswitchinterval(self._usual_s)


_SWITCHING = _Switching()


class TrailWriter:
    """Runs tasks one after another on its own thread and connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tasks: queue.Queue[Task | None] = queue.Queue(maxsize=_MOST_TASKS_WAITING)
        self._failure: BaseException | None = None
        self._connection = connect_writer(path)
        self._identity = _identity(path)
        _SWITCHING.begin()
        self._thread = threading.Thread(target=self._work, name="elspeth-trail", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Queues a task; waits while too many are queued; raises what an earlier one raised."""
        self._raise_failure()
        if not self._thread.is_alive():
            raise RuntimeError("the trail's thread has ended")
        self._tasks.put(task)

    def drain(self) -> None:
        """Returns when every task has run; raises what one of them raised."""
        self._tasks.join()
        self._raise_failure()

    def close(self) -> None:
        """Ends the thread after the queued tasks; never raises what they raised."""
        if not self._thread.is_alive():
            return
        self._tasks.put(None)
        self._thread.join()
        _SWITCHING.end()
        if self._failure is None:
            with suppress(sqlite3.OperationalError):  # a courtesy: a reader must not hold up the end of a run
                self._connection.execute("PRAGMA busy_timeout=0")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def require_in_place(self) -> None:
        """Raises `RunError` when the database is no longer where it was opened: what is written there is lost.

        SQLite goes on with a file that was moved or removed, as if it were still there.
        """
        if _identity(self._path) != self._identity:
            raise RunError(
                f"the database {self._path} was moved or removed while the run was going on",
                hint="Put it and its folder back in their place, then resume the run.",
            )

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                if task is None:
                    return
                if self._failure is None:
                    task(self._connection)
            except BaseException as error:  # noqa: BLE001 - kept, and raised in the engine's thread
                self._failure = error
            finally:
                self._tasks.task_done()

    def _raise_failure(self) -> None:
        match self._failure:
            case None:
                return
            case OSError() as error:
                raise RunError(
                    f"the run's files cannot be written: {error.strerror or error} ({error.filename or self._path})",
                    hint="Make room or mend the permissions, then resume the run.",
                ) from error
            case sqlite3.OperationalError() as error:
                raise RunError(
                    f"the database {self._path} cannot be written: {error}",
                    hint="Make room, mend the permissions or end whatever locks it, then resume the run.",
                ) from error
            case failure:
                raise failure


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
