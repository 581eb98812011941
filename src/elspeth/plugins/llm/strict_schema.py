"""Whether a response schema lies within a provider's subset of JSON Schema, before anything is sent.

With ``strict: true`` a provider refuses a schema outside its subset row by row,
after a day's wait. The limits below are those of the providers' documents and
not of any test of ours; ``strict: false`` sends a schema unchecked, and replies
are validated against it here all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from msgspec import Struct, field

from elspeth.contracts import Diagnostic, FieldType
from elspeth.plugins.llm.prompts import did_you_mean

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["AZURE", "OPENAI", "StrictProfile", "compiled", "field_types", "invalid_schema", "outside_subset"]

Path: TypeAlias = tuple[str | int, ...]

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_KEYWORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref"}
    | {"$defs", "definitions", "title", "description", "$schema", "$id", "$comment"}
)
_CONSTRAINTS = frozenset(
    {"pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"minItems", "maxItems"}
)
_UNCHECKED = "or set `strict: false`: the schema is then sent unchecked, and replies are still validated here"


class StrictProfile(Struct, frozen=True, kw_only=True):
    """One provider's subset. ``max_depth`` counts objects within objects, the root being 1."""

    name: str
    keywords: frozenset[str]
    max_depth: int
    max_properties: int
    max_enum_values: int
    max_chars: int
    max_chars_of_large_enum: int


# "Structured Outputs", section "Supported schemas", developers.openai.com (early 2026).
OPENAI = StrictProfile(
    name="OpenAI",
    keywords=_KEYWORDS | _CONSTRAINTS,
    max_depth=10,
    max_properties=5000,
    max_enum_values=1000,
    max_chars=120_000,
    max_chars_of_large_enum=15_000,
)
# "How to use structured outputs with Azure OpenAI", learn.microsoft.com: the older, tighter numbers,
# and a list of unsupported keywords that has every constraint in it.
AZURE = StrictProfile(
    name="Azure",
    keywords=_KEYWORDS,
    max_depth=5,
    max_properties=100,
    max_enum_values=500,
    max_chars=15_000,
    max_chars_of_large_enum=7_500,
)
LARGE_ENUM = 250


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """The schema's validator. No reference is fetched: a schema stands by itself."""
    import jsonschema_rs

    return jsonschema_rs.validator_for(dict(schema), retriever=_refuse_to_fetch)


