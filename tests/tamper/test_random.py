"""Whatever is drawn: a record and a change of it, a byte of a file. Found with its place, and never a traceback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.workbench import Project
from tests.tamper.mutations import CHANGES, Change, Record, insider, is_named, records_of
from tests.tamper.trail import Copy, findings_of

from elspeth.contracts import ElspethError
from elspeth.core.landscape.columns import Column, Table
from elspeth.core.landscape.schema import TABLES

RECORDS = 120
FILES = 60
PAGES = 100
"""How many are drawn of each."""

QUICK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
COLUMNS = [(entry, column, change) for entry in TABLES for column in entry.columns for change in CHANGES]


@pytest.fixture(scope="session")
def workplace(original: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one copy after another is made: nothing in it outlives an example."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / ".elspeth").mkdir()
    return folder


def fresh(original: Copy, workplace: Path) -> Copy:
    """The trail as it was, its payloads not to be changed."""
    state = workplace / ".elspeth"
    shutil.rmtree(state)
    shutil.copytree(original.database.parent, state, ignore=shutil.ignore_patterns("payloads"))
    (state / "payloads").symlink_to(original.database.parent / "payloads")
    return Copy(Project(workplace))


@settings(max_examples=RECORDS, **QUICK)
@given(case=st.sampled_from(COLUMNS), number=st.integers(0, 60), run_no=st.sampled_from([1, 2, 3]))
def test_any_change_of_any_record_of_any_run(
    original: Copy, workplace: Path, case: tuple[Table, Column, Change], number: int, run_no: int
) -> None:
    entry, column, change = case
    trail = fresh(original, workplace)
    with insider(trail.database, is_lax=change.is_lax) as connection:
        records = records_of(connection, entry, run_no)
        record = records[number % len(records)] if records else None
        changed = None if record is None else change.apply(connection, entry, column, record)
    verification = trail.verify(None if column.name == "run_no" or entry.name == "runs" else run_no)
    if record is None or changed is None:
        assert [] == findings_of(verification)
        return

    assert is_named(verification, entry, [record, changed]), findings_of(verification)


@settings(max_examples=FILES, **QUICK)
@given(data=st.data())
def test_any_byte_of_any_file_beside_the_database(original: Copy, workplace: Path, data: st.DataObject) -> None:
    """Payloads and seals of all runs, the outputs of the run that made them last."""
    state = original.database.parent
    outputs = original.project.folder / "out"
    files = sorted(
        path
        for folder in (state / "payloads", state / "seals", outputs)
        for path in folder.rglob("*")
        if path.is_file()
    )
    path = data.draw(st.sampled_from([path for path in files if not path.name.endswith(".part")]))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    bits = data.draw(st.integers(1, 255))
    path.write_bytes(content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :])
    try:
        found = findings_of(original.verify())
    finally:
        path.write_bytes(content)

    where = "outputs" if path.parent == outputs else path.parent.name if path.parent.name == "seals" else "payloads"
    assert any(where == finding.where and path.name in finding.place for finding in found), (path, at, bits, found)


@settings(max_examples=PAGES, **QUICK)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), length=st.sampled_from([1, 1, 16, 5_000]))
def test_any_byte_of_the_database_file(original: Copy, workplace: Path, place: float, bits: int, length: int) -> None:
    """An error with a message, or a finding; where there is neither, every record is what it was."""
    trail = fresh(original, workplace)
    content = bytearray(trail.database.read_bytes())
    at = int(place * len(content))
    for number in range(at, min(at + length, len(content))):
        content[number] ^= bits
    trail.database.write_bytes(content)
    with suppress(ElspethError):
        if not findings_of(trail.verify()):
            assert everything(original.database) == everything(trail.database)


def everything(database: Path) -> list[list[Record]]:
    with closing(sqlite3.connect(database)) as connection:
        return [records_of(connection, entry) for entry in TABLES]
