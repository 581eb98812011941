"""Any mix of records comes back exactly from the bulk statements."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from operator import itemgetter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.core.landscape.buffers import LineColumns, MemberBuffer, OutcomeBuffer, PassageBuffer, RowBuffer, Statement
from elspeth.core.landscape.definition import create_statements
from elspeth.core.landscape.views import view_statements

ROWS = st.integers(0, 50) | st.integers(0, 2**31)
LINES = st.integers(1, 50) | st.integers(1, 2**30)
HASHES = st.binary(min_size=32, max_size=32)
NODES = st.integers(0, 5)
ROUTES = st.none() | st.sampled_from(["next", "true", "ja 'so'", "ü"])


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for statement in create_statements() + view_statements():
        connection.execute(statement)
    yield connection
    connection.close()


def insert(connection: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    for statement in statements:
        connection.execute(*statement)


@given(st.dictionaries(ROWS, st.tuples(LINES, HASHES), max_size=20), st.integers(1, 5))
def test_rows(records: dict[int, tuple[int, bytes]], pieces: int) -> None:
    buffer = RowBuffer()
    items = list(records.items())
    for start in range(0, len(items), pieces):
        piece = items[start : start + pieces]
        buffer.add([row for row, _ in piece], [one[0] for _, one in piece], [one[1] for _, one in piece])
    with database() as connection:
        insert(connection, buffer.statements(run_no=3, commit_no=4))

        assert [(3, row, 4, line, sha) for row, (line, sha) in sorted(records.items())] == connection.execute(
            "SELECT * FROM rows ORDER BY row_index"
        ).fetchall()


STEPS = st.tuples(NODES, st.integers(0, 2), st.integers(1, 3), ROUTES, st.integers(0, 2**40), st.integers(0, 2**31))
PASSAGES = st.lists(
    st.tuples(
        st.lists(ROWS, min_size=1, max_size=6, unique=True), st.lists(st.tuples(STEPS, st.booleans()), max_size=4)
    ),
    max_size=6,
)


@settings(deadline=None)
@given(PASSAGES, st.randoms())
def test_passages_and_their_journeys(groups: list[tuple[list[int], list[tuple[Any, bool]]]], random: Random) -> None:
    """Any rows in any order, any journeys: what is inserted is what was added, and is read as states in one view."""
    buffer = PassageBuffer()
    passages, journeys, states = [], [], []
    for number, (rows, steps) in enumerate(groups):
        hashes = [[random.randbytes(32) for _ in rows] for _, is_changed in steps if is_changed]
        numbers = count()
        journey = [(*one[:4], next(numbers) if is_changed else None, *one[4:]) for one, is_changed in steps]
        buffer.add(rows, journey, hashes)
        journeys += [(1, 2, number, place, len(steps) - 1, *one) for place, one in enumerate(journey)]
        for at, row in enumerate(rows):
            own = [column[at] for column in hashes]
            passages.append((1, row, b"", 2, number, b"".join(own) or None, None))
            for node, attempt, status, route, hash_no, started, took in journey:
                output = None if hash_no is None else own[hash_no]
                states.append((1, row, b"", node, attempt, 2, status, route, output, started, took, None))
    with database() as connection:
        insert(connection, buffer.statements(run_no=1, commit_no=2))
        marks = ", ".join("?" * 12)
        connection.executemany(f"INSERT INTO journeys VALUES ({marks})", buffer.journeys(run_no=1, commit_no=2))

        found = connection.execute("SELECT * FROM passages ORDER BY row_index, journey_no").fetchall()
        assert sorted(passages, key=itemgetter(1, 4)) == found
        assert journeys == connection.execute("SELECT * FROM journeys ORDER BY journey_no, place").fetchall()
        assert Counter(states) == Counter(connection.execute("SELECT * FROM node_states").fetchall())


@given(
    st.dictionaries(
        ROWS,
        st.tuples(
            st.integers(1, 8), st.none() | NODES, st.none() | NODES, LINES, st.none() | st.sampled_from(["a", "b"])
        ),
        max_size=20,
    )
)
def test_outcomes(records: dict[int, tuple[int, int | None, int | None, int, str | None]]) -> None:
    buffer = OutcomeBuffer()
    for row, (outcome, step, sink, line, reason) in records.items():
        buffer.add([row], outcome=outcome, step_no=step, sink_no=sink, sink_lines=[line], reason=reason)
    with database() as connection:
        insert(connection, buffer.statements(run_no=1, commit_no=2))

        assert [
            (1, row, b"", 2, outcome, step, sink, None if sink is None else line, reason)
            for row, (outcome, step, sink, line, reason) in sorted(records.items())
        ] == connection.execute("SELECT * FROM outcomes ORDER BY row_index").fetchall()


@given(
    st.dictionaries(
        st.tuples(ROWS, st.integers(1, 3), st.integers(1, 3)),
        st.tuples(st.integers(1, 3), st.integers(0, 2**30), st.integers(0, 2**40), st.integers(0, 2**31), HASHES),
        max_size=20,
    )
)
def test_members(records: dict[tuple[int, int, int], tuple[int, int, int, int, bytes]]) -> None:
    buffer = MemberBuffer()
    for (row, batch, role), (segment, position, start, length, sha) in records.items():
        lines = LineColumns([row], [position], [start], [length], [sha])
        buffer.add(lines, batch_no=batch, role=role, segment_no=segment)
    with database() as connection:
        insert(connection, buffer.statements(run_no=1, commit_no=2))

        assert [
            (1, row, b"", batch, role, 2, *rest) for (row, batch, role), rest in sorted(records.items())
        ] == connection.execute("SELECT * FROM batch_members ORDER BY row_index, batch_no, role").fetchall()


def test_empty_buffers_insert_nothing() -> None:
    with database() as connection:
        for buffer in (RowBuffer(), PassageBuffer(), OutcomeBuffer(), MemberBuffer()):
            insert(connection, buffer.statements(run_no=1, commit_no=1))
        assert 0 == connection.total_changes
