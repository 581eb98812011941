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

__all__ = ["Breaks", "Measurement", "Usage", "WrongOutputError", "expect", "used_by"]

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


def used_by(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environ: Mapping[str, str],
    code: int = 0,
    breaks: Breaks | None = None,
) -> Usage:
    """Runs a command in a folder; raises `WrongOutputError` when it ends with another code.

    What it says goes to ``stdout`` and ``stderr`` in the folder.
    """
    out, err = folder / "stdout", folder / "stderr"
    words = [sys.executable, "-c", _MEASURE, str(out), str(err), *map(str, command)]
    with subprocess.Popen(
        words, cwd=folder, env=dict(environ), stdout=subprocess.PIPE, process_group=0 if breaks else None
    ) as process:
        halted_s = _take(breaks, process) if breaks else 0.0
        told, _ = process.communicate()
    found, wall_s, cpu_s, memory_mb = json.loads(told)
    if found != code:
        said = err.read_text(errors="replace")[-2000:]
        raise WrongOutputError(f"{' '.join(map(str, command))} ended with {found}, not {code}: {said}")
    return Usage(wall_s=wall_s - halted_s, cpu_s=cpu_s, memory_mb=memory_mb, stdout=out)


def _take(breaks: Breaks, process: subprocess.Popen[bytes]) -> float:
    """Until the process has ended; returns the seconds for which it stood still."""
    halted_s = 0.0
    try:
        while True:
            try:
                process.wait(breaks.every_s)
            except subprocess.TimeoutExpired:
                began = time.perf_counter()
                os.killpg(process.pid, signal.SIGSTOP)
                breaks.work()
                os.killpg(process.pid, signal.SIGCONT)
                halted_s += time.perf_counter() - began
            else:
                return halted_s
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def expect(holds: bool, words: str) -> None:
    """Raises `WrongOutputError` with these words when something does not hold."""
    if not holds:
        raise WrongOutputError(words)
