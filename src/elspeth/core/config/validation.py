"""Reading one section with its model, and saying in plain words what is wrong with it.

pydantic names its types and its union members; a person who writes a pipeline
file knows keys, texts, numbers and lists. Values are never quoted: they may have
come from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from elspeth.contracts import Diagnostic, PipelineError
from elspeth.core.config.annotations import below, models
from elspeth.core.config.document import read_scalar
from elspeth.core.config.options import Model, Options, OptionsContext, parse_options
from elspeth.core.expressions import did_you_mean

__all__ = ["read_section"]

Path: TypeAlias = tuple[str | int, ...]

EXPECTED = {
    "bool": "true or false",
    "decimal": "a number",
    "dict": "a mapping (key: value)",
    "float": "a number",
    "frozen_set": "a list",
    "int": "a whole number",
    "list": "a list",
    "mapping": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "none_required": "left empty",
    "set": "a list",
    "string": "text",
    "tuple": "a list",
}
MISMATCH = re.compile(r"(\w+?)(?:_type|_parsing|_from_float|_parsing_size)|none_required")
SUBJECT = re.compile(r"^\w+ should ")
YAML_1_1_WORDS = frozenset({"yes", "no", "on", "off", "y", "n"})


def read_section(
    model: type[Model], values: object, path: Path, context: OptionsContext
) -> tuple[Model | None, list[Diagnostic]]:
    """The section at ``path`` of the file, or None and everything that is wrong with it."""
    try:
        return parse_options(model, values, context), []
    except ValidationError as error:
        faults = translate(model, values, error.errors(include_url=False))
    except PipelineError as error:
        faults = list(error.diagnostics)
    return None, [replace(fault, path=path + fault.path) for fault in faults]


def translate(model: type[Options], values: object, errors: Sequence[ErrorDetails]) -> list[Diagnostic]:
    """pydantic's errors as diagnostics, with paths from the section on."""
    plain: list[Diagnostic] = []
    by_union: dict[Path, list[tuple[Path, str, ErrorDetails]]] = {}
    for error in errors:
        path, union = place(error, values)
        if union is None:
            plain.append(diagnose(model, path, error, values))
        else:
            at, member = union
            by_union.setdefault(at, []).append((path, member, error))
    for at, members in by_union.items():
        plain += diagnose_union(model, at, members, values)
    return plain


def place(error: ErrorDetails, values: object) -> tuple[Path, tuple[Path, str] | None]:
    """The error's path in the file, and the first union on the way with the member that was tried.

    pydantic puts names of union members into its paths: those are the parts that the file does not have.
    """
    path: list[str | int] = []
    union = None
    current = values
    for position, part in enumerate(error["loc"]):
        is_last = position == len(error["loc"]) - 1
        if is_in(current, part):
            current = child(current, part)
            path.append(part)
        elif is_last and error["type"] == "missing":
            path.append(part)
        elif union is None:
            union = (tuple(path), str(part))
    return tuple(path), union


def is_in(values: object, key: str | int) -> bool:
    """Whether a mapping or list has something under the key."""
    if isinstance(values, list):
        return isinstance(key, int) and key < len(values)
    return isinstance(values, dict) and key in values


def child(values: object, key: str | int) -> object:
    """What stands under the key."""
    return values[key] if isinstance(values, dict | list) else None  # type: ignore[index]


def diagnose_union(
    model: type[Options], at: Path, members: list[tuple[Path, str, ErrorDetails]], values: object
) -> list[Diagnostic]:
    """Of a value that may be several things, the errors of the thing that it most looks like."""
    groups = [list(group) for _, group in groupby(members, key=lambda member: member[1])]
    deeper = [group for group in groups if not any(path == at and is_mismatch(e) for path, _, e in group)]
    if deeper:
        closest = min(deeper, key=len)
        return [diagnose(model, path, error, values) for path, _, error in closest]
    expected = list(dict.fromkeys(filter(None, (expectation(error) for _, _, error in members))))
    first = diagnose(model, at, members[0][2], values)
    if not expected:
        return [first]
    return [replace(first, message=f"this must be {' or '.join(expected)}, not {kind(members[0][2]['input'])}")]


