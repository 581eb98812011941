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


def alone(found: Any) -> Any:
    """A row as it looks, None for what is no row."""
    return None if isinstance(found, RowError) else repr(found)


@pytest.mark.parametrize("is_nullable", [False, True])
@pytest.mark.parametrize("kind", FieldType)
@pytest.mark.parametrize("odd", ODD)
def test_text(kind: FieldType, is_nullable: bool, odd: str) -> None:
    """Sound values with an odd one anywhere: drawn at random, most columns have too many of them or none."""
    coercion = TextCoercion(["a"], {"a": FieldSpec(type=kind, is_nullable=is_nullable)})
    for place in range(len(SOUND[kind]) + 1):
        said = [[text] for text in (*SOUND[kind][:place], odd, *SOUND[kind][place:])]
        one_by_one = [alone(coercion.row(record)) for record in said]

        if None in one_by_one:
            with pytest.raises(MISFITS):
                coercion.rows(said)
        else:
            assert one_by_one == list(map(repr, coercion.rows(said)))


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
