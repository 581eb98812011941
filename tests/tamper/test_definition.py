"""The definition of the database: triggers, views and indexes that are gone, or that lie."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from tests.tamper.trail import Copy, findings_of

from elspeth.core.landscape.verify import Finding

LYING_VIEW = (
    "DROP VIEW v_outcomes",
    "CREATE VIEW v_outcomes AS SELECT r.run_id, o.row_index, '' AS path, 'completed' AS outcome, NULL AS step, "
    "'done' AS sink, o.sink_line AS line, NULL AS reason FROM outcomes o JOIN runs r ON r.run_no = o.run_no",
)


@pytest.mark.parametrize(
    ("statements", "place", "message"),
    [
        (("DROP TRIGGER rows_no_update",), "trigger rows_no_update", "it is missing"),
        (
            (
                "DROP TRIGGER calls_no_delete",
                "CREATE TRIGGER calls_no_delete BEFORE DELETE ON calls WHEN 0 BEGIN SELECT RAISE(ABORT, 'no'); END",
            ),
            "trigger calls_no_delete",
            "it was defined anew",
        ),
        (
            ("CREATE TRIGGER forger AFTER INSERT ON outcomes BEGIN UPDATE outcomes SET reason = 'x'; END",),
            "trigger forger",
            "it does not belong here",
        ),
        (("DROP VIEW v_calls",), "view v_calls", "it is missing"),
        (LYING_VIEW, "view v_outcomes", "it was defined anew"),
        (("DROP INDEX calls_by_batch",), "index calls_by_batch", "it is missing"),
        (
            ("DROP INDEX calls_by_batch", "CREATE INDEX calls_by_batch ON calls (run_no, batch_no) WHERE call_no < 3"),
            "index calls_by_batch",
            "it was defined anew",
        ),
        (("CREATE TABLE mine (x)",), "table mine", "it does not belong here"),
        (("ALTER TABLE rows ADD COLUMN extra TEXT",), "table rows", "it was defined anew"),
    ],
)
def test_what_defines_the_database_is_held_word_for_word(
    trail: Copy, statements: tuple[str, ...], place: str, message: str
) -> None:
    with closing(sqlite3.connect(trail.database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()

    assert Finding("schema", place, message) in findings_of(trail.verify(1))


def test_an_index_that_lacks_records_is_found_though_its_definition_is_the_old_one(trail: Copy) -> None:
    with closing(sqlite3.connect(trail.database, isolation_level=None)) as connection:
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'calls_by_batch'").fetchall()
        connection.execute("DROP INDEX calls_by_batch")
        connection.execute(f"{sql} WHERE call_no < 3")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'calls_by_batch'", (sql,))

    found = findings_of(trail.verify(1))
    assert ("database", "audit.db") == (found[0].where, found[0].place)
    assert "missing from index calls_by_batch" in found[0].message