def is_mismatch(error: ErrorDetails) -> bool:
    """Whether the value is of another kind, so that this member of a union was not meant."""
    return error["type"] in ("literal_error", "enum") or MISMATCH.fullmatch(error["type"]) is not None


def expectation(error: ErrorDetails) -> str | None:
    """What the value should have been, in words."""
    if error["type"] in ("literal_error", "enum"):
        return str(error["ctx"]["expected"])
    match = MISMATCH.fullmatch(error["type"])
    if match is None:
        return None
    return EXPECTED.get(match[1] or error["type"])


def diagnose(model: type[Options], path: Path, error: ErrorDetails, values: object) -> Diagnostic:
    """One error in our codes and words."""
    kind_of_error = error["type"]
    context = error.get("ctx", {})
    if kind_of_error == "missing":
        message = f"the key {path[-1]!r} is missing"
        return Diagnostic(path=path[:-1], code="MISSING_KEY", message=message, on_key=True)
    if kind_of_error == "extra_forbidden":
        return unknown_key(model, path, values)
    if "text" in context:
        return Diagnostic(path=path, code=kind_of_error.upper(), message=context["text"], hint=context["hint"])
    expected = expectation(error)
    if expected is not None and MISMATCH.fullmatch(kind_of_error):
        message = f"this must be {expected}, not {kind(error['input'])}"
        return Diagnostic(path=path, code="WRONG_TYPE", message=message, hint=type_hint(error))
    if expected is not None:
        hint = suggestion(error["input"], expected)
        return Diagnostic(path=path, code="BAD_VALUE", message=f"this must be {expected}", hint=hint)
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = SUBJECT.sub("this should ", message).partition(" after validation")[0]
    return Diagnostic(path=path, code="BAD_VALUE", message=message)


def unknown_key(model: type[Options], path: Path, values: object) -> Diagnostic:
    """A key that its model does not have, or does not have yet."""
    key = str(path[-1])
    owners: list[Any] = [model]
    siblings = values
    for part in path[:-1]:
        owners = below(owners, part)
        siblings = child(siblings, part)
    found = models(owners)
    if any(key in owner.not_yet for owner in found):
        message = f"{key!r} is not in this version"
        return Diagnostic(path=path, code="NOT_YET", message=message, on_key=True)
    keys = [field.alias or name for owner in found for name, field in owner.model_fields.items()]
    left = [k for k in keys if not (isinstance(siblings, dict) and k in siblings)]
    hint = did_you_mean(key, left) or (f"the keys are {', '.join(keys)}" if keys else "there are no options")
    return Diagnostic(path=path, code="UNKNOWN_KEY", message=f"unknown key {key!r}", hint=hint, on_key=True)


def kind(value: object) -> str:
    """What a value is, in the words of the messages."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int():
            return "a number"
        case float():
            return "a decimal number"
        case str():
            return "text"
        case list():
            return "a list"
    return "a mapping"


def type_hint(error: ErrorDetails) -> str | None:
    """How to write a value of the right kind, where a known mistake explains the wrong one."""
    expected, value = error["type"], error["input"]
    if expected == "bool_type" and isinstance(value, str) and value.lower() in YAML_1_1_WORDS:
        return "write true or false: in YAML 1.2 yes, no, on and off are text"
    if expected == "string_type" and isinstance(value, bool | int | float):
        return "put it in quotes"
    is_typed_text = isinstance(value, str) and not isinstance(read_scalar(value), str)
    if expected in ("int_type", "float_type", "bool_type") and is_typed_text:
        return "write it without quotes"
    return None


def suggestion(value: object, expected: str) -> str | None:
    """The allowed word that was perhaps meant."""
    return did_you_mean(value, re.findall(r"'([^']*)'", expected)) if isinstance(value, str) else None
