"""The row equation: every row is in one term, and what is missing is named."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.contracts import Outcome
from elspeth.core.landscape.tally import recount_outcomes, row_equation


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
