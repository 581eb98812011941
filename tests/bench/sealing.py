"""What sealing costs of a run's CPU: leaves, roots and signatures, beside everything else that the run does.

    python tests/bench/sealing.py [ROWS]

The case is the one in which a run does least beside recording: CSV, two field_mapper, a gate, two CSV sinks. The time
is that of the trail's thread within the sealing code, so a busy machine changes both sides alike.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.verify import prepare

from elspeth.app.runs import Conditions, start_run
from elspeth.app.state import State
from elspeth.core.landscape.commit import Commit
from elspeth.core.landscape.seals import Sealer

ROWS = 200_000
TIMES = 5


class Meter:
    """Seconds of CPU within the functions that it watches."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: type, name: str) -> None:
        """Puts itself around a method."""
        inner: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            started = time.thread_time()
            try:
                return inner(*arguments, **named)
            finally:
                self.seconds += time.thread_time() - started

        setattr(owner, name, watched)


def main() -> None:
    """Prints the share of each run, and the median."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    meter = Meter()
    for owner, name in ((Commit, "_tree"), (Sealer, "add_commit"), (Sealer, "seal")):
        meter.watch(owner, name)
    shares = []
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), rows)
            meter.seconds, started = 0.0, time.process_time()
            environ = {**os.environ, "HOME": folder, "XDG_CONFIG_HOME": f"{folder}/.config"}
            result = start_run(
                Path(folder, "pipeline.yaml"),
                state=State(Path(folder, ".elspeth")),
                conditions=Conditions(environ=environ),
            )
            whole = time.process_time() - started
            if result.exit_code or result.summary["bad_rows"]:
                raise SystemExit(f"the run ended with {result.exit_code}: {result.summary}")
        shares.append(meter.seconds / whole)
        print(f"{rows:,} rows: {meter.seconds:.2f} s of {whole:.2f} s of CPU, {shares[-1]:.1%}", flush=True)
    print(f"median {statistics.median(shares):.1%} (from {min(shares):.1%} to {max(shares):.1%})")


if __name__ == "__main__":
    main()
