"""What a process uses: seconds on the clock, seconds of CPU with all its children, the most memory it ever held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Breaks", "Measurement", "Process", "Usage", "WrongOutputError", "expect", "used_by"]

# Starts the command and tells what it used. A process of its own, and a small one: a child's peak counts the memory of
# whoever started it. What an earlier process left unwritten is written first, so that nobody pays for somebody else.
_MEASURE = """
import json, os, resource, subprocess, sys, time
out, err, *command = sys.argv[1:]
with open(out, "wb") as stdout, open(err, "wb") as stderr:
    os.sync()
    began = time.perf_counter()
    code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr).returncode
    wall_s = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
memory_mb = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
print(json.dumps([code, wall_s, used.ru_utime + used.ru_stime, memory_mb]))
"""


class WrongOutputError(Exception):
    """A process under measurement ended or answered otherwise than it must: its times mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process from its start to its end, the interpreter's start-up included."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    stdout: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """Something is done every so many seconds of a process, which stands still meanwhile and is not charged for it."""

    every_s: float
    work: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of the record that every figure comes from. ``number`` counts repetitions of the same thing."""

    subject: str
    rows: int
    number: int
    wall_s: float
    cpu_s: float
    memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """For the record in JSON."""
        return asdict(self)


class Process:
    """A command under measurement, with a group of processes of its own: all of them go on and stand still together.

    It starts when it goes on for the first time, and ends with the block at the latest. What it says goes to
    ``stdout`` and ``stderr`` in the folder.
    """

    def __init__(
        self, command: Sequence[str | Path], *, folder: Path, environ: Mapping[str, str], code: int = 0
    ) -> None:
        self._words = [str(word) for word in command]
        self._folder = folder
        self._environ = dict(environ)
        self._code = code
        self._process: subprocess.Popen[bytes] | None = None
        self._still_since: float | None = None
        self._still_s = 0.0

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            with self._process:
                if self._process.poll() is None:
                    os.killpg(self._process.pid, signal.SIGKILL)

    def go_on(self, for_s: float | None = None) -> bool:
        """Returns whether it has ended; if not it stands still again, after so many seconds."""
        process = self._process = self._process or self._started()
        if self._still_since is not None:
            self._still_s += time.perf_counter() - self._still_since
            self._still_since = None
            os.killpg(process.pid, signal.SIGCONT)
        try:
            process.wait(for_s)
        except subprocess.TimeoutExpired:
            self._still_since = time.perf_counter()
            os.killpg(process.pid, signal.SIGSTOP)
            return False
        return True

    def usage(self) -> Usage:
        """What it used to its end, to which it goes on. Raises `WrongOutputError` when it ended with another code."""
        self.go_on()
        assert self._process is not None
        told, _ = self._process.communicate()
        code, wall_s, cpu_s, memory_mb = json.loads(told)
        if code != self._code:
            said = (self._folder / "stderr").read_text(errors="replace")[-2000:]
            raise WrongOutputError(f"{' '.join(self._words)} ended with {code}, not {self._code}: {said}")
        return Usage(wall_s=wall_s - self._still_s, cpu_s=cpu_s, memory_mb=memory_mb, stdout=self._folder / "stdout")

    def _started(self) -> subprocess.Popen[bytes]:
        said = [str(self._folder / name) for name in ("stdout", "stderr")]
        return subprocess.Popen(
            [sys.executable, "-c", _MEASURE, *said, *self._words],
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            process_group=0,
        )


def used_by(process: Process, *, breaks: Breaks | None = None) -> Usage:
    """Runs a process to its end, with breaks or without."""
    with process:
        while breaks and not process.go_on(breaks.every_s):
            breaks.work()
        return process.usage()


def expect(holds: bool, words: str) -> None:
    """Raises `WrongOutputError` with these words when something does not hold."""
    if not holds:
        raise WrongOutputError(words)
