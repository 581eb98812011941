"""Segments against extents and frames (files.py), and outputs against artifacts (outputs.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.core.landscape.verify.conftest import OUTPUT, Scene, found_by

from elspeth.contracts import PayloadClass
from elspeth.core.landscape.verify.files import check_payloads
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.landscape.verify.outputs import check_outputs


def payloads(scene: Scene, *, purged: frozenset[PayloadClass] = frozenset()) -> Step:
    step = Step(3, "payloads")
    check_payloads(scene.reader(), scene.run, step, purged=purged)
    return step


def put_output(scene: Scene, data: bytes = OUTPUT) -> Path:
    scene.output.write_bytes(data)
    return scene.output


def test_bytes_that_were_added_are_a_difference_only_when_the_run_is_complete(scene: Scene) -> None:
    path = scene.run.payload_folder / "rows.zst"
    path.write_bytes(path.read_bytes() + b"more")
    size = path.stat().st_size - 4
    assert [("payloads", f"rows.zst byte {size}", "4 bytes were added to it")] == [
        (one.where, one.place, one.message) for one in payloads(scene).findings
    ]

    scene.change("UPDATE run_events SET status = 2")
    assert [] == payloads(scene).findings


def test_a_file_that_no_record_tells_of_is_only_noted(scene: Scene) -> None:
    (scene.run.payload_folder / "stranger").write_bytes(b"")
    step = payloads(scene)

    assert ([], ["1 files that no record tells of, the first stranger"]) == (step.findings, step.notes)


def test_segments_of_a_purged_class_are_not_looked_for(scene: Scene) -> None:
    (scene.run.payload_folder / "rows.zst").unlink()

    assert ["rows.zst"] == [finding.place for finding in payloads(scene).findings]
    assert [] == payloads(scene, purged=frozenset({PayloadClass.ROWS})).findings


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE frames SET start = 1 WHERE segment_no = 2", "it does not follow the frame before it"),
        ("UPDATE frames SET stored_start = 1 WHERE segment_no = 2", "it does not follow the frame before it"),
        ("UPDATE frames SET size = size + 1 WHERE segment_no = 2", "the frame at byte 0 has 27 bytes, not 28"),
        ("UPDATE frames SET stored_size = stored_size - 1 WHERE segment_no = 2", "the frame at byte 0 is broken"),
        ("DELETE FROM frames WHERE segment_no = 2", "frames tell of 0 of "),
    ],
)
def test_frames_that_do_not_fit_what_is_stored_are_found(scene: Scene, statement: str, message: str) -> None:
    scene.change(statement)

    (found,) = payloads(scene).findings
    assert ("frames", True) == (found.where, message in found.message)


class TestOutputs:
    """outputs.py: the file on the disk is the artifact."""

    def test_the_file_that_the_run_finished_is_compared(self, scene: Scene) -> None:
        step = Step(9, "outputs")
        put_output(scene)
        check_outputs(scene.reader(), scene.run, step)

        assert ([], [], "1 files") == (step.findings, step.notes, step.checked)

    @pytest.mark.parametrize(
        ("data", "place", "message"),
        [
            (OUTPUT[:-1] + b"x", "bytes 0 to 26", "they are not what the run wrote"),
            (OUTPUT + b"x", "byte 27", "it has 28 bytes, and the run wrote 27"),
            (b"", "bytes 0 to 26", "they are not what the run wrote"),
        ],
    )
    def test_another_file_is_a_difference(self, scene: Scene, data: bytes, place: str, message: str) -> None:
        path = put_output(scene, data)
        (found,) = found_by(lambda step: check_outputs(scene.reader(), scene.run, step))

        assert ("outputs", f"{path} {place}", message) == (found.where, found.place, found.message)

    def test_a_file_that_is_not_here_is_only_noted(self, scene: Scene) -> None:
        step = Step(9, "outputs")
        scene.output.unlink()
        check_outputs(scene.reader(), scene.run, step)

        assert ([], [f"done: {scene.output} is not here, so it was not compared"]) == (step.findings, step.notes)

    def test_an_artifact_is_as_long_as_what_was_appended(self, scene: Scene) -> None:
        put_output(scene)
        scene.change("UPDATE artifacts SET size = 26")
        found = found_by(lambda step: check_outputs(scene.reader(), scene.run, step))

        assert ["it has 26 bytes, and the commits appended 27"] == [finding.message for finding in found]
