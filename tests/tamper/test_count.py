"""How many mutations there are: each of them is made and found by the tests beside this one, or they fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.tamper import test_payloads, test_random
from tests.tamper.mutations import changes_of
from tests.tamper.trail import Copy

from elspeth.core.landscape.schema import TABLES


def test_more_than_500_mutations_are_enumerated_and_hundreds_are_drawn(original: Copy) -> None:
    with closing(sqlite3.connect(original.database)) as connection:
        values = sum(len(changes_of(connection, entry)) for entry in TABLES)
    records = 3 * len(TABLES)
    segments = len(list(original.payloads(1).iterdir())) * len(test_payloads.EDITS)
    drawn = test_random.RECORDS + test_random.FILES + test_random.PAGES

    print(f"{values} values, {records} records, {segments} segments, {drawn} drawn")
    assert values + records > 500
    assert segments > 100
    assert drawn > 250
