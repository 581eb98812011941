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
    """Run, verify and replay at each size, less what they take with ten rows.

    Small differences of CPU times: the least of each counts, since a neighbour only ever adds to one.
    """
    _measure(workshop)
    lines, figures = [], {}
    span = f"{workshop.sizes[0]}..{workshop.rows}"
    for subject in SUBJECTS:
        start_s = workshop.cpu_s(subject, START_ROWS).least
        costs = [above_start(workshop.cpu_s(subject, size).least, start_s, size) * 1e6 for size in workshop.sizes]
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


def _measure(workshop: Workshop) -> None:
    """In rounds, so that noise that lasts hits all sizes; what other cases measured already is not measured again."""
    sizes = {rows: workshop.times(rows) for rows in (START_ROWS, *workshop.sizes)}
    for number in range(1, max(sizes.values()) + 1):
        for rows in (rows for rows, times in sizes.items() if number <= times):
            if len(workshop.found(RUN, rows)) < number:
                audit(workshop, rows)
            folder = audited(workshop, rows)
            for subject, again in zip(SUBJECTS[1:], (verify, replay), strict=True):
                if len(workshop.found(subject, rows)) < number:
                    again(workshop, rows, folder, pipeline="audit")
