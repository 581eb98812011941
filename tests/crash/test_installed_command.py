"""The installed command, killed with all its processes from outside at any instant, and started again.

What holds afterwards does not depend on where it was when it died, so neither does the test.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash.conftest import KILLED_AT
from tests.crash.invariants import Aftermath, check_outputs, outputs
from tests.crash.scene import ALL
from tests.e2e.project import ELSPETH, Project, tickets

from elspeth.simulator import Settings, Simulator

SEEDS = range(20 if ALL else 1)
ROWS = 13
ROW_FAULTS = {"row-2-0": "429", "row-7-0": "500", "row-9-0": "content_filter"}
POLLS_BEFORE_AN_END = 14
STARTS = 10
KEY = "nightly-2026-11-23"
MOST_KILLS = 60
ENDS = (0, -signal.SIGKILL)
"""How a process may end. One that is slow to be killed may have been quick to complete."""
Record = Callable[[str, object], None]


@contextmanager
def prepared(folder: Path) -> Iterator[tuple[Project, Simulator]]:
    """Two batches in flight whose jobs take some polls; retried, failed and rejected rows; four sinks."""
    settings = {"latency_s": 0.0, "file_latency_s": 0.0, "row_faults": ROW_FAULTS}
    stuck = {"operation": "batches.retrieve", "occurrence": {"to": POLLS_BEFORE_AN_END}, "action": "stuck"}
    with Simulator(Settings(**settings, faults=[stuck])) as simulator:
        project = Project(folder)
        project.write("tickets.csv", tickets(ROWS).replace("\n5,", "\nfive,"))
        project.write_pipeline(
            simulator.url, rejected="out/rejected.jsonl", options="max_batches_in_flight: 2", max_requests=4
        )
        yield project, simulator


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with prepared(tmp_path_factory.mktemp("unkilled")) as (project, simulator):
        project("run", "pipeline.yaml")
        Aftermath(project.database, simulator, environ=project.env).check(rows=ROWS)
        return outputs(project.folder / "out")


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as the leader of a process group of its own; what it says goes to a file."""
    with (project.folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(
            [ELSPETH, *arguments],
            cwd=project.folder,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> int:
    """Kills the whole group, unless it has ended; the exit code."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def has_run(project: Project) -> bool:
    return project.database.exists() and project.query("SELECT COUNT(*) AS n FROM runs") != [{"n": 0}]


def check_end(project: Project, simulator: Simulator, unkilled: dict[str, bytes]) -> None:
    assert "Traceback" not in project.text("said.txt")
    check_outputs(project.folder / "out", unkilled)
    Aftermath(project.database, simulator, environ=project.env).check(rows=ROWS)


@pytest.mark.parametrize("seed", SEEDS)
def test_run_and_resume_killed_at_random_instants_come_to_the_same_end(
    seed: int, tmp_path: Path, unkilled: dict[str, bytes], record_property: Record
) -> None:
    """By a timer. Its limit grows, so that some process lives long enough."""
    chance = random.Random(seed)
    longest_s, code, kills = 1.2, -1, 0
    with prepared(tmp_path) as (project, simulator):
        while code != 0:
            command = ("resume", "latest") if has_run(project) else ("run", "pipeline.yaml")
            with started(project, *command) as process:
                try:
                    code = process.wait(timeout=chance.uniform(0.2, longest_s))
                except subprocess.TimeoutExpired:
                    code = kill(process)
            assert code in ENDS, project.text("said.txt")
            kills += code != 0
            longest_s *= 1.15
            assert kills < MOST_KILLS
        check_end(project, simulator, unkilled)
    for _ in range(kills):
        record_property(KILLED_AT, "at a random instant")


def test_a_command_with_a_key_killed_and_started_ten_times_is_one_run(
    tmp_path: Path, unkilled: dict[str, bytes]
) -> None:
    """As a pod would be: the first start dies as soon as the run is recorded, each other one some requests later."""
    command = ("run", "pipeline.yaml", "--key", KEY)
    with prepared(tmp_path) as (project, simulator):
        for start in range(STARTS):
            until = len(simulator.journal()) + start % 3 + (start > 0)
            with started(project, *command) as process:
                wait_for(process, lambda: has_run(project) and len(simulator.journal()) >= until)  # noqa: B023
                assert kill(process) in ENDS, project.text("said.txt")
        project(*command)
        assert [KEY] == [run["run_key"] for run in project.query("SELECT run_key FROM runs")]
        check_end(project, simulator, unkilled)
        requests = len(simulator.journal())
        assert project(*command).out.startswith(f"complete: {ROWS} in = ")
        assert requests == len(simulator.journal())


def wait_for(process: subprocess.Popen[bytes], is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
