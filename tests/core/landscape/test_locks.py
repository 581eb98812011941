"""One process a run."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.core.landscape.conftest import answer_of

from elspeth.contracts import BusyError
from elspeth.core.landscape.locks import RunLock

HOLD = """
import sys
from pathlib import Path
from elspeth.core.landscape.locks import RunLock
with RunLock(Path(sys.argv[1]), "r1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_run(
    tmp_path: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = python(HOLD, tmp_path)
    assert process.stdout is not None
    assert "held\n" == process.stdout.readline()

    with (
        pytest.raises(BusyError, match=f"run r1 is held by process {process.pid} on") as error,
        RunLock(tmp_path, "r1"),
    ):
        pass
    assert (socket.gethostname(), process.pid) == (error.value.host, error.value.pid)
    assert (6, True) == (error.value.exit_code, error.value.since.startswith("20"))
    with RunLock(tmp_path, "r2"):
        pass
    answer_of(process)
    with RunLock(tmp_path, "r1"):
        pass


def test_a_killed_holder_blocks_nobody(tmp_path: Path, python: Callable[..., subprocess.Popen[str]]) -> None:
    process = python(HOLD, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)

    with RunLock(tmp_path, "r1"):
        holder = json.loads((tmp_path / "locks" / "r1.lock").read_text())
        assert (os.getpid(), socket.gethostname()) == (holder["pid"], holder["host"])


def test_the_same_process_cannot_hold_a_run_twice(tmp_path: Path) -> None:
    with RunLock(tmp_path, "r1"):
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), RunLock(tmp_path, "r1"):
            pass


@pytest.mark.parametrize("words", ["", "{", '{"host": "h"}', "[]"])
def test_a_holder_that_has_not_said_who_it_is_is_unknown(words: str, tmp_path: Path) -> None:
    with RunLock(tmp_path, "r1"):
        (tmp_path / "locks" / "r1.lock").write_text(words)
        with pytest.raises(BusyError, match="process 0 on unknown since unknown"), RunLock(tmp_path, "r1"):
            pass


def test_asking_who_holds_a_run_disturbs_nobody(tmp_path: Path, python: Callable[..., subprocess.Popen[str]]) -> None:
    assert not RunLock(tmp_path, "r1").is_held
    process = python(HOLD, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    assert RunLock(tmp_path, "r1").is_held
    answer_of(process)
    assert not RunLock(tmp_path, "r1").is_held
    with (tmp_path / "locks" / "r1.lock").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.03, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with RunLock(tmp_path, "r1"):
            pass