def invalid_schema(schema: Mapping[str, Any]) -> list[Diagnostic]:
    """Why this is no JSON Schema whose replies can become fields; empty when it is one."""
    import jsonschema_rs

    try:
        compiled(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        path = tuple(getattr(error, "instance_path", ()))
        return [_problem(path, str(getattr(error, "message", error)), "response_schema is a JSON Schema")]
    if schema.get("type") != "object":
        return [_problem((), "the root must have `type: object`", "its properties become fields of the row")]
    return []


def outside_subset(schema: Mapping[str, Any], profile: StrictProfile) -> list[Diagnostic]:
    """All that the provider would refuse in a valid schema, with paths inside it."""
    check = _Check(profile)
    check.node(schema, (), depth=0)
    check.totals()
    return check.problems


def field_types(schema: Mapping[str, Any]) -> dict[str, FieldType]:
    """The properties and what their values are in a row. JSON's numbers may be int or float, hence ``json``."""
    plain = {"string": FieldType.STR, "integer": FieldType.INT, "boolean": FieldType.BOOL}
    types = {}
    for name, node in schema.get("properties", {}).items():
        declared = node.get("type") if isinstance(node, Mapping) else None
        kinds = [kind for kind in (declared if isinstance(declared, list) else [declared]) if kind != "null"]
        types[name] = plain.get(str(kinds[0]), FieldType.JSON) if len(kinds) == 1 else FieldType.JSON
    return types


def _refuse_to_fetch(uri: str) -> NoReturn:
    raise ValueError(f"a response schema stands by itself, {uri} is not fetched")


def _problem(path: Path, message: str, hint: str) -> Diagnostic:
    return Diagnostic(path=path, code="RESPONSE_SCHEMA", message=message, hint=hint)


class _Check(Struct):
    """One walk over a schema: what is wrong so far, and the sums that have limits."""

    profile: StrictProfile
    problems: list[Diagnostic] = field(default_factory=list)
    properties: int = 0
    enum_values: int = 0
    chars: int = 0

    def node(self, node: object, path: Path, *, depth: int) -> None:
        """A subschema in ``depth`` objects."""
        if not isinstance(node, Mapping):
            self._refuse(path, "true and false are no schemas in strict mode", "describe the value with a type")
            return
        self._keywords(node, path)
        kinds = self._kinds(node, path)
        if "object" in kinds or "properties" in node:
            depth += 1
            self._object(node, path, depth)
        if "array" in kinds and "items" not in node:
            self._refuse(path, "an array must say what its items are", "add `items`")
        self._values(node, path)
        for child, at in _children(node, path):
            self.node(child, at, depth=depth)

    def totals(self) -> None:
        """The limits on the schema as a whole."""
        limits = (
            ("object properties", self.properties, self.profile.max_properties),
            ("enum values", self.enum_values, self.profile.max_enum_values),
            ("characters of names and values", self.chars, self.profile.max_chars),
        )
        for what, count, limit in limits:
            if count > limit:
                self._refuse((), f"{count:,} {what}, {self.profile.name} takes {limit:,}", "use a smaller schema")

    def _keywords(self, node: Mapping[str, Any], path: Path) -> None:
        for keyword in node:
            if keyword not in self.profile.keywords:
                hint = did_you_mean(keyword, self.profile.keywords) or f"leave it out, {_UNCHECKED}"
                self._refuse((*path, keyword), f"{self.profile.name}'s strict mode does not take {keyword!r}", hint)
        if "format" in node and "format" in self.profile.keywords and node["format"] not in _FORMATS:
            self._refuse((*path, "format"), "an unsupported format", f"one of {', '.join(_FORMATS)}")

    def _kinds(self, node: Mapping[str, Any], path: Path) -> tuple[str, ...]:
        declared = node.get("type")
        kinds = tuple(declared) if isinstance(declared, list) else (declared,) if declared else ()
        if not kinds and not {"anyOf", "$ref", "enum", "const"} & set(node):
            self._refuse(path, "a value without a type", f"add `type`: {', '.join(_TYPES)}")
        if not path and "anyOf" in node:
            self._refuse(("anyOf",), "the root must be a plain object", "put the choice into a property")
        return kinds

    def _object(self, node: Mapping[str, Any], path: Path, depth: int) -> None:
        if depth > self.profile.max_depth:
            message = f"objects nested {depth} deep, {self.profile.name} takes {self.profile.max_depth}"
            self._refuse(path, message, f"flatten the schema, {_UNCHECKED}")
        if node.get("additionalProperties") is not False:
            at = (*path, "additionalProperties") if "additionalProperties" in node else path
            self._refuse(at, "strict mode needs `additionalProperties: false`", f"add it here, {_UNCHECKED}")
        names = list(node.get("properties", {}))
        self.properties += len(names)
        self.chars += sum(map(len, names))
        optional = [name for name in names if name not in node.get("required", [])]
        if optional:
            hint = 'add them; a value that may be missing has `type: ["string", "null"]`'
            at = (*path, "required") if "required" in node else path
            self._refuse(at, f"strict mode needs every property in `required`: {', '.join(optional)}", hint)

    def _values(self, node: Mapping[str, Any], path: Path) -> None:
        values = node.get("enum", [])
        chars = sum(len(value) for value in values if isinstance(value, str))
        self.enum_values += len(values)
        self.chars += chars + len(str(node.get("const", "")))
        if len(values) > LARGE_ENUM and chars > self.profile.max_chars_of_large_enum:
            limit = self.profile.max_chars_of_large_enum
            message = f"an enum of more than {LARGE_ENUM} values may have {limit:,} characters, this has {chars:,}"
            self._refuse((*path, "enum"), message, "use shorter values")

    def _refuse(self, path: Path, message: str, hint: str) -> None:
        self.problems.append(_problem(path, message, hint))


def _children(node: Mapping[str, Any], path: Path) -> Iterator[tuple[object, Path]]:
    for keyword in ("properties", "$defs", "definitions"):
        for name, child in node.get(keyword, {}).items():
            yield child, (*path, keyword, name)
    if "items" in node:
        yield node["items"], (*path, "items")
    for position, child in enumerate(node.get("anyOf", [])):
        yield child, (*path, "anyOf", position)
