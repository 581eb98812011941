"""docs/audit-format.md says what the schema says, and its statements and commands work on a real run."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sqlite3
from contextlib import closing

import pytest
import zstandard
from tests.docs.conftest import DOCS, FinishedRun

from elspeth.core.landscape.definition import create_statements
from elspeth.core.landscape.schema import TABLES
from elspeth.core.landscape.views import VIEWS, view_statements

PAGE = DOCS / "audit-format.md"
QUESTIONS = re.findall(r"^\*\*(\d+)\. (.+?)\*\*.*?```sql\n(.+?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
ANSWERED_BY_NOTHING = "8"


def section(name: str) -> str:
    match = re.search(rf"^### `{name}`\n(.*?)(?=^##)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return match.group(1) if match else ""


def described_columns(name: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", section(name), re.MULTILINE)


def test_the_tables_are_those_of_the_schema() -> None:
    spec = importlib.util.spec_from_file_location("generate_audit_format", DOCS / "generate_audit_format.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    assert generator.with_tables(PAGE.read_text()) == PAGE.read_text(), "run: python docs/generate_audit_format.py"


def test_every_table_and_column_is_described() -> None:
    described = {table.name: tuple(described_columns(table.name)) for table in TABLES}

    assert {table.name: table.column_names for table in TABLES} == described


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_of_a_view_is_described(view: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in create_statements() + view_statements():
            connection.execute(statement)
        columns = [column[0] for column in connection.execute(f"SELECT * FROM {view}").description]

    assert columns == described_columns(view)


def test_there_are_ten_questions() -> None:
    assert [str(number) for number in range(1, 11)] == [number for number, _, _ in QUESTIONS]


@pytest.mark.parametrize(("number", "question", "sql"), QUESTIONS, ids=[number for number, _, _ in QUESTIONS])
def test_a_question_is_answered_by_sql_alone(number: str, question: str, sql: str, finished: FinishedRun) -> None:
    with closing(finished.connect()) as connection:
        answer = connection.execute(sql, {"run": finished.run_id, "row": 0}).fetchall()

    assert (answer == []) == (number == ANSWERED_BY_NOTHING), question


def test_every_row_is_accounted_for(finished: FinishedRun) -> None:
    sql = next(sql for number, _, sql in QUESTIONS if number == "2")
    with closing(finished.connect()) as connection:
        ((rows, ended, still_open),) = connection.execute(sql, {"run": finished.run_id}).fetchall()

    assert (finished.row_count, finished.row_count, 0) == (rows, ended, still_open)


def test_the_outputs_have_their_hashes(finished: FinishedRun) -> None:
    sql = next(sql for number, _, sql in QUESTIONS if number == "9")
    with closing(finished.connect()) as connection:
        outputs = connection.execute(sql, {"run": finished.run_id}).fetchall()

    for _, path, size, _, sha256 in outputs:
        data = (finished.folder / path).read_bytes()
        assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_prompt_and_the_reply_of_a_row_are_where_the_record_says(finished: FinishedRun) -> None:
    sql = next(sql for number, _, sql in QUESTIONS if number == "6")
    with closing(finished.connect()) as connection:
        places = connection.execute(sql, {"run": finished.run_id, "row": 0}).fetchall()

    assert [role for role, *_ in places] == [1, 2]
    for _, name, file_line, start, length, sha256 in places:
        content = finished.content(name)
        line = content[start : start + length]
        assert sha256 == hashlib.sha256(line).hexdigest()
        assert line == content.splitlines(keepends=True)[file_line - 1]


def test_a_batch_file_is_the_file_that_was_sent(finished: FinishedRun) -> None:
    with closing(finished.connect()) as connection:
        ((name,),) = connection.execute("SELECT name FROM segments WHERE role = 1").fetchall()
        ((sealed,),) = connection.execute(
            "SELECT json_extract(detail_json, '$.sha256') FROM batch_events WHERE event = 'sealed'"
        ).fetchall()
        ((sent,),) = connection.execute("SELECT request_hash FROM v_calls WHERE operation = 'files.create'").fetchall()

    assert hashlib.sha256(finished.content(name)).hexdigest() == sealed == sent


def test_a_body_is_found_by_its_reference(finished: FinishedRun) -> None:
    with closing(finished.connect()) as connection:
        names = dict(connection.execute("SELECT segment_no, name FROM segments").fetchall())
        calls = connection.execute("SELECT response_ref, response_hash FROM v_calls").fetchall()

    for reference, sha256 in calls:
        segment, start, length = map(int, reference.split(":"))
        body = finished.content(names[segment])[start : start + length]
        assert sha256 == hashlib.sha256(body).hexdigest()


def test_a_row_is_found_by_its_hash(finished: FinishedRun) -> None:
    lines = {hashlib.sha256(line).hexdigest() for line in finished.content("rows.zst").split(b"\n")}
    with closing(finished.connect()) as connection:
        hashes = connection.execute(
            "SELECT data_hash FROM v_rows WHERE outcome <> 'quarantined' "
            "UNION SELECT output_hash FROM v_states WHERE output_hash IS NOT NULL AND step <> 'source'"
        ).fetchall()

    assert len(hashes) > finished.row_count
    assert {sha256 for (sha256,) in hashes} <= lines


def test_a_frame_can_be_read_by_itself(finished: FinishedRun) -> None:
    with closing(finished.connect()) as connection:
        ((name, start, size),) = connection.execute(
            "SELECT s.name, f.stored_start, f.stored_size FROM frames f JOIN segments s USING (run_no, segment_no) "
            "WHERE s.name = 'rows.zst' AND f.first_row = 0 ORDER BY f.start LIMIT 1"
        ).fetchall()
    stored = (finished.payloads / name).read_bytes()[start : start + size]

    assert finished.content(name).startswith(zstandard.ZstdDecompressor().decompress(stored))


def test_extents_have_the_hashes_of_the_stored_bytes(finished: FinishedRun) -> None:
    with closing(finished.connect()) as connection:
        extents = connection.execute(
            "SELECT s.name, e.start, e.length, e.hash FROM extents e "
            "JOIN segments s ON s.run_no = e.run_no AND s.segment_no = e.file_no WHERE e.kind = 1"
        ).fetchall()

    assert extents
    for name, start, length, sha256 in extents:
        assert sha256 == hashlib.sha256((finished.payloads / name).read_bytes()[start : start + length]).digest()
