"""What a complete run is sealed with, whatever died."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.engine.workbench import Project

from elspeth.contracts import TrailError
from elspeth.core.landscape import LandscapeReader, SealFolder
from elspeth.core.landscape.verify import Brought, verify_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.rows([{"n": number} for number in range(3)])
    project.pipeline()
    return project


def forget_last_seal(project: Project) -> None:
    """As if the process had died between its last commit and the seal."""
    with closing(sqlite3.connect(project.database)) as connection, connection:
        connection.execute("DROP TRIGGER seals_no_delete")
        connection.execute("DELETE FROM seals WHERE seal_no = (SELECT MAX(seal_no) FROM seals)")
        connection.execute(
            "CREATE TRIGGER seals_no_delete BEFORE DELETE ON seals "
            "BEGIN SELECT RAISE(ABORT, 'the Landscape is insert-only: seals'); END"
        )
    seals = SealFolder.beside(project.database)
    (run_id,) = seals.run_ids()
    seals.file(run_id).write_text("".join(seals.notes(run_id)[:-1]))


def test_a_run_that_completes_is_sealed_whole(project: Project) -> None:
    project.run()

    assert [("completed",)] == project.query("SELECT reason FROM seals ORDER BY seal_no DESC LIMIT 1")
    assert project.query("SELECT COUNT(*) FROM commits") == project.query("SELECT MAX(tree_size) FROM seals")


def test_a_resume_of_a_complete_run_seals_what_was_not_sealed(project: Project) -> None:
    project.run()
    forget_last_seal(project)
    assert project.query("SELECT COUNT(*) FROM commits") != project.query("SELECT MAX(tree_size) FROM seals")

    assert 0 == project.resume().exit_code
    assert project.query("SELECT COUNT(*) FROM commits") == project.query("SELECT MAX(tree_size) FROM seals")
    seals = project.query("SELECT COUNT(*) FROM seals")
    project.resume()
    assert seals == project.query("SELECT COUNT(*) FROM seals")
    with LandscapeReader(project.database) as reader:
        report = verify_run(reader, reader.run("latest"), brought=Brought(), folder=SealFolder.beside(project.database))
    assert [] == [finding for step in report.steps for finding in step.findings]


@pytest.mark.parametrize("kept", [0, 40])
def test_a_resume_of_a_complete_run_completes_the_file_of_its_seals(project: Project, kept: int) -> None:
    project.run()
    seals = SealFolder.beside(project.database)
    (run_id,) = seals.run_ids()
    *earlier, last = seals.notes(run_id)
    seals.file(run_id).write_text("".join([*earlier, last[:kept]]))

    assert 0 == project.resume().exit_code
    assert [*earlier, last] == seals.notes(run_id)
    assert [(len(earlier) + 1,)] == project.query("SELECT COUNT(*) FROM seals")


def test_neither_run_nor_resume_goes_on_with_an_older_copy(project: Project) -> None:
    project.run()
    older = project.database.read_bytes()
    second = project.run(new=True)
    project.database.with_name("audit.db-wal").unlink(missing_ok=True)
    project.database.with_name("audit.db-shm").unlink(missing_ok=True)
    project.database.write_bytes(older)

    with pytest.raises(TrailError, match=f"run {second.run_id} was sealed and is not in it"):
        project.run(new=True)
    with pytest.raises(TrailError, match=f"run {second.run_id} was sealed and is not in it"):
        project.resume()
