"""Rows are what `dict` and `zip` make of names and values."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.core.row_maker import row_maker

NAMES = st.lists(st.text() | st.sampled_from(["name_0", "value_0", "records", "'", '"', "\ud800"]), unique=True)


@example([f"n{place}" for place in range(2_000)])
@given(NAMES)
def test_a_row_has_the_names_in_their_order_with_its_values(names: list[str]) -> None:
    records = [range(len(names)), range(5, 5 + len(names))]

    rows = row_maker(names)(records)

    assert rows == [dict(zip(names, record, strict=True)) for record in records]
    assert all(list(row) == names for row in rows)


def test_each_row_is_its_own() -> None:
    first, second = row_maker(["a"])([(1,), (1,)])
    first["b"] = 2

    assert second == {"a": 1}


@pytest.mark.parametrize("values", [(), (1,), (1, 2, 3)])
def test_values_that_are_not_as_many_as_the_names_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        row_maker(["a", "b"])([values])
