"""Nine steps over one run: what holds passes, what cannot be read is a finding."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.landscape import SealFolder
from elspeth.core.landscape.retention import add_purge
from elspeth.core.landscape.verify import Brought, Strength, verify_run

NAMES = (
    "schema and triggers",
    "records",
    "payloads",
    "tree",
    "seals",
    "signatures",
    "row equation",
    "references",
    "outputs",
)


def test_a_run_as_it_was_written_passes_all_nine_steps(scene: Scene) -> None:
    report = scene.verify()

    assert list(enumerate(NAMES, start=1)) == [(step.number, step.name) for step in report.steps]
    assert [] == [finding for step in report.steps for finding in step.findings]
    assert ("completed", Strength.CONSISTENT) == (report.status, report.strength)
    assert "19 leaves in 3 commits" == report.steps[1].checked
    assert report.steps[2].checked.startswith("2 segments, ")
    assert ["3 in = 3 done", "3 versions of rows, 1 bodies and lines", "1 files"] == [
        step.checked for step in report.steps[6:]
    ]


def test_each_step_is_told_when_it_ends(scene: Scene) -> None:
    heard: list[str] = []
    folder = SealFolder.beside(scene.trail.database)
    verify_run(
        scene.reader(), scene.run, brought=Brought(), folder=folder, on_step=lambda step: heard.append(step.name)
    )

    assert list(NAMES) == heard


def test_a_purge_while_a_run_is_verified_is_no_difference(scene: Scene) -> None:
    reader = scene.reader()
    with reader.snapshot():
        reader.run("latest")
        add_purge(scene.recorder.journal, PurgeAction.PURGING, who="me", why="old", payload_class=PayloadClass.ROWS)
        scene.recorder.journal.commit_durably(seal="purge")
        (scene.run.payload_folder / "rows.zst").unlink()
        report = verify_run(reader, scene.run, brought=Brought(), folder=SealFolder.beside(scene.trail.database))
        assert [] == [finding for step in report.steps for finding in step.findings]
        assert ["payloads were purged while the run was verified"] * 2 == [
            step.notes[0] for step in report.steps if step.name in {"payloads", "references"}
        ]
        next(scene.run.payload_folder.iterdir()).unlink()
        assert 1 == len(scene.verify().steps[2].findings)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE run_events SET status = 99",
        "UPDATE run_events SET detail_json = '['",
        "UPDATE run_events SET detail_json = replace(hex(zeroblob(100000)), '00', '[')",
        "UPDATE run_events SET status = NULL",
    ],
)
def test_a_status_that_cannot_be_read_is_a_finding_of_its_table(scene: Scene, statement: str) -> None:
    scene.change(statement)
    report = scene.verify()

    assert "unknown" == report.status
    assert [("run_events", "0")] == [(finding.where, finding.place) for finding in report.steps[1].findings]
    assert 9 == len(report.steps)
