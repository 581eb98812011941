"""Every column of every table, every table: whatever is changed, taken away, added or exchanged is found and named.

The cases come from the schema's description, so a new table or column is covered without a word here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from tests.tamper.conftest import CopyTrail
from tests.tamper.mutations import (
    Record,
    change_one,
    changes_of,
    delete_one,
    insert_one,
    insider,
    is_named,
    swap_two,
)
from tests.tamper.trail import Copy, findings_of

from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.schema import EVIDENCE, table


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_changed_value_is_found_in_every_column(name: str, original: Copy, copy_trail: CopyTrail) -> None:
    """Another value, another word, none, none where one must be, one of another type."""
    entry = table(name)
    with closing(sqlite3.connect(original.database)) as connection:
        cases = changes_of(connection, entry)
    assert {column.name for column, _ in cases} == set(entry.column_names)
    for column, change in cases:
        copy = copy_trail()
        with insider(copy.database, is_lax=change.is_lax) as connection:
            records = change_one(connection, entry, column, change)
        assert records, (name, column.name, change.name)
        is_of_all = "runs" == name or "run_no" == column.name
        verification = copy.verify(None if is_of_all else 1)
        assert is_named(verification, entry, records), (column.name, change.name, findings_of(verification))


@pytest.mark.parametrize("change", [delete_one, insert_one, swap_two])
@pytest.mark.parametrize("name", EVIDENCE)
def test_a_record_too_few_too_many_or_in_the_wrong_place_is_found(
    name: str, change: Callable[[sqlite3.Connection, Table], list[Record]], copy_trail: CopyTrail
) -> None:
    entry = table(name)
    copy = copy_trail()
    with insider(copy.database) as connection:
        records = change(connection, entry)
    assert records
    verification = copy.verify(None if name == "runs" else 1)

    assert is_named(verification, entry, records), findings_of(verification)


def test_the_insider_leaves_the_database_as_it_was_defined(original: Copy, copy_trail: CopyTrail) -> None:
    """So what the other tests find is what was done to the records, and nothing else."""
    for is_lax in (False, True):
        copy = copy_trail()
        with insider(copy.database, is_lax=is_lax):
            pass

        sql = "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2"
        assert original.query(sql) == copy.query(sql)
        assert findings_of(copy.verify()) == []
