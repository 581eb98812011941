"""The tree, the seals and who signed them."""

from __future__ import annotations

import pytest
from tests.core.landscape.verify.conftest import Scene

from elspeth.contracts import RunStatus
from elspeth.core.landscape import SealFolder
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.verify import Brought, Finding, Step, Strength, verify_run
from elspeth.core.notes import SigningKey

UNSEALED = "no seal covers them: their process was killed before it sealed them, or they were added"


def step(scene: Scene, number: int, *, brought: Brought | None = None) -> Step:
    return scene.verify(brought).steps[number - 1]


def notes(scene: Scene) -> list[str]:
    return SealFolder.beside(scene.trail.database).notes(scene.run.run_id)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE seals SET at = at - 1 WHERE seal_no = 1",
            Finding("seals", "1", "its columns are not what its note says"),
        ),
        (
            "UPDATE seals SET at = 1 << 62 WHERE seal_no = 1",
            Finding("seals", "1", "its columns are not what its note says"),
        ),
        (
            "UPDATE seals SET root = NULL WHERE seal_no = 1",
            Finding("seals", "1", "its columns are not what its note says"),
        ),
        (
            "DELETE FROM seals WHERE seal_no = 0",
            Finding("seals", "0", "there is no such seal, but there are later ones"),
        ),
        ("DELETE FROM commits WHERE commit_no = 2", Finding("commits", "2", "missing: seal 1 tells of 3 commits")),
        ("DELETE FROM seals", Finding("commits", "0 to 2", UNSEALED)),
        (
            "UPDATE commits SET leaf_count = 1 WHERE commit_no = 0",
            Finding("commits", "0 to 0", "they are not those that seal 0 tells of"),
        ),
        (
            "UPDATE seals SET note = note || (SELECT substr(note, instr(note, char(10, 10)) + 2) FROM seals)",
            Finding("seals", "0", "it has 2 signatures, and is written with one"),
        ),
    ],
)
def test_a_seal_must_tell_of_the_tree(scene: Scene, statement: str, expected: Finding) -> None:
    scene.change(statement)

    assert expected in step(scene, 5).findings


@pytest.mark.parametrize("note", ["NULL", "x'00'", "'no note'"])
def test_a_note_that_cannot_be_read_is_named(scene: Scene, note: str) -> None:
    scene.change(f"UPDATE seals SET note = {note} WHERE seal_no = 1")

    (found, *_) = step(scene, 5).findings
    assert ("seals", "1", True) == (found.where, found.place, found.message.startswith("its note cannot be read"))


def test_a_gap_in_the_commits_ends_the_tree(scene: Scene) -> None:
    scene.change("DELETE FROM commits WHERE commit_no = 1")

    assert [Finding("commits", "1", "there is no such commit, but there is commit 2")] == step(scene, 4).findings


def test_the_file_of_the_seals_must_have_the_same_notes(scene: Scene) -> None:
    path = SealFolder.beside(scene.trail.database).file(scene.run.run_id)
    first, second = notes(scene)

    for kept, place in (
        ([second, first], f"{path.name} seal 0"),
        ([first], f"{path.name} seal 1"),
        ([first, second, second], "2"),
        ([first, second[:-9]], f"{path.name} seal 1"),
    ):
        path.write_text("".join(kept))
        assert [place] == [finding.place for finding in step(scene, 5).findings]
    path.write_text("".join([first, second[:-9]]))
    assert ["it is cut short in the file"] == [finding.message for finding in step(scene, 5).findings]
    path.write_bytes(b"\xff")
    assert [str(path)] == [finding.place for finding in step(scene, 5).findings]


def test_a_seal_that_a_live_run_makes_while_it_is_verified_is_no_difference(scene: Scene) -> None:
    reader = scene.reader()
    folder = SealFolder.beside(scene.trail.database)
    with reader.snapshot():
        reader.run("latest")
        scene.recorder.add_run_event(RunStatus.RUNNING)
        scene.recorder.journal.commit_durably(seal="minute")
        found = verify_run(reader, scene.run, brought=Brought(), folder=folder).steps[4]

    assert 3 == len(notes(scene))
    assert ([], True) == (found.findings, "sealed while it was verified" in found.notes[0])


def test_a_seal_on_its_way_to_the_file_is_no_difference_while_a_process_is_at_work(scene: Scene) -> None:
    first, _ = notes(scene)
    path = SealFolder.beside(scene.trail.database).file(scene.run.run_id)
    path.write_text(first)

    with RunLock(scene.trail.database.parent, scene.run.run_id):
        assert [] == step(scene, 5).findings
    assert [f"{path.name} seal 1"] == [finding.place for finding in step(scene, 5).findings]


def test_commits_that_no_seal_covers_are_a_difference_where_a_process_ended_by_itself(scene: Scene) -> None:
    scene.recorder.journal.commit_durably()
    assert [Finding("commits", "3 to 3", UNSEALED)] == step(scene, 5).findings

    with RunLock(scene.trail.database.parent, scene.run.run_id):
        assert ([], ["1 commits after the last seal are not sealed"]) == (step(scene, 5).findings, step(scene, 5).notes)
    scene.recorder.add_run_event(RunStatus.RUNNING)
    scene.recorder.journal.commit_durably()
    assert ([], ["2 commits after the last seal are not sealed"]) == (step(scene, 5).findings, step(scene, 5).notes)


def test_without_their_file_the_seals_of_the_database_are_checked_and_that_is_noted(scene: Scene) -> None:
    SealFolder.beside(scene.trail.database).file(scene.run.run_id).unlink()
    checked = step(scene, 5)

    assert ([], "2 seals") == (checked.findings, checked.checked)
    assert "only the database tells of them" in checked.notes[0]


def test_nobodys_key_is_noted_a_strangers_is_a_difference(scene: Scene) -> None:
    stranger = Brought(known_keys=[SigningKey.generate().verifier])

    assert ("nothing", []) == (step(scene, 6).checked, step(scene, 6).findings)
    assert [("seals", "0"), ("seals", "1")] == [(f.where, f.place) for f in step(scene, 6, brought=stranger).findings]


def test_a_checkpoint_is_of_this_tree_and_among_its_seals(scene: Scene) -> None:
    old, last = notes(scene)
    assert Strength.ANCHORED is scene.verify(Brought(checkpoints=[old])).strength
    assert Strength.ANCHORED is scene.verify(Brought(checkpoints=[old, last])).strength

    scene.change("UPDATE seals SET reason = 'x' WHERE seal_no = 1")
    assert [Finding("seals", "3 commits", "missing: there is no seal like the checkpoint brought")] == step(
        scene, 6, brought=Brought(checkpoints=[last])
    ).findings


def test_a_checkpoint_of_another_run_is_noted(scene: Scene) -> None:
    other = notes(scene)[0].replace(scene.run.run_id, "01other")

    assert "no checkpoint that was brought is of this run" in step(scene, 6, brought=Brought(checkpoints=[other])).notes
