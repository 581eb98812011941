"""Making and opening the database."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail, answer_of

from elspeth.contracts import MissingTrailError, RunError, TrailError
from elspeth.core.landscape import LandscapeReader, create_database
from elspeth.core.landscape.database import connect_reader, connect_writer
from elspeth.core.landscape.schema import EVIDENCE, TABLES
from elspeth.core.landscape.views import VIEWS

CREATE = "import sys; from pathlib import Path; from elspeth.core.landscape import create_database\n"


def test_it_is_made_with_its_folder_tables_and_views(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.db"
    create_database(path)

    with LandscapeReader(path) as reader:
        made = {name for (name,) in reader.query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        assert {entry.name for entry in TABLES} | set(VIEWS) == made
        assert [("wal",)] == reader.query("PRAGMA journal_mode")


def test_making_it_again_changes_nothing(trail: Trail) -> None:
    run = trail.new_run()
    create_database(trail.database)

    assert [(run.run_id,)] == trail.query("SELECT run_id FROM runs")


def test_many_processes_make_it_at_the_same_time(tmp_path: Path, python: Callable[..., subprocess.Popen[str]]) -> None:
    path = tmp_path / "audit.db"
    script = CREATE + "sys.stdin.read(1); create_database(Path(sys.argv[1])); print('made')"
    processes = [python(script, path) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go")
        process.stdin.flush()

    assert ["made\n"] * 4 == [answer_of(process) for process in processes]
    with LandscapeReader(path) as reader:
        assert [(len(TABLES),)] == reader.query("SELECT count(*) FROM sqlite_master WHERE type = 'table'")


@pytest.mark.parametrize("use", [connect_reader, connect_writer, create_database])
def test_another_schema_version_is_refused(use: Callable[[Path], object], trail: Trail) -> None:
    create_database(trail.database)
    with sqlite3.connect(trail.database) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(TrailError, match="has schema version 99; this program reads version 5") as error:
        use(trail.database)
    assert "Use the version of elspeth that wrote it." == error.value.hint


@pytest.mark.parametrize("use", [connect_reader, connect_writer, create_database])
def test_a_file_that_is_no_database_is_refused_and_left_alone(use: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)

    with pytest.raises(TrailError, match=r"notes\.txt is not a database"):
        use(path)
    assert "not a database " * 100 == path.read_text()


@pytest.mark.parametrize("use", [connect_reader, connect_writer, create_database])
def test_another_programs_database_is_refused_and_left_alone(use: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(TrailError, match="is a database, but not a Landscape"):
        use(path)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_missing_database_is_never_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(MissingTrailError, match="there is no database at") as error:
        connect_reader(tmp_path / "audit.db")
    assert error.value.hint is not None
    with pytest.raises(RunError, match="cannot be opened"):
        connect_writer(tmp_path / "audit.db")
    with pytest.raises(MissingTrailError):
        connect_reader(tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_a_name_with_signs_that_mean_something_in_a_uri_is_just_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20 d.db"
    create_database(path)
    connect_writer(path).close()
    connect_reader(path).close()

    assert {"a?b#c%20 d.db"} == {file.name.removesuffix("-shm").removesuffix("-wal") for file in tmp_path.iterdir()}


def test_a_database_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.mkdir()

    with pytest.raises(RunError, match="cannot be"):
        create_database(path)


def test_a_reader_can_change_nothing(trail: Trail) -> None:
    trail.new_run()

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        trail.reader().connection.execute("DELETE FROM runs")


@pytest.mark.parametrize("table", EVIDENCE)
def test_records_are_only_ever_inserted(table: str, tmp_path: Path) -> None:
    create_database(tmp_path / "audit.db")
    connection = connect_writer(tmp_path / "audit.db")
    entry = next(entry for entry in TABLES if entry.name == table)
    record = [{"INTEGER": 1, "TEXT": "t", "BLOB": b"b"}[column.kind] for column in entry.columns]
    marks = ", ".join("?" * len(record))
    connection.execute(f"INSERT INTO {table} VALUES ({marks})", record)
    other = [*record[:-1], {"INTEGER": 2, "TEXT": "u", "BLOB": b"c"}[entry.columns[-1].kind]]
    if entry.columns[-1].name in entry.key:
        other = record
    refused = f"the Landscape is insert-only: {table}"

    with pytest.raises(sqlite3.IntegrityError, match=refused):
        connection.execute(f"UPDATE {table} SET run_no = 2")
    with pytest.raises(sqlite3.IntegrityError, match=refused):
        connection.execute(f"DELETE FROM {table}")
    with pytest.raises(sqlite3.IntegrityError, match=refused):
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", other)
    with pytest.raises(sqlite3.IntegrityError, match=refused):
        connection.execute(f"REPLACE INTO {table} VALUES ({marks})", other)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO UPDATE SET {entry.columns[-1].name} = 9", record
        )

    assert [tuple(record)] == connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()


def test_the_recorder_waits_for_the_disk_and_for_other_writers(trail: Trail) -> None:
    trail.new_run()
    connection = connect_writer(trail.database)

    settings = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in
                ("synchronous", "recursive_triggers", "journal_mode", "busy_timeout")}  # fmt: skip
    assert {"synchronous": 2, "recursive_triggers": 1, "journal_mode": "wal", "busy_timeout": 60_000} == settings
    connection.close()


@pytest.fixture
def sealed(trail: Trail) -> Iterator[Path]:
    """A folder for copies, readable for everybody, which its reader cannot write to."""
    trail.new_run()
    folder = Path(tempfile.mkdtemp(prefix="elspeth-sealed-"))
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def read_as_anybody(path: Path, python: Callable[..., subprocess.Popen[str]]) -> str:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from elspeth.contracts import TrailError; from elspeth.core.landscape import LandscapeReader\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try:\n"
        "  with LandscapeReader(Path(sys.argv[1])) as r: print(r.query('SELECT count(*) FROM runs'))\n"
        "except TrailError as e: print(e.message)\n"
    )
    return answer_of(python(script, path))


def test_a_copy_in_a_read_only_folder_can_be_read(
    trail: Trail, sealed: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    copy = shutil.copy(trail.database, sealed / "audit.db")
    copy.chmod(0o444)
    sealed.chmod(0o555)

    assert "[(1,)]\n" == read_as_anybody(copy, python)
    assert [copy] == list(sealed.iterdir())


def test_a_copy_whose_last_records_cannot_be_seen_is_refused_rather_than_read_without_them(
    trail: Trail, sealed: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    holding = trail.reader()
    recorder = trail.recorder(holding.run("latest"))
    recorder.journal.commit_durably()
    copy = shutil.copy(trail.database, sealed / "audit.db")
    shutil.copy(f"{trail.database}-wal", sealed / "audit.db-wal")
    sealed.chmod(0o555)

    assert "has records that are only in audit.db-wal" in read_as_anybody(copy, python)


def test_a_locked_database_is_not_read_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.db"
    create_database(path)
    monkeypatch.setattr("elspeth.core.landscape.database._BUSY_TIMEOUT_S", 0.05)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")

        with pytest.raises(TrailError, match="cannot be read: database is locked"):
            connect_reader(path)
        with pytest.raises(RunError, match="database is locked"):
            connect_writer(path)
    connection.close()
