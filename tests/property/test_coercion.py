"""A column of values converts as each value does by itself, or none of it does."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.contracts import FieldType, RowError
from elspeth.core.config.models import FieldSpec
from elspeth.plugins.sources.coercion import MISFITS, ObjectCoercion, TextCoercion

SOUND = {
    FieldType.INT: ("1", " -7 ", "+0"),
    FieldType.FLOAT: ("1.5", "-0.0", " 2e3 ", "1e308"),
    FieldType.STR: ("x", " ", "é"),
    FieldType.BOOL: ("true", " NO ", "1"),
    FieldType.DATE: ("2024-02-29", " 2023-01-01"),
    FieldType.DATETIME: ("2024-02-29T12:00:00+02:00", "2024-02-29"),
    FieldType.DECIMAL: ("1.50", "-1E+3"),
    FieldType.JSON: ("[1]", '{"a":null}', '"x"'),
}
ODD = ("", "x", "1_0", "1e999", "-1e999", "nan", "inf", "null", "2", "noon", "2023-02-29", "[NaN]")
VALUES = (1, True, 1.5, -0.0, None, "", "x", "1.50", "2024-02-29", "2024-02-29T12:00:00Z", [1], {"a": None})
KINDS = st.sampled_from(FieldType)
SPECS = st.builds(lambda kind, is_nullable: FieldSpec(type=kind, is_nullable=is_nullable), KINDS, st.booleans())


def said_of(spec: FieldSpec) -> st.SearchStrategy[list[str]]:
    """Sound values with one odd one among them at most: with many of them none would convert by itself."""
    sound = st.lists(st.sampled_from(SOUND[spec.type]), max_size=4)
    odd = st.lists(st.sampled_from(ODD), max_size=1)
    return st.tuples(sound, odd, sound).map(lambda parts: [*parts[0], *parts[1], *parts[2]] or [""])


def alone(found: Any) -> Any:
    """A row as it looks, None for what is no row."""
    return None if isinstance(found, RowError) else repr(found)


@settings(max_examples=500)
@given(SPECS.flatmap(lambda spec: st.tuples(st.just(spec), said_of(spec))))
def test_text(column: tuple[FieldSpec, list[str]]) -> None:
    spec, said = column
    coercion = TextCoercion(["a"], {"a": spec})
    one_by_one = [alone(coercion.row([text])) for text in said]

    if None in one_by_one:
        with pytest.raises(MISFITS):
            coercion.rows([[text] for text in said])
    else:
        assert one_by_one == [repr(row) for row in coercion.rows([[text] for text in said])]


@given(
    SPECS,
    st.lists(st.just({}) | st.sampled_from(VALUES).map(lambda value: {"a": value, "b": 1}), min_size=1, max_size=4),
)
def test_objects(spec: FieldSpec, objects: list[dict[str, Any]]) -> None:
    coercion = ObjectCoercion({"a": spec})
    one_by_one = [alone(coercion.row(copy.deepcopy(one))) for one in objects]
    together = copy.deepcopy(objects)

    if None in one_by_one:
        with pytest.raises(MISFITS):
            coercion.convert(together)
        assert json.dumps(objects) == json.dumps(together)
    else:
        coercion.convert(together)
        assert one_by_one == list(map(repr, together))
