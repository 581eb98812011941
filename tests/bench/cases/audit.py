"""The cost of a full audit, against the same work without one and against an audit as it is often built."""

from __future__ import annotations

from tests.bench.audited import NAIVE, PLAIN, RUN, audit, naive, plain, plain_in_turn
from tests.bench.figures import Report, Spread, Table, ratios
from tests.bench.workshop import MANY_ROWS, Workshop

NAIVE_ROWS = 1_000
JOURNAL_MODES = ("delete", "wal")


def report(workshop: Workshop) -> Report:
    """elspeth and its rivals in turn, at each size; the naive recorder with fewer rows, since it is slow.

    The pairs of a size are spread over the whole time that all of them take, since a machine is slow for minutes.
    """
    figures: dict[str, Spread] = {}
    lines = []
    turns = ((number / workshop.times(rows), rows) for rows in workshop.sizes for number in range(workshop.times(rows)))
    for _, rows in sorted(turns):
        _measure_pair(workshop, rows)
    for rows in workshop.sizes:
        lines += [_line(workshop, subject, rows) for subject in (RUN, PLAIN)]
        speed, cpu = _against_plain(workshop, rows)
        figures |= {f"audit speed {rows}": speed, f"audit cpu {rows}": cpu}
        shares = ("", speed.text("{:.2f}".format), cpu.text("{:.2f}".format), "")
        lines.append([f"of the plain script, {rows:,} rows", *shares])
    lines += _against_naive(workshop, figures)
    header = ("", "wall s", "rows/s", "µs of CPU a row", "MB")
    return Report(tables=[Table(title="audit", header=header, lines=lines)], figures=figures)


def _measure_pair(workshop: Workshop, rows: int) -> None:
    """Where one takes half a minute they take turns of a second or two, since a machine is half as fast for seconds."""
    if rows > MANY_ROWS:
        with plain_in_turn(workshop, rows) as in_turn:
            audit(in_turn, rows)
    else:
        plain(workshop, rows)
        audit(workshop, rows)


def _line(workshop: Workshop, subject: str, rows: int) -> list[str]:
    wall_s, cpu_s = workshop.wall_s(subject, rows), workshop.cpu_s(subject, rows)
    return [
        f"{subject.removeprefix('audit: ')}, {rows:,} rows",
        wall_s.text("{:.2f}".format),
        Spread.of(rows / value for value in wall_s.values).text("{:,.0f}".format),
        Spread.of(value / rows * 1e6 for value in cpu_s.values).text("{:.1f}".format),
        workshop.memory_mb(subject, rows).text("{:.0f}".format),
    ]


def _against_plain(workshop: Workshop, rows: int) -> tuple[Spread, Spread]:
    """Rows/s and CPU: the plain script's time over ours, so that less than one means that we are slower."""
    ours, plains = workshop.found(RUN, rows), workshop.found(PLAIN, rows)
    speed = ratios([one.wall_s for one in plains], [one.wall_s for one in ours])
    return speed, ratios([one.cpu_s for one in plains], [one.cpu_s for one in ours])


def _against_naive(workshop: Workshop, figures: dict[str, Spread]) -> list[list[str]]:
    rows = min(NAIVE_ROWS, workshop.sizes[0])
    lines = []
    for _ in range(workshop.times(rows, usual=3)):
        for journal_mode in JOURNAL_MODES:
            naive(workshop, rows, journal_mode=journal_mode)
    for journal_mode in JOURNAL_MODES:
        subject = f"{NAIVE}, {journal_mode}"
        lines.append(_line(workshop, subject, rows))
        ours_s = workshop.wall_s(RUN, workshop.rows).median / workshop.rows
        times = Spread.of(value / rows / ours_s for value in workshop.wall_s(subject, rows).values)
        figures[f"naive {journal_mode} {workshop.rows}"] = times
        lines.append([f"elspeth, {workshop.rows:,} rows, times as fast", "", times.text("{:.0f}".format), "", ""])
    return lines
