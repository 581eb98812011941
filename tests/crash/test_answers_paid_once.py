"""Runs that share requests, or take answers of another run, die at effects and pay for nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.crash.invariants import Aftermath, check_outputs, outputs
from tests.crash.runner import Kind
from tests.crash.scene import ALL, Moment, Runner, served
from tests.engine.workbench import Project, ask

from elspeth.simulator import Simulator

ROWS, TEXTS = 26, 6
REFUSED = {f"row-{n}-{attempt}": "content_filter" for n in range(2, ROWS, TEXTS) for attempt in range(3)}
FAULTS = {**REFUSED, "row-4-0": "429", "row-1-0": "500"}
CREATED = 2
"""The transaction that records a run; the one before it finds the database as it is."""
POINTS_A_KIND = 1_000 if ALL else 1
"""Every kill point, or one of each kind, which moves with nothing but the code."""


def repeating(folder: Path, simulator: Simulator) -> Project:
    """Rows of few texts, in batches that are full before all rows are read."""
    folder.mkdir(parents=True)
    project = Project(folder)
    project.rows([{"id": n, "text": f"text {n % TEXTS}"} for n in range(ROWS)])
    batches = ask(simulator, dedupe=True, max_requests=2, max_batches_in_flight=2, poll_interval_seconds=0.01)
    project.pipeline(batches, source="schema: {id: int, text: str}", sinks=["done", "failed"])
    return project


def chosen(moments: list[Moment]) -> Iterator[Moment]:
    for kind in Kind:
        points = [moment for moment in moments if moment.kind == kind]
        step = max(1, len(points) // POINTS_A_KIND)
        yield from points[step // 2 :: step]


def asked_and_taken(project: Project) -> list[tuple[int, ...]]:
    """Rows that took an answer at a step where they asked, too."""
    return project.query(
        "SELECT u.run_no, u.row_index FROM reuses u JOIN batch_members m ON m.run_no = u.run_no "
        "AND m.row_index = u.row_index JOIN batches b ON b.run_no = m.run_no AND b.batch_no = m.batch_no "
        "AND b.node_no = u.node_no"
    )


def test_a_run_that_shares_requests_and_is_killed_comes_to_the_same_end(tmp_path: Path, runner: Runner) -> None:
    with served(row_faults=FAULTS) as simulator:
        unkilled = repeating(tmp_path / "unkilled", simulator)
        moments = runner.go_on(unkilled)
        ((lines,),) = unkilled.query("SELECT SUM(requests) FROM v_batches WHERE attempt = 0")
        assert lines < ROWS
    for number, point in enumerate(chosen(moments)):
        with served(row_faults=FAULTS) as simulator:
            project = repeating(tmp_path / str(number), simulator)
            runner.kill(project, "run", point)
            print("killed:", *point)
            runner.go_on(project)
            check_outputs(project.folder / "out", outputs(unkilled.folder / "out"))
            Aftermath(project.database, simulator).check(rows=ROWS, deaths=1)
            assert [] == asked_and_taken(project)


def edited(project: Project) -> None:
    """Three rows that the first run did not have, and one that it had otherwise."""
    rows = [{"id": n, "text": "new" if n == 7 else f"row number {n}"} for n in range(15)]
    project.rows(rows)


def first_run(folder: Path, simulator: Simulator, runner: Runner) -> Project:
    folder.mkdir(parents=True)
    project = Project(folder)
    project.rows([{"id": n, "text": f"row number {n}"} for n in range(12)])
    project.pipeline(
        ask(simulator, max_requests=3, poll_interval_seconds=0.01),
        source="schema: {id: int, text: str}",
        sinks=["done", "failed"],
    )
    runner.go_on(project)
    edited(project)
    return project


def test_a_run_that_takes_answers_and_is_killed_asks_for_none_of_them(tmp_path: Path, runner: Runner) -> None:
    with served() as simulator:
        unkilled = first_run(tmp_path / "unkilled", simulator, runner)
        ended = runner.order(unkilled, "reuse")
        assert (0, "") == (ended.code, ended.error)
        jobs = jobs_of(simulator)
    for number, point in enumerate(chosen(ended.moments)):
        with served() as simulator:
            project = first_run(tmp_path / str(number), simulator, runner)
            runner.kill(project, "reuse", point)
            print("killed:", *point)
            is_begun = project.query("SELECT COUNT(*) FROM runs") == [(2,)]
            again = runner.order(project, "resume" if is_begun else "reuse")
            assert (0, "") == (again.code, again.error)
            check_outputs(project.folder / "out", outputs(unkilled.folder / "out"))
            assert jobs == jobs_of(simulator)
            assert [] == asked_and_taken(project)
            assert [(11,)] == project.query("SELECT COUNT(*) FROM reuses")


def jobs_of(simulator: Simulator) -> int:
    operations = Counter(entry["operation"] for entry in simulator.journal() if entry["status"] == 200)
    return operations["batches.create"]


def test_a_run_killed_before_its_first_commit_keeps_the_choice_of_answers(tmp_path: Path, runner: Runner) -> None:
    """The record of the run is there, and nothing else of it."""
    with served() as simulator:
        project = first_run(tmp_path / "p", simulator, runner)
        runner.kill(project, "reuse", Moment(Kind.COMMITTED, CREATED))
        assert [(2, 1)] == project.query(
            "SELECT COUNT(DISTINCT r.run_no), COUNT(DISTINCT c.run_no) FROM runs r LEFT JOIN commits c USING (run_no)"
        )
        again = runner.order(project, "resume")
        assert (0, "") == (again.code, again.error)
        assert [(11,)] == project.query("SELECT COUNT(*) FROM reuses")
