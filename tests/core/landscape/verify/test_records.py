"""Every leaf of every commit again (records.py), and the records of runs that there are not (strays.py)."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene, found_by

from elspeth.core.landscape.verify import Finding, stray_records
from elspeth.core.landscape.verify.records import check_records


def found(scene: Scene) -> list[Finding]:
    return found_by(lambda step: check_records(scene.reader(), scene.run, step))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE rows SET line = 9 WHERE row_index = 1",
            Finding("rows", "row 1", "it is not what was recorded (commit 1)"),
        ),
        (
            "DELETE FROM nodes WHERE node_no = 0",
            Finding("nodes", "commit 0, after run_files pipeline.yaml", "a record is missing"),
        ),
        (
            "INSERT INTO edges VALUES (1, 0, 'next', 0, 1)",
            Finding("edges", "0/next", "it was not in the commit (commit 0)"),
        ),
        (
            "UPDATE rows SET commit_no = 8 WHERE row_index = 2",
            Finding("rows", "row 2", "no commit speaks for it: there is none with the number 8"),
        ),
        (
            "UPDATE commits SET root = zeroblob(32) WHERE commit_no = 2",
            Finding(
                "commits", "2", "its root or its number of leaves is not that of its records, which are as they were"
            ),
        ),
        (
            "UPDATE commits SET leaf_hints = zeroblob(4) WHERE commit_no = 2",
            Finding("commits", "2", "its leaf_hints are not those of its records"),
        ),
        (
            "UPDATE commits SET table_checks_json = '{}' WHERE commit_no = 2",
            Finding("commits", "2", "its table_checks_json is not that of its records"),
        ),
        (
            "UPDATE commits SET nonce = NULL WHERE commit_no = 2",
            Finding("commits", "2", "commits 1/2: what it says of its leaves is not of the type of its columns"),
        ),
    ],
)
def test_what_is_wrong_is_named(scene: Scene, statement: str, expected: Finding) -> None:
    scene.change(statement)

    assert expected in found(scene)


def test_of_many_wrong_commits_only_the_first_are_searched(scene: Scene) -> None:
    for _ in range(3):
        scene.recorder.journal.commit()
    scene.recorder.journal.drain()
    scene.change("UPDATE commits SET at = at + 1")

    messages = [finding.message for finding in found(scene)]
    assert [f"it is not what was recorded (commit {number})" for number in range(3)] == messages[:3]
    assert ["its records are not those that its root was computed over"] * 3 == messages[3:]


def test_a_run_that_ended_before_its_first_commit_has_nothing_that_speaks_for_it(scene: Scene) -> None:
    other = scene.trail.new_run()

    assert [Finding("runs", "2", "no commit speaks for it: there is none with the number 0")] == found_by(
        lambda step: check_records(scene.reader(), other, step)
    )


def test_records_of_a_run_that_is_not_there_are_found_by_table(scene: Scene) -> None:
    scene.change("UPDATE edges SET run_no = 5", "UPDATE rows SET run_no = row_index + 7", "DELETE FROM runs")

    assert [(7, "rows"), (8, "rows"), (9, "rows")] == [
        (int(one.place.removeprefix("run ")), one.where) for one in stray_records(scene.reader(), {1})
    ]
