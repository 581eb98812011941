"""A column of values converts as each value does by itself, or none of it does."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import FieldType, RowError
from elspeth.core.config.models import FieldSpec
from elspeth.plugins.sources.coercion import MISFITS, ObjectCoercion, TextCoercion

TEXTS = {
    FieldType.INT: ("1", " -7 ", "+0", "1_0", "x"),
    FieldType.FLOAT: ("1.5", "-0.0", " 2e3 ", "1e999", "-1e999", "nan"),
    FieldType.STR: ("x", " ", "é"),
    FieldType.BOOL: ("true", " NO ", "1", "2"),
    FieldType.DATE: ("2024-02-29", " 2023-01-01", "2023-02-29"),
    FieldType.DATETIME: ("2024-02-29T12:00:00+02:00", "2024-02-29", "noon"),
    FieldType.DECIMAL: ("1.50", "-1E+3", "inf", "1_0"),
    FieldType.JSON: ("[1]", "null", '{"a":NaN}', '"x"'),
}
VALUES = (1, True, 1.5, -0.0, None, "", "x", "1.50", "2024-02-29", "2024-02-29T12:00:00Z", [1], {"a": None})
SPECS = st.builds(
    lambda kind, is_nullable: FieldSpec(type=kind, is_nullable=is_nullable), st.sampled_from(FieldType), st.booleans()
)


def alone(found: Any) -> Any:
    """A row as it looks, None for what is no row."""
    return None if isinstance(found, RowError) else repr(found)


@given(
    SPECS.flatmap(lambda spec: st.tuples(st.just(spec), st.lists(st.sampled_from(("", *TEXTS[spec.type])), min_size=1)))
)
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
