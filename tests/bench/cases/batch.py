"""The cost of the batch path, against a script with the provider's SDK, and its memory as rows become more."""

from __future__ import annotations

from tests.bench.batched import PLAIN, RUN, batch, plain
from tests.bench.figures import Report, Spread, Table, ratios
from tests.bench.workshop import Workshop

TIMES = 3


def report(workshop: Workshop) -> Report:
    """Pairs up to a moderate size; beyond it one run of elspeth alone, for its memory."""
    figures: dict[str, Spread] = {}
    lines = []
    for rows in workshop.sizes:
        is_paired = rows <= workshop.moderate_rows
        for _ in range(workshop.times(rows, usual=TIMES) if is_paired else 1):
            batch(workshop, rows)
            if is_paired:
                plain(workshop, rows)
        figures[f"batch memory {rows}"] = workshop.memory_mb(RUN, rows)
        lines += [_line(workshop, subject, rows) for subject in ((RUN, PLAIN) if is_paired else (RUN,))]
        if is_paired:
            cpu = _cpu_of_plain(workshop, rows)
            figures[f"batch cpu {rows}"] = cpu
            lines.append([f"times the plain script's, {rows:,} rows", "", cpu.text("{:.2f}".format), ""])
    header = ("", "wall s", "µs of CPU a row", "MB")
    return Report(tables=[Table(title="batch", header=header, lines=lines)], figures=figures)


def _line(workshop: Workshop, subject: str, rows: int) -> list[str]:
    return [
        f"{subject.removeprefix('batch: ')}, {rows:,} rows",
        workshop.wall_s(subject, rows).text("{:.1f}".format),
        Spread.of(value / rows * 1e6 for value in workshop.cpu_s(subject, rows).values).text("{:.0f}".format),
        workshop.memory_mb(subject, rows).text("{:.0f}".format),
    ]


def _cpu_of_plain(workshop: Workshop, rows: int) -> Spread:
    """Our CPU over the plain script's."""
    ours, plains = workshop.found(RUN, rows), workshop.found(PLAIN, rows)
    return ratios([one.cpu_s for one in ours], [one.cpu_s for one in plains])
