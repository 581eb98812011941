"""What is measured, and when a process stands still."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bench.usage import Breaks, Process, Usage, WrongOutputError, used_by

WRITER = """
import pathlib, time
written, end = pathlib.Path("written"), pathlib.Path("end")
while not end.exists():
    with written.open("a") as file:
        file.write("x")
    time.sleep(0.001)
"""


def _process(folder: Path, *command: str) -> Process:
    return Process(command, folder=folder, environ={"PATH": os.environ["PATH"]})


def _measured(folder: Path, work: Callable[[], object]) -> Usage:
    return used_by(_process(folder, sys.executable, "-c", WRITER), breaks=Breaks(every_s=0.2, work=work))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_ends_otherwise_than_it_must_gives_no_figure(tmp_path: Path) -> None:
    with pytest.raises(WrongOutputError, match="ended with 3, not 0: no such thing"):
        used_by(_process(tmp_path, "sh", "-c", "echo no such thing >&2; exit 3"))


def test_a_process_stands_still_in_its_breaks_and_goes_on_after_them(tmp_path: Path) -> None:
    written, sizes = tmp_path / "written", []

    def size() -> int:
        return written.stat().st_size if written.exists() else 0

    def is_still() -> bool:
        before = size()
        time.sleep(0.05)
        return size() == before

    def work() -> None:
        _until(is_still)
        if size() > max(sizes, default=0):  # a busy machine may have given it no time since
            sizes.append(size())
        if len(sizes) == 2:
            (tmp_path / "end").touch()

    usage = _measured(tmp_path, work)

    assert sizes[0] < sizes[1]
    assert 0 < usage.cpu_s
    assert 0 < usage.wall_s


def test_a_process_ends_with_a_break_that_fails(tmp_path: Path) -> None:
    def work() -> None:
        if (tmp_path / "written").exists():
            raise WrongOutputError("found in a break")

    with pytest.raises(WrongOutputError, match="found in a break"):
        _measured(tmp_path, work)

    size = (tmp_path / "written").stat().st_size
    time.sleep(0.05)
    assert size == (tmp_path / "written").stat().st_size


def test_a_process_that_nobody_waits_for_ends_with_its_block(tmp_path: Path) -> None:
    with _process(tmp_path, sys.executable, "-c", WRITER) as process:
        while not (tmp_path / "written").exists():
            assert not process.go_on(0.1)

    size = (tmp_path / "written").stat().st_size
    time.sleep(0.05)
    assert size == (tmp_path / "written").stat().st_size
