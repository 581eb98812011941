"""Which runs give their answers to another one: what ``--reuse`` names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from elspeth.app.state import State
from elspeth.contracts import FileRole, PayloadClass, RunStatus, UsageError
from elspeth.core.config import Pipeline
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.retention import purged_classes
from elspeth.engine.other_runs import OtherRuns
from elspeth.engine.plan import Plan

__all__ = ["other_runs", "runs_to_reuse"]


@contextmanager
def other_runs(pipeline: Pipeline, plan: Plan, names: Sequence[str], *, db: str | None) -> Iterator[OtherRuns]:
    """The answers of these runs for a pipeline that is not run, from the trail that a run of it would write."""
    named = db or os.environ.get("ELSPETH_LANDSCAPE_URL") or pipeline.landscape.path
    with LandscapeReader(State.find(Path.cwd()).to_read(named)) as reader:
        others = OtherRuns(plan, reader, runs_to_reuse(reader, names, pipeline=plan.name))
        try:
            yield others
        finally:
            others.close()


def runs_to_reuse(reader: LandscapeReader, names: Sequence[str], *, pipeline: str) -> tuple[str, ...]:
    """The ids of the runs that ``names`` name, those that go first first.

    ``latest`` is the last completed run of ``pipeline``, ``all`` every run that still has its answers, the newest
    first; any other name is an id or a prefix. Raises `UsageError` or `MissingTrailError` for one that has none.
    """
    found: dict[str, None] = {}
    for name in names:
        match name:
            case "all":
                found.update(dict.fromkeys(_all(reader)))
            case "latest":
                found[_latest(reader, pipeline)] = None
            case _:
                run = reader.run(name)
                _require_answers(reader, run)
                found[run.run_id] = None
    return tuple(found)


def _all(reader: LandscapeReader) -> Iterator[str]:
    for (run_no,) in reader.query("SELECT run_no FROM runs ORDER BY run_no DESC"):
        run = reader.run_numbered(run_no)
        if _missing(reader, run) is None:
            yield run.run_id


def _latest(reader: LandscapeReader, pipeline: str) -> str:
    for (run_no,) in reader.query("SELECT run_no FROM runs WHERE pipeline = ? ORDER BY run_no DESC", pipeline):
        status, _ = reader.status(run_no)
        if status is RunStatus.COMPLETED:
            run = reader.run_numbered(run_no)
            _require_answers(reader, run)
            return run.run_id
    raise UsageError(
        f"no run of the pipeline {pipeline!r} is complete, whose answers could be taken",
        hint="Name a run (`elspeth runs` lists them), or `all` for whatever there is.",
    )


def _require_answers(reader: LandscapeReader, run: RunHeader) -> None:
    missing = _missing(reader, run)
    if missing is not None:
        raise UsageError(
            f"run {run.run_id} has no answers to take: {missing}",
            hint="Begin without --reuse, or name another run.",
        )


def _missing(reader: LandscapeReader, run: RunHeader) -> str | None:
    """Why the answers of a run cannot be read; None when its files are there."""
    if PayloadClass.FILES in purged_classes(reader, run):
        return "its payloads of the class files were purged"
    for (name,) in reader.query(
        "SELECT name FROM segments WHERE run_no = ? AND class = ? AND (role IS NULL OR role <> ?)",
        run.run_no,
        PayloadClass.FILES.value,
        FileRole.REQUEST.value,
    ):
        if not (run.payload_folder / name).is_file():
            return f"its payload segment {name} is missing"
    return None
