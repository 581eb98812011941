"""What records point to: other records, words, and bytes with their hashes."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene

from elspeth.contracts import PayloadClass
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.landscape.verify.references import check_references

PASSAGE = "INSERT INTO passages VALUES (1, 1, x'', 0, 9"
STEP = "INSERT INTO journeys VALUES (1, 0, 9, 0"
STEP0 = "INSERT INTO journeys VALUES (1, 0, 90, 0"
SAME = ", 0, 0, 0, 1, NULL, NULL, 5, 6)"
TWO = ", 1, 0, 0, 1, NULL, NULL, 5, 6)"


def check(scene: Scene, *, purged: frozenset[PayloadClass] = frozenset()) -> Step:
    step = Step(8, "references")
    check_references(scene.reader(), scene.run, step, purged=purged)
    return step


@pytest.mark.parametrize(
    ("statement", "where", "place"),
    [
        ("DELETE FROM nodes WHERE node_no = 1", "outcomes", "sink_no 1"),
        ("INSERT INTO edges VALUES (1, 0, 'next', 0, 7)", "edges", "to_no 7"),
        ("DELETE FROM segments WHERE segment_no = 2", "frames", "segment_no 2"),
        ("INSERT INTO row_keys VALUES (1, 'k', 0, 9)", "row_keys", "row_index 9"),
        ("UPDATE nodes SET kind = 77 WHERE node_no = 0", "nodes", "kind 77"),
        ("INSERT INTO passages VALUES (1, 1, x'', 0, 9, NULL, NULL)", "passages", "commit 0, journey 9"),
        (f"{PASSAGE}, NULL, NULL); {STEP}, 1, 0, 0, 1, NULL, NULL, 5, 6)", "journeys", "commit 0, journey 9"),
        (f"{PASSAGE}, NULL, NULL); {STEP}, 0, 0, 0, 1, NULL, 0, 5, 6)", "passages", "commit 0, journey 9"),
        (f"{PASSAGE}, x'00', NULL); {STEP}, 0, 0, 0, 1, NULL, 0, 5, 6)", "passages", "commit 0, journey 9"),
        (f"{PASSAGE}, NULL, NULL); {STEP}, 0, 7, 0, 1, NULL, NULL, 5, 6)", "journeys", "node_no 7"),
        (f"{PASSAGE}, NULL, NULL); {PASSAGE}0, NULL, NULL); {STEP}{SAME}; {STEP0}{SAME}", "passages", "row 1"),
        (f"{PASSAGE}, NULL, NULL); {STEP}{TWO}; {STEP[:-1]}1{TWO}", "passages", "row 1"),
        ("UPDATE run_files SET hash = zeroblob(32)", "run_files", "pipeline.yaml ref"),
        ("UPDATE run_files SET ref = 'there'", "run_files", "pipeline.yaml ref"),
        ("UPDATE run_files SET ref = '1:0:999'", "run_files", "pipeline.yaml ref"),
        ("UPDATE rows SET data_hash = zeroblob(32) WHERE row_index = 1", "rows", "row 1"),
        (
            "INSERT INTO batch_members VALUES (1, 2, x'', 1, 1, 0, 2, 0, 0, 9, zeroblob(32))",
            "batch_members",
            "row 2 in batch 1",
        ),
    ],
)
def test_what_is_not_there_is_named_by_who_points_to_it(scene: Scene, statement: str, where: str, place: str) -> None:
    scene.change(*statement.split("; "))

    assert (where, place) in {(finding.where, finding.place) for finding in check(scene).findings}


def test_bytes_of_a_purged_class_are_not_looked_for(scene: Scene) -> None:
    for path in scene.run.payload_folder.iterdir():
        path.unlink()

    assert 4 == check(scene).finding_count
    assert 0 == check(scene, purged=frozenset({PayloadClass.ROWS, PayloadClass.FILES})).finding_count
