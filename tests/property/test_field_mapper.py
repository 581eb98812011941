"""Rows that go through the field mapper together become what they become one by one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elspeth.plugins.transforms.field_mapper import FieldMapperOptions, FieldMapperTransform
from elspeth.testing import FakeContext

NAMES = st.sampled_from("abcdef")
VALUES = st.integers(0, 9) | st.none() | st.lists(st.integers(0, 9), max_size=2)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "rename": st.dictionaries(NAMES, NAMES, max_size=3),
        "drop": st.lists(NAMES, unique=True, max_size=2),
        "constants": st.dictionaries(NAMES, VALUES, max_size=2),
        "select": st.lists(NAMES, unique=True, min_size=1, max_size=4),
        "overwrite": st.booleans(),
    },
)
ALIKE = st.lists(NAMES, unique=True, min_size=1).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), min_size=1)
)
MIXED = st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=6)


@given(OPTIONS, ALIKE | MIXED)
def test_many_rows_at_once(options: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    try:
        chosen = FieldMapperOptions(**options)
    except ValidationError:
        return
    given_rows = deepcopy(rows)
    made = FieldMapperTransform(chosen).process_bulk(given_rows)
    single = [FieldMapperTransform(chosen).process(deepcopy(row), FakeContext()) for row in rows]
    if made is None:
        assert repr(rows) == repr(given_rows)
    else:
        assert [repr((row,)) for row in made] == [repr(result.rows) for result in single]
    if made is None and all(result.failure is None for result in single):
        has_containers = any(isinstance(value, list) for value in chosen.constants.values())
        assert has_containers or len({tuple(row) for row in rows}) > 1, "rows that are alike are taken together"
