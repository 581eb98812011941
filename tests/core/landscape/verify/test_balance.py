"""Rows and their ends, counted three times: in the tables, in the last event, in the last commit."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene, found_by

from elspeth.core.landscape.verify.balance import check_balance


def places(scene: Scene) -> list[tuple[str, str]]:
    found = found_by(lambda step: check_balance(scene.reader(), scene.run, step))
    return [(finding.where, finding.place) for finding in found]


def test_a_run_whose_three_counts_agree_balances(scene: Scene) -> None:
    assert [] == places(scene)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM outcomes WHERE row_index = 1", [("rows", "1"), ("run_events", "RUN"), ("commits", "RUN")]),
        ("DELETE FROM rows WHERE row_index = 2", [("run_events", "RUN"), ("outcomes", "2")]),
        ("UPDATE outcomes SET outcome = 2 WHERE row_index = 0", [("run_events", "RUN"), ("commits", "RUN")]),
        ("UPDATE run_events SET detail_json = '{}'", [("run_events", "RUN")] * 2),
        ("UPDATE commits SET frontier_json = replace(frontier_json, ',3]', ',4]')", [("commits", "RUN")]),
    ],
)
def test_what_does_not_agree_is_named(scene: Scene, statement: str, expected: list[tuple[str, str]]) -> None:
    scene.change(statement)

    assert [(where, place.replace("RUN", scene.run.run_id)) for where, place in expected] == places(scene)


def test_an_unfinished_run_may_have_rows_on_their_way(scene: Scene) -> None:
    scene.change(
        "UPDATE run_events SET status = 2, detail_json = NULL",
        "DELETE FROM outcomes WHERE row_index = 2",
        "UPDATE commits SET frontier_json = replace(frontier_json, ',3]', ',2]')",
    )

    assert [] == places(scene)
