"""The bytes of columns are put in the same order whichever way they take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.recorder import _by_row

LAST_ROW = 20
ROWS = st.sets(st.integers(0, LAST_ROW - 1), min_size=1, max_size=8).map(sorted)


@given(ROWS, st.data())
def test_columns_are_one_list_by_row_then_by_column(rows: list[int], data: st.DataObject) -> None:
    """A column without all rows makes the others be sorted too, so that the zip is held to the sort."""
    columns = [rows, *data.draw(st.lists(st.just(rows) | ROWS, max_size=3))]
    versions = [(owners, [b"%d.%d" % (row, number) for row in owners]) for number, owners in enumerate(columns)]
    places = sorted((row, number) for number, owners in enumerate(columns) for row in owners)
    expected = [b"%d.%d" % place for place in places]
    named, lines = _by_row(versions)

    assert expected == lines
    assert [row for row, _ in places] == [row for row in named for _ in range(len(lines) // len(named))]
    assert [*expected, b"last"] == _by_row([*versions, ([LAST_ROW], [b"last"])])[1]
