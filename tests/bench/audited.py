"""The audit pipeline: CSV, two transforms, a gate, two CSV sinks. Its runs, and the scripts that do the same."""

from __future__ import annotations

import filecmp
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench.tickets import SOURCE
from tests.bench.usage import Process, Usage, expect, used_by
from tests.bench.workshop import Workshop, rival

__all__ = [
    "NAIVE",
    "OUTPUTS",
    "PLAIN",
    "RUN",
    "audit",
    "audited",
    "compare",
    "naive",
    "plain",
    "plain_in_turn",
    "write_pipeline",
]

RUN, PLAIN, NAIVE = "audit: elspeth run", "audit: plain script", "audit: naive recorder"
OUTPUTS = ("urgent.csv", "normal.csv")
TURN_S, PLAIN_TURN_S = 2.0, 1.3
"""Both have about as much to do in their turns, so that they end together."""

PIPELINE = (
    f"name: audit\n{SOURCE}"
    + """\
steps:
  - {name: tidy, plugin: field_mapper, options: {rename: {subject: title}}}
  - {name: label, plugin: field_mapper, options: {constants: {source: crm}}}
  - {name: risk, gate: "row['priority'] >= 3", routes: {true: urgent, false: next}}
sinks:
  normal: {plugin: csv, options: {path: out/normal.csv}}
  urgent: {plugin: csv, options: {path: out/urgent.csv}}
output: normal
"""
)


def audit(workshop: Workshop, rows: int) -> Usage:
    """One more run, whose outputs must equal the plain script's to the byte. The first one is kept."""

    def make(folder: Path) -> Usage:
        write_pipeline(workshop, rows, folder)
        usage = workshop.elspeth(RUN, rows, folder, "run", "pipeline.yaml")
        compare(folder / "out", _plain_outputs(workshop, rows))
        return usage

    return workshop.kept_once(f"audit-{rows}", make)


def audited(workshop: Workshop, rows: int) -> Path:
    """The folder of a complete run."""
    if not workshop.found(RUN, rows):
        audit(workshop, rows)
    return workshop.folder / f"audit-{rows}"


def write_pipeline(workshop: Workshop, rows: int, folder: Path) -> None:
    """The pipeline's file."""
    (folder / "pipeline.yaml").write_text(PIPELINE % {"source": workshop.source(rows)})


def plain(workshop: Workshop, rows: int) -> Usage:
    """The plain script once more."""
    return workshop.measure(PLAIN, rows, _plain(workshop, rows), folder=_plain_folder(workshop, rows))


def plain_in_turn(workshop: Workshop, rows: int) -> AbstractContextManager[Workshop]:
    """The plain script once more, taking turns with what is measured within the block."""
    command, folder = _plain(workshop, rows), _plain_folder(workshop, rows)
    return workshop.taking_turns(PLAIN, rows, command, folder=folder, every_s=TURN_S, for_s=PLAIN_TURN_S)


def naive(workshop: Workshop, rows: int, *, journal_mode: str) -> Usage:
    """The naive recorder, whose outputs must be right too."""
    folder = workshop.folder / "naive"
    folder.mkdir()
    command = rival("naive_recorder.py", workshop.source(rows), *OUTPUTS, "state", journal_mode)
    usage = workshop.measure(f"{NAIVE}, {journal_mode}", rows, command, folder=folder)
    compare(folder, _plain_outputs(workshop, rows))
    shutil.rmtree(folder)
    return usage


def compare(folder: Path, expected: Path) -> None:
    """Raises `WrongOutputError` for outputs that differ in a byte."""
    for name in OUTPUTS:
        is_same = filecmp.cmp(folder / name, expected / name, shallow=False)
        expect(is_same, f"{folder / name} differs from {expected / name}")


def _plain(workshop: Workshop, rows: int) -> list[str | Path]:
    return rival("plain.py", workshop.source(rows), *OUTPUTS)


def _plain_folder(workshop: Workshop, rows: int) -> Path:
    return workshop.prepared(f"plain-{rows}", lambda _: None)


def _plain_outputs(workshop: Workshop, rows: int) -> Path:
    """What the plain script writes, made once and not measured."""

    def make(folder: Path) -> None:
        used_by(Process(_plain(workshop, rows), folder=folder, environ=workshop.environ()))

    return workshop.prepared(f"plain-outputs-{rows}", make)
