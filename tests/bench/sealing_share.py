"""The share of a run's CPU that goes into sealing: leaves, roots and signatures.

    python sealing_share.py PIPELINE STATE ROWS

Runs the pipeline in this process, and prints seconds within the sealing code and seconds in all, as JSON. Both are of
CPU, the first of the threads that it runs on, so a busy machine changes both alike.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from elspeth.app.runs import Conditions, start_run
from elspeth.app.state import State
from elspeth.core.landscape import commit
from elspeth.core.landscape.buffers import MemberBuffer, OutcomeBuffer, PassageBuffer, RowBuffer
from elspeth.core.landscape.commit import Commit
from elspeth.core.landscape.seals import Sealer

SEALING = (
    *((buffer, "layers") for buffer in (RowBuffer, PassageBuffer, OutcomeBuffer, MemberBuffer)),
    (commit, "tree_of_tokens"),
    (Commit, "_tree"),
    (Sealer, "add_commit"),
    (Sealer, "seal"),
)


class Meter:
    """Seconds of CPU within the functions that it watches."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: type | ModuleType, name: str) -> None:
        """Puts itself around a function or method."""
        inner: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            started = time.thread_time()
            try:
                return inner(*arguments, **named)
            finally:
                self.seconds += time.thread_time() - started

        setattr(owner, name, watched)


def main(pipeline: str, state: str, rows: int) -> None:
    """Prints both numbers."""
    meter = Meter()
    for owner, name in SEALING:
        meter.watch(owner, name)
    started = time.process_time()
    result = start_run(Path(pipeline), state=State(Path(state)), conditions=Conditions(environ=os.environ))
    whole_s = time.process_time() - started
    if result.exit_code or result.summary["bad_rows"] or result.summary["rows"] != rows:
        raise SystemExit(f"the run ended with {result.exit_code}: {result.summary}")
    print(json.dumps([meter.seconds, whole_s]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
