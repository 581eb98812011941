"""Runs or resumes a pipeline and kills itself, without a word, at the n-th effect on the world.

    python runner.py FOLDER run|resume N

Effects are: a file synced, a transaction before and after its commit, a rename, a request
before it is sent and after its answer began. N is 0 to count them only; the count is printed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elspeth.app import runs
from elspeth.app.state import State
from elspeth.core.calls.transport import RecordingTransport
from elspeth.core.landscape import journal
from elspeth.engine import frontier, harvest, orchestrator, rebuild

SMALL = {
    (orchestrator, "_ROWS_A_MICRO_BATCH"): 4,
    (orchestrator, "_ROWS_A_COMMIT"): 8,
    (orchestrator, "_COMMIT_EVERY_US"): 1 << 60,
    (frontier, "_ROWS_AT_ONCE"): 7,
    (harvest, "_ROWS_AT_ONCE"): 3,
    (rebuild, "_ROWS_AT_ONCE"): 5,
}


class Killer:
    """Counts effects; the n-th one is the last thing this process does."""

    def __init__(self, fatal: int) -> None:
        self.seen = 0
        self._fatal = fatal
        self._lock = threading.Lock()

    def strike(self) -> None:
        with self._lock:
            self.seen += 1
            if self.seen == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.strike()
            result = effect(*args, **kwargs)
            self.strike()
            return result

        return watched

    def after(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = effect(*args, **kwargs)
            self.strike()
            return result

        return watched


def shrink() -> None:
    """Many small commits instead of few large ones."""
    for (module, name), value in SMALL.items():
        assert hasattr(module, name), name
        setattr(module, name, value)


def main(folder: Path, what: str, fatal: int) -> None:
    shrink()
    killer = Killer(fatal)
    os.fsync = killer.around(os.fsync)
    Path.replace = killer.around(Path.replace)  # type: ignore[method-assign]
    commit: Any = journal._Commit
    commit._insert = killer.after(commit._insert)
    commit.store = killer.after(commit.store)
    RecordingTransport.handle_request = killer.around(RecordingTransport.handle_request)  # type: ignore[method-assign]
    conditions = runs.Conditions()
    state = State(folder / ".elspeth")
    if what == "run":
        result = runs.start_run(folder / "pipeline.yaml", state=state, conditions=conditions)
    else:
        result = runs.resume_run("latest", state=state, conditions=conditions)
    print(killer.seen, result.exit_code, result.error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
