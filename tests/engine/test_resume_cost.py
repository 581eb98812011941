"""What a resume costs does not grow with what is done: it reads the frontier and what is open, not the run.

Costs are counted, never timed: steps of SQLite's virtual machine on all connections, and bytes that the
process's main thread reads.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app import reports
from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader, database
from elspeth.engine import orchestrator
from elspeth.engine.orchestrator import Progress
from elspeth.simulator import Simulator

FEW = 1_024
MANY = 8 * FEW
LATE = 40
REST = 2_000
STEPS_AT_ONCE = 10

SPARE_STEPS = 2_000
"""How many steps two resumes may differ by: tables of some pages more, numbers of some digits more."""
SPARE_BYTES = 100_000
STEPS_A_BATCH = 150
"""How many a batch that is done may take: it is looked at, its events and members are not read."""

pytestmark = pytest.mark.usefixtures("hurried", "many_commits")


@dataclass
class Cost:
    """What was counted."""

    steps: int = 0
    bytes_read: int = 0


@pytest.fixture
def many_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many commits for a row as a large run has for ten."""
    monkeypatch.setattr(orchestrator, "_ROWS_A_COMMIT", 500)
    monkeypatch.setattr(orchestrator, "_COMMIT_EVERY_US", 1 << 60)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Cost:
    """Counts the steps of every connection that is opened."""
    counted = Cost()
    opened = database._open

    def watched(*arguments: Any) -> sqlite3.Connection:
        connection = opened(*arguments)

        def count() -> int:
            counted.steps += STEPS_AT_ONCE
            return 0

        connection.set_progress_handler(count, STEPS_AT_ONCE)
        return connection

    monkeypatch.setattr(database, "_open", watched)
    return counted


def bytes_read() -> int:
    """By this thread, from files of any kind, cached or not."""
    lines = Path("/proc/thread-self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def gated(bench: Project, simulator: Simulator, done: int) -> None:
    """All rows but the last are in a sink, these are with the provider."""
    bench.rows([{"id": n, "text": f"text of row {n}"} for n in range(done + LATE)])
    gate = f"- {{name: gate, gate: \"row['id'] < {done}\", routes: {{true: early, false: next}}}}\n"
    bench.pipeline(
        gate + ask(simulator), source="schema: {id: int, text: str}\nkey: id", sinks=["done", "early", "failed"]
    )
    assert bench.run(submit_only=True).status is RunStatus.PENDING


def filling(bench: Project, simulator: Simulator, done: int) -> None:
    """The process ended while a batch was being filled; the ones before it are done."""
    bench.rows([{"id": n, "text": f"text of row {n}"} for n in range(done + REST)])
    bench.pipeline(
        ask(simulator, max_requests=FEW, poll_interval_seconds=0.001),
        source="schema: {id: int, text: str}",
        sinks=["done", "failed"],
    )
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.rows_read > done:
            stop.set()

    assert bench.run(stop=stop, on_progress=watch).status is RunStatus.INTERRUPTED
    assert bench.query("SELECT status FROM v_batches ORDER BY batch DESC LIMIT 1") == [("open",)]


def resumed(bench: Project, cost: Cost) -> Cost:
    """What a resume costs that takes one micro-batch at most: it is asked to stop before it begins."""
    stop = threading.Event()
    stop.set()
    before, read_before = cost.steps, bytes_read()
    bench.resume(submit_only=True, stop=stop)
    return Cost(cost.steps - before, bytes_read() - read_before)


def warmed(bench: Project, cost: Cost) -> Cost:
    """The second resume's cost: the first one imports what only a resume needs."""
    resumed(bench, cost)
    return resumed(bench, cost)


def folder(parent: Path, name: str) -> Project:
    made = parent / name
    made.mkdir()
    return Project(made)


def test_rows_that_are_done_cost_a_resume_nothing(tmp_path: Path, serve: Serve, cost: Cost) -> None:
    simulator = serve(latency_s=600.0)
    found = {}
    for done in (FEW, MANY):
        bench = folder(tmp_path, str(done))
        gated(bench, simulator, done)
        found[done] = warmed(bench, cost)
    assert found[MANY].steps - found[FEW].steps < SPARE_STEPS
    assert found[MANY].bytes_read - found[FEW].bytes_read < SPARE_BYTES


def test_members_of_batches_that_are_done_cost_a_resume_nothing(tmp_path: Path, serve: Serve, cost: Cost) -> None:
    simulator = serve()
    found = {}
    for done in (FEW, MANY):
        bench = folder(tmp_path, str(done))
        filling(bench, simulator, done)
        found[done] = warmed(bench, cost)
        assert bench.resume().status is RunStatus.COMPLETED
        assert [row["id"] for row in bench.lines("done")] == list(range(done + REST))
    more_batches = (MANY - FEW) // FEW
    assert found[MANY].steps - found[FEW].steps < SPARE_STEPS + STEPS_A_BATCH * more_batches


def test_a_batch_that_is_done_costs_a_resume_little(tmp_path: Path, serve: Serve, cost: Cost) -> None:
    """It is looked at once; its events, calls, intents and files are not."""
    found = {}
    for batches in (2, 34):
        bench = folder(tmp_path, str(batches))
        bench.rows([{"id": n, "text": f"text of row {n}"} for n in range(10 * batches)])
        later = {"status": 429, "headers": {"retry-after": "100000"}}
        simulator = serve(faults=[{"operation": "batches.create", "occurrence": batches, "action": later}])
        bench.pipeline(
            ask(simulator, max_requests=10, poll_interval_seconds=0.001, max_batches_in_flight=1),
            source="schema: {id: int, text: str}",
            sinks=["done", "failed"],
        )
        assert bench.run(wait_s=3_000.0).status is RunStatus.PENDING
        phases = bench.query("SELECT status, COUNT(*) FROM v_batches GROUP BY status ORDER BY status")
        assert phases == [("harvested", batches - 1), ("ready", 1)]
        found[batches] = warmed(bench, cost)
    assert found[34].steps - found[2].steps < SPARE_STEPS + STEPS_A_BATCH * 32


def test_the_status_of_a_pending_run_does_not_count_its_rows(tmp_path: Path, serve: Serve, cost: Cost) -> None:
    """It stands at the end of every resume, and must still be right."""
    simulator = serve(latency_s=600.0)
    found = {}
    for done in (FEW, MANY):
        bench = folder(tmp_path, str(done))
        gated(bench, simulator, done)
        with LandscapeReader(bench.database) as reader:
            before = cost.steps
            status = reports.run_status(reader, reader.run("latest"))
            found[done] = cost.steps - before
        ((early,),) = bench.query("SELECT COUNT(*) FROM outcomes")
        assert early > done - 256
        assert (
            status["rows"]["equation"] == f"{done + LATE:,} in = {early:,} early + {done + LATE - early} on their way"
        )
    assert found[MANY] - found[FEW] < SPARE_STEPS
