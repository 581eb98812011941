"""The built-in simulator as a process of its own, for pipelines whose endpoint is ``simulator``.

It keeps its files and jobs in a folder of the run, so a run that is suspended finds them
again; the folder goes when the run is complete. The simulator ends when its standard
input closes, so it never outlives the process, and a Ctrl-C at the terminal is not for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from elspeth.contracts import RunError

__all__ = ["SimulatorProcess"]

_LATENCY = "1s"


class SimulatorProcess:
    """A simulator on a free loopback port while the ``with`` block runs; ``url`` is its origin."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> SimulatorProcess:
        self._state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "elspeth.simulator", "--port", "0", "--exit-with-parent"]
        command += ["--state", str(self._state), "--latency", _LATENCY]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        try:
            self.url = json.loads(line)["url"]
        except (ValueError, KeyError) as error:
            self._end()
            raise RunError("the built-in simulator did not start", hint="Try `elspeth simulate` by itself.") from error
        return self

    def forget(self) -> None:
        """Removes what the simulator kept: nobody will ask for it again."""
        self._end()
        shutil.rmtree(self._state, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
