"""The provider acts, its answer is lost, and the process dies at the same time or soon after.

What was accepted is found and used: it is neither sent nor paid for again. What was accepted and not listed is sent
again, and whatever turns up of it later is recorded and removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.crash.conftest import KILLED_AT
from tests.crash.invariants import Aftermath, check_outputs
from tests.crash.runner import Kind
from tests.crash.scene import ALL, Moment, Runner, served
from tests.engine.workbench import Project, ask, count

from elspeth.simulator import Simulator

ROWS = 3
OUTPUTS = {
    "done.jsonl": b"".join(b'{"id":%d,"text":"t%d","llm_response":"echo: Say t%d"}\n' % (n, n, n) for n in range(ROWS)),
    "failed.jsonl": b"",
}
FEW = (0, 1, 5)
Record = Callable[[str, object], None]
Event = tuple[Kind, str]
UPLOADED, CREATED = (Kind.ACTED, "files.create"), (Kind.ACTED, "batches.create")


def fault(operation: str, action: str, *occurrences: int) -> dict[str, Any]:
    return {"operation": operation, "occurrence": list(occurrences or [1]), "action": action}


LATE_JOB = [fault("batches.create", "reset_after"), fault("batches.list", "stale_list")]
TWO_JOBS = [fault("batches.create", "reset_after", 1, 2), fault("batches.list", "stale_list", 1, 2)]
TWO_FILES = [fault("files.create", "reset_after"), fault("files.list", "stale_list")]


def one_batch(folder: Path, simulator: Simulator) -> Project:
    folder.mkdir(parents=True)
    project = Project(folder)
    project.rows([{"id": n, "text": f"t{n}"} for n in range(ROWS)])
    project.pipeline(
        ask(simulator, poll_interval_seconds=0.01), source="schema: {id: int, text: str}", sinks=["done", "failed"]
    )
    return project


def first(moments: Sequence[Moment], event: Event) -> int:
    return next(place for place, moment in enumerate(moments) if (moment.kind, moment.subject) == event)


def deaths(
    folder: Path,
    runner: Runner,
    faults: Sequence[dict[str, Any]],
    *,
    since: Event,
    near: Event,
    until: Event | None = None,
    check: Callable[[Aftermath], None],
    record: Record,
    latency_s: float = 0.0,
) -> None:
    """Runs into the faults and dies, each time at another moment: any since one and until another, or a few near one.

    With a latency nobody knows how often a job is looked at, so the moments after that are not numbered alike.
    """
    with served(row_faults={}, faults=faults, latency_s=latency_s) as simulator:
        moments = runner.go_on(one_batch(folder / "unkilled", simulator))
    start = first(moments, near)
    moments = moments if until is None else moments[: first(moments, until) + 1]
    few = [moments[start + distance] for distance in FEW if start + distance < len(moments)]
    for point in moments[first(moments, since) :] if ALL else few:
        with served(row_faults={}, faults=faults, latency_s=latency_s) as simulator:
            project = one_batch(folder / f"{point.kind} {point.number}", simulator)
            runner.kill(project, "run", point)
            print("killed:", *point)
            runner.go_on(project)
            check_outputs(project.folder / "out", OUTPUTS)
            aftermath = Aftermath(project.database, simulator)
            aftermath.check(rows=ROWS, deaths=None if latency_s else 1)  # a job that is still at work is no news
            check(aftermath)
        record(KILLED_AT, f"after a lost answer to {since[1]}")


@pytest.mark.parametrize("faults", [LATE_JOB[:1], LATE_JOB], ids=["listed at once", "listed late"])
def test_a_job_whose_answer_and_process_are_lost_is_adopted(
    faults: list[dict[str, Any]], tmp_path: Path, runner: Runner, record_property: Record
) -> None:
    def check(aftermath: Aftermath) -> None:
        assert 1 == len(aftermath.jobs)
        assert 1 == len(aftermath.events("adopted_job"))
        assert [] == aftermath.events("created")

    deaths(tmp_path, runner, faults, since=CREATED, near=CREATED, check=check, record=record_property)


def test_an_upload_whose_answer_and_process_are_lost_is_adopted(
    tmp_path: Path, runner: Runner, record_property: Record
) -> None:
    def check(aftermath: Aftermath) -> None:
        assert 1 == len(aftermath.files)
        assert 1 == len(aftermath.events("adopted_file"))
        assert [] == aftermath.events("uploaded")

    deaths(tmp_path, runner, TWO_FILES[:1], since=UPLOADED, near=UPLOADED, check=check, record=record_property)


def strays(aftermath: Aftermath) -> set[str]:
    return {detail["stray_file_id"] for _, _, detail in aftermath.events("stray_file")}


def check_stray_is_gone(project: Project, simulator: Simulator) -> None:
    """Of the two uploads the second is the input; the first is recorded as a stray and deleted."""
    aftermath = Aftermath(project.database, simulator)
    assert 2 == count(simulator, "files.create")
    stray = strays(aftermath)
    deleted = {e["path"].rpartition("/")[2] for e in simulator.journal() if e["operation"] == "files.delete"}
    assert 1 == len(stray)
    assert stray == deleted
    assert [("files.delete",)] == aftermath.query("SELECT DISTINCT operation FROM calls WHERE operation LIKE '%delete'")
    check_outputs(project.folder / "out", OUTPUTS)
    aftermath.check(rows=ROWS)


def test_an_upload_that_is_listed_late_is_sent_again_and_the_stray_is_deleted(tmp_path: Path, runner: Runner) -> None:
    with served(row_faults={}, faults=TWO_FILES) as simulator:
        project = one_batch(tmp_path / "project", simulator)
        runner.go_on(project)
        check_stray_is_gone(project, simulator)


def test_an_upload_that_is_listed_late_after_a_death_leaves_no_stray(tmp_path: Path, runner: Runner) -> None:
    with served(row_faults={}, faults=TWO_FILES[1:]) as simulator:
        project = one_batch(tmp_path / "project", simulator)
        runner.kill(project, "run", Moment(Kind.ACTED, 1, "files.create"))
        runner.go_on(project)
        check_stray_is_gone(project, simulator)


def test_a_stray_is_deleted_whenever_the_process_dies(tmp_path: Path, runner: Runner, record_property: Record) -> None:
    def check(aftermath: Aftermath) -> None:
        uploads = [entry for entry in aftermath.journal if entry["operation"] == "files.create"]
        assert len(uploads) - 1 == len(strays(aftermath))

    near = (Kind.UNSENT, "files.delete")
    deaths(tmp_path, runner, TWO_FILES, since=UPLOADED, near=near, check=check, record=record_property)


def extra_job_is_settled(aftermath: Aftermath) -> None:
    assert len(aftermath.jobs) - 1 == len(aftermath.events("extra_job")) == len(aftermath.events("settled"))


def test_a_job_too_many_is_recorded_whenever_the_process_dies(
    tmp_path: Path, runner: Runner, record_property: Record
) -> None:
    """Two creates were accepted, both answers lost, and the first job was not listed in time."""
    near = (Kind.UNSENT, "batches.retrieve")
    deaths(tmp_path, runner, TWO_JOBS, since=CREATED, near=near, check=extra_job_is_settled, record=record_property)


def test_a_job_too_many_is_cancelled_whenever_the_process_dies(
    tmp_path: Path, runner: Runner, record_property: Record
) -> None:
    """The same with jobs that are still at work when they are found, up to the answer to the cancel."""
    near = (Kind.UNSENT, "batches.cancel")
    until = (Kind.ANSWERED, "batches.cancel")
    deaths(
        tmp_path,
        runner,
        TWO_JOBS,
        since=CREATED,
        near=near,
        until=until,
        check=extra_job_is_settled,
        record=record_property,
        latency_s=0.5,
    )
