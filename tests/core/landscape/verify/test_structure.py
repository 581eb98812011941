"""The definition of the database, word for word, and its pages."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from tests.core.landscape.verify.conftest import Scene, found_by

from elspeth.core.landscape.verify.structure import check_structure


def found(scene: Scene) -> list[tuple[str, str, str]]:
    reader = scene.reader()
    return [(one.where, one.place, one.message) for one in found_by(lambda step: check_structure(reader, step))]


def test_a_database_as_this_program_makes_it_has_nothing_to_be_found(scene: Scene) -> None:
    assert [] == found(scene)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP TRIGGER seals_no_delete", ("schema", "trigger seals_no_delete", "it is missing")),
        ("DROP INDEX runs_by_id", ("schema", "index runs_by_id", "it is missing")),
        ("CREATE VIEW mine AS SELECT 1", ("schema", "view mine", "it does not belong here")),
        ("ALTER TABLE calls ADD COLUMN more TEXT", ("schema", "table calls", "it was defined anew")),
    ],
)
def test_what_is_defined_otherwise_is_named(scene: Scene, statement: str, expected: tuple[str, str, str]) -> None:
    with closing(sqlite3.connect(scene.trail.database)) as connection:
        connection.execute(statement)

    assert [expected] == found(scene)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE rows SET line = NULL WHERE row_index = 0", "NULL value in rows.line"),
        ("UPDATE rows SET line = 'x' WHERE row_index = 0", "non-INTEGER value in rows.line"),
    ],
)
def test_values_that_the_definition_forbids_are_found_by_sqlite(scene: Scene, statement: str, message: str) -> None:
    scene.change(statement)

    assert [("database", "audit.db", message)] == found(scene)
