from __future__ import annotations

from typing import Any

import pytest

from elspeth.plugins.llm.strict_schema import AZURE, OPENAI, invalid_schema, outside_subset


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(depth: int) -> dict[str, Any]:
    return closed(x={"type": "string"} if depth == 1 else nested(depth - 1))


GOOD = closed(
    a={"type": "string", "enum": ["x", "y"], "description": "d"},
    b={"type": ["integer", "null"]},
    c={"type": "array", "items": closed(d={"type": "boolean"})},
    e={"anyOf": [{"type": "number"}, {"$ref": "#/$defs/f"}]},
) | {"$defs": {"f": closed(g={"const": 1}, again={"$ref": "#"})}}


@pytest.mark.parametrize("profile", [AZURE, OPENAI])
def test_what_the_documents_show_is_taken(profile: Any) -> None:
    assert invalid_schema(GOOD) == []
    assert outside_subset(GOOD, profile) == []


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        (closed(a={"type": "string"}) | {"required": []}, ("required",), "every property"),
        ({"type": "object", "properties": {}, "required": []}, (), "additionalProperties"),
        (closed() | {"additionalProperties": True}, ("additionalProperties",), "additionalProperties"),
        (closed(a={"type": "object"}), ("properties", "a"), "additionalProperties"),
        (closed(a={"type": "array"}), ("properties", "a"), "items"),
        (closed(a={"type": "array", "items": {"type": "object"}}), ("properties", "a", "items"), "additional"),
        (closed(a={"oneOf": [{"type": "string"}]}), ("properties", "a", "oneOf"), "'oneOf'"),
        (closed(a={"type": "string", "default": "x"}), ("properties", "a", "default"), "'default'"),
        (closed(a={"type": "string", "minLength": 1}), ("properties", "a", "minLength"), "'minLength'"),
        (closed(a={"description": "?"}), ("properties", "a"), "without a type"),
        (closed(a=True), ("properties", "a"), "true and false"),
        (closed() | {"allOf": []}, ("allOf",), "'allOf'"),
        (closed() | {"anyOf": [{"type": "object"}]}, ("anyOf",), "root"),
        ({"anyOf": [closed()]} | closed(), ("anyOf",), "root"),
        (closed(**{f"p{n}": {"type": "string"} for n in range(5001)}), (), "5,001 object properties"),
        (closed(a={"type": "integer", "enum": list(range(1001))}), (), "1,001 enum values"),
        (closed(a={"enum": [f"{n:061}" for n in range(251)]}), ("properties", "a", "enum"), "250 values"),
        (nested(11), ("properties", "x") * 10, "nested 11 deep"),
    ],
)  # fmt: skip
def test_what_a_provider_would_refuse_is_told_with_its_path(schema: Any, path: Any, words: str) -> None:
    problems = outside_subset(schema, OPENAI)
    assert [p for p in problems if p.path == path and words in p.message], problems
    assert all(problem.hint for problem in problems)


def test_azure_documents_tighter_limits() -> None:
    assert outside_subset(nested(5), AZURE) == []
    assert outside_subset(nested(6), AZURE) != []
    assert outside_subset(nested(10), OPENAI) == []
    constrained = closed(a={"type": "string", "pattern": "^a$"})
    assert outside_subset(constrained, AZURE) != []
    assert outside_subset(constrained, OPENAI) == []


def test_a_misspelt_keyword_gets_a_hint() -> None:
    (problem,) = outside_subset(closed(a={"type": "string", "descripton": "x"}), OPENAI)
    assert problem.hint == "did you mean 'description'?"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "$schema": "https://example.com/meta"},
        {"type": ["object", "null"]},
        {},
    ],
)
def test_no_schema_or_one_from_elsewhere_is_refused(schema: Any) -> None:
    assert len(invalid_schema(schema)) == 1
