"""Whether a row costs the same however many there are."""

from __future__ import annotations

from tests.bench.audited import RUN, audit, audited
from tests.bench.evidenced import replay, verify
from tests.bench.figures import Report, Spread, Table, above_start, flatness
from tests.bench.trails import database_bytes, payload_bytes
from tests.bench.workshop import Workshop

START_ROWS = 10
SUBJECTS = (RUN, "audit: verify", "audit: replay")


def report(workshop: Workshop) -> Report:
    """Run, verify and replay at each size, less what they take with ten rows; what was measured before counts too."""
    for rows in (START_ROWS, *workshop.sizes):
        _measure(workshop, rows)
    lines, figures = [], {}
    span = f"{workshop.sizes[0]}..{workshop.rows}"
    for subject in SUBJECTS:
        start_s = workshop.cpu_s(subject, START_ROWS).median
        costs = [above_start(workshop.cpu_s(subject, size).median, start_s, size) * 1e6 for size in workshop.sizes]
        peaks = [workshop.memory_mb(subject, size).median for size in workshop.sizes]
        for what, values in (("µs of CPU a row", costs), ("MB", peaks)):
            flat = flatness(values)
            figures[f"flatness {subject}, {what} {span}"] = Spread.of([flat])
            lines.append([f"{subject}, {what}", *map("{:.1f}".format, values), f"{flat:.2f}"])
    for what, size_of in (("database", database_bytes), ("payloads", payload_bytes)):
        start = size_of(audited(workshop, START_ROWS))
        values = [above_start(size_of(audited(workshop, size)), start, size) for size in workshop.sizes]
        flat = flatness(values)
        figures[f"flatness {what}, bytes a row {span}"] = Spread.of([flat])
        lines.append([f"{what}, bytes a row", *map("{:.1f}".format, values), f"{flat:.2f}"])
    header = ("", *(f"{size:,} rows" for size in workshop.sizes), "largest / smallest")
    return Report(tables=[Table(title="growth", header=header, lines=lines)], figures=figures)


def _measure(workshop: Workshop, rows: int) -> None:
    """Until everything was measured often enough."""
    times = workshop.times(rows)
    while len(workshop.found(RUN, rows)) < times:
        audit(workshop, rows)
    folder = audited(workshop, rows)
    for subject, again in zip(SUBJECTS[1:], (verify, replay), strict=True):
        while len(workshop.found(subject, rows)) < times:
            again(workshop, rows, folder, pipeline="audit")
