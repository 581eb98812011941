"""Any mix of records comes back exactly from the bulk statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.buffers import LineColumns, MemberBuffer, OutcomeBuffer, RowBuffer, StateBuffer
from elspeth.core.landscape.definition import create_statements

ROWS = st.integers(0, 50) | st.integers(0, 2**31)
LINES = st.integers(1, 50) | st.integers(1, 2**30)
HASHES = st.binary(min_size=32, max_size=32)
NODES = st.integers(0, 5)


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for statement in create_statements():
        connection.execute(statement)
    yield connection
    connection.close()


@given(st.dictionaries(ROWS, st.tuples(LINES, HASHES), max_size=20), st.integers(1, 5))
def test_rows(records: dict[int, tuple[int, bytes]], pieces: int) -> None:
    buffer = RowBuffer()
    items = list(records.items())
    for start in range(0, len(items), pieces):
        piece = items[start : start + pieces]
        buffer.add([row for row, _ in piece], [one[0] for _, one in piece], [one[1] for _, one in piece])
    with database() as connection:
        buffer.flush(connection, run_no=3, commit_no=4)

        assert [(3, row, 4, line, sha) for row, (line, sha) in sorted(records.items())] == connection.execute(
            "SELECT * FROM rows ORDER BY row_index"
        ).fetchall()
    assert len(records) == len(buffer)


GROUPS = st.lists(
    st.tuples(
        st.lists(HASHES, min_size=1, max_size=6),
        NODES,
        st.integers(0, 2),
        st.integers(1, 3),
        st.none() | st.sampled_from(["next", "true", "ja 'so'", "ü"]),
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=8,
)


@given(GROUPS)
def test_states(groups: list[tuple[Any, ...]]) -> None:
    buffer = StateBuffer()
    expected, row = [], 0
    for hashes, node, attempt, status, route, has_hash, started, took in groups:
        rows = list(range(row, row + len(hashes)))[::-1]
        row += len(hashes)
        buffer.add(
            rows,
            node_no=node,
            attempt=attempt,
            status=status,
            route=route,
            hashes=hashes if has_hash else None,
            started_us=started,
            duration_us=took,
        )
        for index, sha in zip(rows, hashes, strict=True):
            output = sha if has_hash else None
            expected.append((1, index, b"", node, attempt, 2, status, route, output, started, took, None))
    with database() as connection:
        buffer.flush(connection, run_no=1, commit_no=2)

        assert (
            sorted(expected, key=lambda record: record[1])
            == connection.execute("SELECT * FROM node_states ORDER BY row_index").fetchall()
        )
    assert len(expected) == len(buffer)


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
        buffer.flush(connection, run_no=1, commit_no=2)

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
        buffer.flush(connection, run_no=1, commit_no=2)

        assert [
            (1, row, b"", batch, role, 2, *rest) for (row, batch, role), rest in sorted(records.items())
        ] == connection.execute("SELECT * FROM batch_members ORDER BY row_index, batch_no, role").fetchall()


def test_empty_buffers_insert_nothing() -> None:
    with database() as connection:
        for buffer in (RowBuffer(), StateBuffer(), OutcomeBuffer(), MemberBuffer()):
            buffer.flush(connection, run_no=1, commit_no=1)
        assert 0 == connection.total_changes
