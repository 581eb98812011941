"""What proof costs: verify, replay and export of a large run."""

from __future__ import annotations

from pathlib import Path

from tests.bench.audited import RUN as AUDIT
from tests.bench.audited import audited
from tests.bench.batched import RUN as BATCH
from tests.bench.batched import batched
from tests.bench.evidenced import export, replay, verify
from tests.bench.figures import Report, Spread, Table
from tests.bench.workshop import Workshop


def report(workshop: Workshop) -> Report:
    """The audit pipeline at the largest size, the batch pipeline at a moderate one, each beside its run."""
    lines, figures = [], {}
    for pipeline, run, make, rows in (
        ("audit", AUDIT, audited, workshop.rows),
        ("batch", BATCH, batched, workshop.moderate_rows),
    ):
        folder: Path = make(workshop, rows)
        for _ in range(workshop.times(rows, usual=3)):
            verify(workshop, rows, folder, pipeline=pipeline)
            replay(workshop, rows, folder, pipeline=pipeline)
            export(workshop, rows, folder, pipeline=pipeline)
        for subject in (run, *(f"{pipeline}: {name}" for name in ("verify", "replay", "export"))):
            figures[f"{subject} cpu s {rows}"] = workshop.cpu_s(subject, rows)
            figures[f"{subject} memory {rows}"] = workshop.memory_mb(subject, rows)
            lines.append(_line(workshop, subject, rows))
    header = ("", "wall s", "CPU s", "µs of CPU a row", "MB")
    return Report(tables=[Table(title="evidence", header=header, lines=lines)], figures=figures)


def _line(workshop: Workshop, subject: str, rows: int) -> list[str]:
    cpu_s = workshop.cpu_s(subject, rows)
    return [
        f"{subject}, {rows:,} rows",
        workshop.wall_s(subject, rows).text("{:.1f}".format),
        cpu_s.text("{:.1f}".format),
        Spread.of(value / rows * 1e6 for value in cpu_s.values).text("{:.1f}".format),
        workshop.memory_mb(subject, rows).text("{:.0f}".format),
    ]
