"""Whatever the schema, the instance is valid."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.simulator.prompts import Chooser
from elspeth.simulator.schema_instance import instance

Schema = dict[str, Any]
NAMES = st.sampled_from(["label", "note", "score", "items", "ü", "a b"])


def bounded(kind: str, bounds: st.SearchStrategy[Any], *, exclusive: bool) -> st.SearchStrategy[Schema]:
    low, high = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")

    def build(pair: tuple[Any, Any, int]) -> Schema:
        first, width, which = pair
        schema: Schema = {"type": kind}
        schema |= {low: first} if which & 1 else {}
        schema |= {high: first + width} if which & 2 else {}
        return schema

    return st.tuples(bounds, st.integers(2, 50), st.integers(0, 3)).map(build)


def string_schema(least: int, more: int) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": least + more}


SCALARS = st.one_of(
    st.just({"type": "string"}),
    st.builds(string_schema, st.integers(0, 40), st.integers(0, 40)),
    st.sampled_from(["date-time", "date", "email", "uuid", "ipv4"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    bounded("integer", st.integers(-100, 100), exclusive=False),
    bounded("integer", st.integers(-100, 100), exclusive=True),
    bounded("number", st.floats(-100, 100), exclusive=False),
    bounded("number", st.floats(-100, 100), exclusive=True),
    st.integers(1, 9).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": -7, "maximum": 30}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": ["null", "integer"], "minimum": 3}),
    st.lists(st.one_of(st.text(), st.integers(), st.none(), st.booleans()), min_size=1).map(
        lambda options: {"enum": options}
    ),
    st.one_of(st.text(), st.integers()).map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/leaf"}),
)


def containers(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    def closed(properties: Schema) -> Schema:
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def array(items: Schema, least: int, more: int | None) -> Schema:
        most = {} if more is None else {"maxItems": least + more}
        return {"type": "array", "items": items, "minItems": least, **most}

    return st.one_of(
        st.dictionaries(NAMES, inner, max_size=4).map(closed),
        st.builds(array, inner, st.integers(0, 4), st.one_of(st.none(), st.integers(0, 2))),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        inner.map(lambda schema: {"allOf": [schema]}),
    )


SCHEMAS = st.recursive(SCALARS, containers, max_leaves=12).map(
    lambda schema: {"$defs": {"leaf": {"type": "integer", "minimum": 5}}, "allOf": [schema]}
)


@settings(deadline=None, max_examples=200)
@given(SCHEMAS, st.text())
def test_the_instance_of_any_schema_is_valid(schema: Schema, prompt: str) -> None:
    value = instance(schema, Chooser(prompt, seed="0"))
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(value)


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
OPTIONAL = {"type": "object", "properties": {"deeper": {"$ref": "#"}, "n": {"type": "integer"}}}


@pytest.mark.parametrize("schema", [TREE, OPTIONAL])
def test_a_recursive_schema_comes_to_an_end(schema: Schema) -> None:
    value = instance(schema, Chooser("prompt", seed="0"))
    jsonschema_rs.validator_for(schema).validate(value)


def test_nullable_fields_are_filled() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["null", "string"]}, "b": {
        "anyOf": [{"type": "null"}, {"type": "integer"}],
    }}}  # fmt: skip
    value = instance(schema, Chooser("prompt", seed="0"))
    assert all(inner is not None for inner in value.values())


def test_equal_enums_in_different_places_are_chosen_apart() -> None:
    enum = {"enum": ["a", "b"]}
    schema = {"type": "object", "properties": {f"field {n}": enum for n in range(20)}}
    assert {"a", "b"} == set(instance(schema, Chooser("prompt", seed="0")).values())
