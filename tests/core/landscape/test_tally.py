"""The row equation: every row is in one term, and what is missing is named."""

from __future__ import annotations

from typing import Any

import pytest

from elspeth.core.landscape.tally import row_equation


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
