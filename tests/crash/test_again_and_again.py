"""Deaths one after another, deaths of a resume, and what else may be lost with the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.conftest import KILLED_AT, Unkilled
from tests.crash.invariants import Aftermath, check_outputs, outputs
from tests.crash.runner import Kind
from tests.crash.scene import ALL, ROWS, Moment, Runner, prepare, served
from tests.engine.workbench import Project

PARTS = range(6 if ALL else 1)
Record = Callable[[str, object], None]


def while_two_batches_are_in_flight(unkilled: Unkilled) -> Moment:
    """The provider has accepted the second job, and nobody knows."""
    return [m for m in unkilled.moments if (m.kind, m.subject) == (Kind.ACTED, "batches.create")][1]


def until_it_watches(moments: list[Moment]) -> list[Moment]:
    """The moments of a resume until it has found the job and polls it: from there on it does what a run does."""
    found = max(place for place, moment in enumerate(moments) if moment.subject == "batches.list")
    end = next(place for place, moment in enumerate(moments) if moment.subject == "batches.retrieve" and place > found)
    return moments[:end]


@pytest.mark.parametrize("part", PARTS)
def test_a_resume_may_be_killed_at_any_effect(
    part: int, tmp_path: Path, runner: Runner, unkilled: Unkilled, record_property: Record
) -> None:
    first = while_two_batches_are_in_flight(unkilled)
    with served() as simulator:
        project = prepare(tmp_path / "counted", simulator)
        runner.kill(project, "run", first)
        moments = until_it_watches(runner.go_on(project))
    for place in range(part, len(moments), len(PARTS)) if ALL else (len(moments) // 3, 2 * len(moments) // 3):
        with served() as simulator:
            project = prepare(tmp_path / str(place), simulator)
            runner.kill(project, "run", first)
            runner.kill(project, "resume", moments[place])
            print("killed:", *moments[place])
            runner.go_on(project)
            check_outputs(project.folder / "out", unkilled.outputs)
            Aftermath(project.database, simulator).check(rows=ROWS, deaths=2)
        record_property(KILLED_AT, "in a resume")


def test_a_run_may_be_killed_again_and_again(tmp_path: Path, runner: Runner, unkilled: Unkilled) -> None:
    deaths = [
        Moment(Kind.UNCOMMITTED, 12),
        Moment(Kind.ACTED, 2),
        Moment(Kind.SYNCED, 5),
        Moment(Kind.ANSWERED, 3),
        Moment(Kind.COMMITTED, 20),
    ]
    with served() as simulator:
        project = prepare(tmp_path, simulator)
        for number, moment in enumerate(deaths):
            runner.kill(project, "resume" if number else "run", moment)
        runner.go_on(project)
        check_outputs(project.folder / "out", unkilled.outputs)
        Aftermath(project.database, simulator).check(rows=ROWS, deaths=len(deaths))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.97] if ALL else [0.8])
def test_a_killed_run_makes_lost_part_files_again(
    share: float, tmp_path: Path, runner: Runner, unkilled: Unkilled
) -> None:
    with served() as simulator:
        project = prepare(tmp_path, simulator)
        runner.kill(project, "run", unkilled.moments[round(len(unkilled.moments) * share)])
        parts = list((project.folder / "out").glob(".*.part"))
        for part in parts:
            part.unlink()
        assert parts
        runner.go_on(project)
        check_outputs(project.folder / "out", unkilled.outputs)
        Aftermath(project.database, simulator).check(rows=ROWS, deaths=1)


def test_a_process_may_die_between_the_renames_and_their_record(tmp_path: Path, runner: Runner) -> None:
    """Also where outputs must not exist: what has its name already is our own."""

    def project(name: str) -> Project:
        found = Project(tmp_path / name)
        found.folder.mkdir()
        found.rows([{"id": n} for n in range(5)])
        found.pipeline(
            "- {name: sort, gate: \"row['id'] > 2\", routes: {true: other, false: next}}",
            source="schema: {id: int}",
            csv="other: {plugin: csv, options: {path: out/other.csv, fields: [id], if_exists: error}}",
        )
        return found

    moments = runner.go_on(project("count"))
    unkilled = outputs(tmp_path / "count" / "out")
    assert {"done.jsonl": b'{"id":0}\n{"id":1}\n{"id":2}\n', "other.csv": b"id\n3\n4\n"} == unkilled
    named = [place for place, moment in enumerate(moments) if moment.kind == Kind.NAMED]
    for place in range(named[-2], len(moments)):
        killed = project(str(place))
        runner.kill(killed, "run", moments[place])
        assert (killed.folder / "out" / "done.jsonl").exists() or (killed.folder / "out" / "other.csv").exists()
        runner.go_on(killed)
        check_outputs(killed.folder / "out", unkilled)
