"""Whether a row costs the same however many there are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.bench.audited import RUN, audit, audited
from tests.bench.evidenced import replay, verify
from tests.bench.figures import Report, Spread, Table, above_start, flatness
from tests.bench.trails import database_bytes, payload_bytes
from tests.bench.usage import Breaks, Usage
from tests.bench.workshop import Workshop

START_ROWS = 10
BREAK_EVERY_S = 5.0
MOST_AT_ONCE = 4
"""In a break a size goes as often as the largest in it takes, and so many times at most."""

Again = Callable[[Workshop, int], Usage]
Round = Mapping[int, list[Usage]]


def report(workshop: Workshop) -> Report:
    """Run, verify and replay at each size, less what they take with ten rows; the database and payloads likewise."""
    sizes, rounds = (START_ROWS, *workshop.sizes), range(workshop.times(workshop.rows, usual=2))
    folders = {size: audited(workshop, size) for size in sizes}
    lines, figures = [], {}

    def note(what: str, found: list[list[float]], unit: str) -> None:
        flat = Spread.of(map(flatness, found))
        figures[f"flatness {what}, {unit} {workshop.sizes[0]}..{workshop.rows}"] = flat
        costs = (Spread.of(values).median for values in zip(*found, strict=True))
        lines.append([f"{what}, {unit}", *map("{:.1f}".format, costs), flat.text("{:.2f}".format)])

    for subject, again in _subjects(folders).items():
        measured = [_round(workshop, sizes, again) for _ in rounds]
        note(subject, [_costs(one, workshop.sizes) for one in measured], "µs of CPU a row")
        note(subject, [[_memory_mb(one[size]) for size in workshop.sizes] for one in measured], "MB")
    for what, size_of in (("database", database_bytes), ("payloads", payload_bytes)):
        start, *taken = (size_of(folders[size]) for size in sizes)
        costs = [above_start(one, start, size) for one, size in zip(taken, workshop.sizes, strict=True)]
        note(what, [costs], "bytes a row")
    header = ("", *(f"{size:,} rows" for size in workshop.sizes), "largest / smallest")
    return Report(tables=[Table(title="growth", header=header, lines=lines)], figures=figures)


def _subjects(folders: Mapping[int, Path]) -> dict[str, Again]:
    """What is done again and again with so many rows."""

    def evidenced(what: Callable[..., Usage], workshop: Workshop, rows: int) -> Usage:
        return what(workshop, rows, folders[rows], pipeline="audit")

    return {
        RUN: audit,
        "audit: verify": partial(evidenced, verify),
        "audit: replay": partial(evidenced, replay),
    }


def _round(workshop: Workshop, sizes: tuple[int, ...], again: Again) -> Round:
    """The largest size, and the smaller ones before it, after it and in its breaks.

    A machine may be half as fast a minute later: only what goes on at the same time can be compared. What is over in
    half a second meets one speed, so the shorter ones go several times.
    """
    *smaller, largest = sizes
    found: dict[int, list[Usage]] = {size: [] for size in sizes}

    at_once = [size for number in range(MOST_AT_ONCE) for size in smaller if number * size < smaller[-1]]

    def measure_smaller() -> None:
        for size in at_once:
            found[size].append(again(workshop, size))

    measure_smaller()
    pausing = workshop.with_breaks(Breaks(every_s=BREAK_EVERY_S, work=measure_smaller))
    found[largest].append(again(pausing, largest))
    measure_smaller()
    return found


def _costs(one: Round, sizes: tuple[int, ...]) -> list[float]:
    start_s = _cpu_s(one[START_ROWS])
    return [above_start(_cpu_s(one[size]), start_s, size) * 1e6 for size in sizes]


def _cpu_s(usages: list[Usage]) -> float:
    """At the machine's mean speed, as a long process has it.

    Half as fast for half of the time, it takes 4/3 as long and not 3/2.
    """
    return statistics.harmonic_mean([one.cpu_s for one in usages])


def _memory_mb(usages: list[Usage]) -> float:
    return Spread.of(one.memory_mb for one in usages).median
