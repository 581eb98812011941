"""What it takes to ask a large trail: as commands, and within a process that has it open."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.audited import audited
from tests.bench.batched import batched
from tests.bench.figures import Report, Spread, Table, percentile
from tests.bench.tickets import is_urgent
from tests.bench.usage import expect
from tests.bench.workshop import Workshop

EXPLAINING = Path(__file__).parents[1] / "explaining.py"
ROWS_TO_EXPLAIN = 500
HELP_TIMES, COMMAND_TIMES = 10, 5
PIPELINES: dict[str, Callable[[Workshop, int], Path]] = {"audit": audited, "batch": batched}


def report(workshop: Workshop) -> Report:
    """Every reading command on the largest run of each pipeline, and the start of a command that reads nothing."""
    rows = workshop.rows
    figures: dict[str, Spread] = {}
    lines = [_help(workshop, figures)]
    inner = []
    for pipeline, make in PIPELINES.items():
        folder = make(workshop, rows)
        lines += _commands(workshop, pipeline, folder)
        figures[f"explain {pipeline} command ms {rows}"] = Spread.of(
            one.wall_s * 1000 for one in workshop.found(f"{pipeline}: explain", rows)
        )
        p50_ms, p99_ms = _within(workshop, pipeline, folder)
        figures[f"explain {pipeline} ms {rows}"] = p50_ms
        figures[f"explain {pipeline} p99 ms {rows}"] = p99_ms
        inner.append([f"explain, {pipeline}", p50_ms.text("{:.2f}".format), p99_ms.text("{:.2f}".format)])
    header = ("command", "wall s", "CPU s", "MB")
    tables = [
        Table(title=f"reading at {rows:,} rows, as commands", header=header, lines=lines),
        Table(title=f"reading at {rows:,} rows, in process", header=("", "p50 ms", "p99 ms"), lines=inner),
    ]
    return Report(tables=tables, figures=figures)


def _help(workshop: Workshop, figures: dict[str, Spread]) -> list[str]:
    for _ in range(workshop.times(0, usual=HELP_TIMES)):
        usage = workshop.elspeth("elspeth --help", 0, workshop.folder, "--help")
        expect("explain" in usage.stdout.read_text(), "the help does not name the commands")
    figures["help s"] = workshop.wall_s("elspeth --help", 0)
    return _line(workshop, "elspeth --help", 0)


def _commands(workshop: Workshop, pipeline: str, folder: Path) -> list[list[str]]:
    rows = workshop.rows
    chance = random.Random(1)
    for _ in range(workshop.times(rows, usual=COMMAND_TIMES)):
        row = chance.randrange(rows)
        usage = workshop.elspeth(f"{pipeline}: explain", rows, folder, "explain", "latest", f"--row={row}", "--json")
        _check_explained(json.loads(usage.stdout.read_text()), row, pipeline)
        usage = workshop.elspeth(f"{pipeline}: status", rows, folder, "status", "latest", "--json")
        expect(json.loads(usage.stdout.read_text())["status"] == "completed", "status: not completed")
        usage = workshop.elspeth(f"{pipeline}: runs", rows, folder, "runs", "--json")
        expect(json.loads(usage.stdout.read_text())["runs"][0]["rows"] == rows, "runs: another number of rows")
        usage = workshop.elspeth(f"{pipeline}: calls", rows, folder, "calls", "latest", "--json")
        calls = json.loads(usage.stdout.read_text())["calls"]
        expect(bool(calls) == (pipeline == "batch"), f"calls: {len(calls)} of the pipeline {pipeline}")
    names = ("explain", "status", "runs", "calls")
    return [_line(workshop, f"{pipeline}: {name}", rows) for name in names]


def _check_explained(found: dict[str, Any], row: int, pipeline: str) -> None:
    """The row that was asked for, and where it must have ended."""
    expect(found["row"]["data"]["id"] == row, f"row {row} was asked for: {found['row']}")
    sink = "answers" if pipeline == "batch" else "urgent" if is_urgent(row) else "normal"
    (outcome,) = found["outcomes"]
    expect(outcome["sink"] == sink, f"row {row} ended in {outcome}, not in {sink}")


def _within(workshop: Workshop, pipeline: str, folder: Path) -> tuple[Spread, Spread]:
    """Milliseconds that half and that all but one in a hundred of the explanations take at most, process by process."""
    found, rows = [], workshop.rows
    for _ in range(workshop.times(rows, usual=3)):
        database = folder / ".elspeth" / "audit.db"
        command = [sys.executable, str(EXPLAINING), str(database), str(rows), str(min(ROWS_TO_EXPLAIN, rows))]
        usage = workshop.measure(f"{pipeline}: explain in process", rows, command, folder=folder)
        found.append([value * 1000 for value in json.loads(usage.stdout.read_text())])
    p50_ms, p99_ms = (Spread.of(percentile(times_ms, share) for times_ms in found) for share in (0.50, 0.99))
    return p50_ms, p99_ms


def _line(workshop: Workshop, subject: str, rows: int) -> list[str]:
    return [
        subject,
        workshop.wall_s(subject, rows).text("{:.3f}".format),
        workshop.cpu_s(subject, rows).text("{:.3f}".format),
        workshop.memory_mb(subject, rows).text("{:.0f}".format),
    ]
