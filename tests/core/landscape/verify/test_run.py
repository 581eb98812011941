"""Nine steps over one run: what holds passes, what cannot be read is a finding."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene

from elspeth.core.landscape import SealFolder
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
