"""The row equation: every row is in one term, and what is missing is named."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.landscape.conftest import Trail

from elspeth.contracts import Outcome
from elspeth.core.landscape.buffers import OutcomeKind
from elspeth.core.landscape.tally import recount_outcomes, row_equation

NODES = st.sampled_from([None, 1])
OUTCOMES = st.sampled_from([Outcome.COMPLETED, Outcome.FAILED]).map(int)
KINDS = st.tuples(OUTCOMES, NODES, NODES, st.sampled_from([None, "", "schema", "SCHEMA"]))
"""So few that a run has some that differ in one thing only."""

TOO_MANY: list[OutcomeKind] = [(0, None, None, str(number)) for number in range(9)]
"""Kinds that no run has, and more of them than are counted in one pass."""


def count(outcome: str, rows: int, *, sink: str | None = None, reason: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "step": None, "sink": sink, "reason": reason, "rows": rows}


@pytest.mark.parametrize(
    ("rows", "counts", "expected"),
    [
        (0, [], "0 in = 0"),
        (3, [], "3 in = 3 on their way"),
        (
            200_000,
            [
                count("completed", 199_688, sink="triaged"),
                count("failed", 201, reason="content_filter"),
                count("failed", 111, sink="failed", reason="schema"),
            ],
            "200,000 in = 199,688 triaged + 201 failed (content_filter) + 111 failed (schema)",
        ),
        (
            7,
            [
                count("completed", 2, sink="out"),
                count("routed", 1, sink="out"),
                count("quarantined", 1, reason="type"),
            ],
            "7 in = 3 out + 1 quarantined (type) + 3 on their way",
        ),
    ],
)
def test_the_terms_add_up_to_the_rows(rows: int, counts: list[dict[str, Any]], expected: str) -> None:
    assert row_equation(rows, counts) == expected


@pytest.mark.parametrize("reasons", [1, 20])
def test_outcomes_counted_by_kind_are_those_that_the_run_has(trail: Trail, reasons: int) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.add_outcomes([0, 1], outcome=Outcome.COMPLETED, step_no=None, sink_no=3, sink_lines=[2, 3])
    recorder.add_outcomes([2], outcome=Outcome.COMPLETED, step_no=None, sink_no=None, sink_lines=[0])
    for number in range(reasons):
        recorder.add_outcomes(
            [3 + number], outcome=Outcome.FAILED, step_no=1, sink_no=None, sink_lines=[0], reason=f"r{number}"
        )
    recorder.journal.commit_durably()
    completed, failed = int(Outcome.COMPLETED), int(Outcome.FAILED)
    every = {(completed, None, 3, None): 2, (completed, None, None, None): 1}
    every |= {(failed, 1, None, f"r{number}"): 1 for number in range(reasons)}

    assert (3 + reasons, every) == recount_outcomes(trail.reader(), run.run_no, every)
    assert (3 + reasons, {(failed, 1, None, "r0"): 1}) == recount_outcomes(
        trail.reader(), run.run_no, [(failed, 1, None, "r0")]
    )
    assert (3 + reasons, {}) == recount_outcomes(trail.reader(), run.run_no, ())


@settings(max_examples=25, deadline=None)
@given(st.lists(KINDS, min_size=6, max_size=16, unique=True), st.data())
def test_a_few_kinds_are_counted_as_their_groups_are(known: list[OutcomeKind], data: st.DataObject) -> None:
    ended = data.draw(st.lists(st.sampled_from(known), max_size=30))
    kinds = data.draw(st.lists(st.sampled_from(known), max_size=8, unique=True))
    with TemporaryDirectory() as folder, closing(Trail(Path(folder) / "audit.db")) as trail:
        run = trail.new_run()
        recorder = trail.recorder(run)
        for row, (outcome, step_no, sink_no, reason) in enumerate(ended):
            recorder.add_outcomes(
                [row], outcome=Outcome(outcome), step_no=step_no, sink_no=sink_no, sink_lines=[row + 1], reason=reason
            )
        recorder.journal.commit_durably()
        grouped = recount_outcomes(trail.reader(), run.run_no, TOO_MANY)
        few = recount_outcomes(trail.reader(), run.run_no, kinds)

    assert (len(ended), Counter(ended)) == grouped
    assert (len(ended), {kind: grouped[1].get(kind, 0) for kind in kinds}) == few
