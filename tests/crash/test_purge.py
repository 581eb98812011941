"""A purge that dies at any of its effects is finished by the next one, and touches nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.crash.conftest import KILLED_AT
from tests.crash.runner import Kind, Removal
from tests.crash.scene import Moment, Runner, prepare, served
from tests.engine.workbench import Project

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.landscape import LandscapeReader, SealFolder
from elspeth.core.landscape.retention import grade_of, is_sealed, purges_of
from elspeth.core.landscape.seals import run_tree
from elspeth.core.notes import parse_checkpoint, parse_note

KINDS = (Kind.UNSYNCED, Kind.SYNCED, Kind.UNCOMMITTED, Kind.COMMITTED, *Removal)
LEAST_POINTS = 40

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Scene:
    """Two completed runs, of which the first is purged, and the moments of a purge that nobody kills."""

    project: Project
    moments: list[Moment]

    def copy(self, folder: Path) -> Project:
        shutil.copytree(self.project.folder, folder)
        return Project(folder)


@pytest.fixture(scope="module")
def scene(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("purge")
    with served() as simulator:
        project = prepare(folder / "project", simulator)
        for _ in range(2):
            assert (0, "") == (ended := runner.order(project, "run")).code_and_error, ended
    unkilled = Scene(project, []).copy(folder / "unkilled")
    ended = runner.order(unkilled, "purge")
    assert (0, "") == ended.code_and_error
    check_purged(unkilled)
    return Scene(project, ended.moments)


def payloads(project: Project, run_no: int) -> Mapping[str, bytes]:
    with LandscapeReader(project.database) as reader:
        folder = reader.run_numbered(run_no).payload_folder
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_intent(project: Project, before: Mapping[str, bytes]) -> None:
    """No file is gone of which the trail does not say so, in a seal."""
    with LandscapeReader(project.database) as reader:
        run = reader.run_numbered(1)
        begun = {purge.payload_class for purge in purges_of(reader, run) if purge.action is PurgeAction.PURGING}
        assert begun in (set(), set(PayloadClass))
        if set(before) - set(payloads(project, 1)):
            assert begun
            assert "attributable" == grade_of(reader, run)
            assert any("reason purge\n" in note for note in SealFolder.beside(project.database).notes(run.run_id))


def check_purged(project: Project) -> None:
    assert {} == payloads(project, 1)
    with LandscapeReader(project.database) as reader:
        run = reader.run_numbered(1)
        counts = Counter((purge.action, purge.payload_class) for purge in purges_of(reader, run))
        expected = {(action, one): 1 for action in (PurgeAction.PURGING, PurgeAction.PURGED) for one in PayloadClass}
        assert expected == counts
        assert is_sealed(reader, run)
        last = parse_checkpoint(parse_note(SealFolder.beside(project.database).notes(run.run_id)[-1]).text)
        tree = run_tree(reader, run)
        assert (last.size, last.root) == (tree.size, tree.root())
        assert "replayable" == grade_of(reader, reader.run_numbered(2))


def test_a_purge_has_its_points(scene: Scene) -> None:
    kinds = Counter(moment.kind for moment in scene.moments)
    assert set(KINDS) == set(kinds)
    assert LEAST_POINTS <= kinds.total()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_purge_killed_at_an_effect_is_finished_by_the_next_one(
    kind: str, tmp_path: Path, runner: Runner, scene: Scene, record_property: Record
) -> None:
    points = [moment for moment in scene.moments if moment.kind == kind]
    before, others = payloads(scene.project, 1), payloads(scene.project, 2)
    for point in points:
        project = scene.copy(tmp_path / str(point.number))
        runner.kill(project, "purge", point)
        print("killed:", *point)
        check_intent(project, before)
        assert others == payloads(project, 2)
        ended = runner.order(project, "purge")
        assert (0, "") == ended.code_and_error
        check_purged(project)
        assert others == payloads(project, 2)
        record_property(KILLED_AT, str(kind))
