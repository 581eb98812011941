"""A run that dies at any of its effects, and goes on, comes to the same end and pays for nothing twice.

`ELSPETH_CRASH_POINTS=all` tries every moment; without it a sample, which moves with nothing but the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.crash.conftest import KILLED_AT, Unkilled
from tests.crash.invariants import Aftermath, check_outputs
from tests.crash.runner import Kind
from tests.crash.scene import ALL, ROWS, Moment, Runner, prepare, served

PARTS = range(6 if ALL else 1)
"""A kind's points are spread over so many tests, for workers to share."""
CREATING = ("files.create", "batches.create")
BATCHES = 6
LEAST_POINTS = 400

Record = Callable[[str, object], None]


def chosen(moments: Sequence[Moment], kind: Kind, part: int) -> list[Moment]:
    """The points of a kind: all of its part, or the first of each request that creates and one other."""
    points = [moment for moment in moments if moment.kind == kind]
    if ALL:
        return points[part :: len(PARTS)]
    place = (1 + list(Kind).index(kind)) * len(points) // (1 + len(Kind))
    creating = [next(p for p in points if p.subject == subject) for subject in CREATING if points[0].subject]
    return sorted({points[place], *creating})


def test_every_kind_of_effect_has_its_points(unkilled: Unkilled) -> None:
    kinds = Counter(moment.kind for moment in unkilled.moments)
    requests = Counter(moment.subject for moment in unkilled.moments if moment.kind == Kind.ACTED)
    assert set(Kind) == set(kinds)
    assert LEAST_POINTS <= kinds.total()
    assert {kinds[Kind.UNSENT]} == {kinds[Kind.ACTED], kinds[Kind.ANSWERED]}
    assert {"files.create", "batches.create", "batches.retrieve", "files.content"} <= set(requests)
    assert requests["files.create"] == requests["batches.create"] == BATCHES


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", Kind, ids=str)
def test_a_run_killed_at_an_effect_comes_to_the_same_end_and_pays_once(
    kind: Kind, part: int, tmp_path: Path, runner: Runner, unkilled: Unkilled, record_property: Record
) -> None:
    for point in chosen(unkilled.moments, kind, part):
        with served() as simulator:
            project = prepare(tmp_path / str(point.number), simulator)
            runner.kill(project, "run", point)
            print("killed:", *point)
            arrived = Counter(entry["operation"] for entry in simulator.journal() if entry["status"] is not None)
            check_request(point, arrived, unkilled.moments)
            runner.go_on(project)
            check_outputs(project.folder / "out", unkilled.outputs)
            Aftermath(project.database, simulator).check(rows=ROWS, deaths=1)
        record_property(KILLED_AT, str(kind))


def check_request(point: Moment, arrived: Counter[str], moments: Sequence[Moment]) -> None:
    """The provider has had as many of these requests as there were before this one, and this one once it acted."""
    if not point.subject:
        return
    before = [m for m in moments if m.kind == point.kind and m.number < point.number and m.subject == point.subject]
    assert len(before) + (point.kind != Kind.UNSENT) == arrived[point.subject]
