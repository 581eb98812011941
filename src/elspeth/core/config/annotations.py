"""Looking into the types of options: which model, or which special type, stands at a place."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from elspeth.core.config.options import Options, Secret

__all__ = ["below", "is_secret", "leaves", "models"]


def alternatives(annotation: Any) -> Iterator[Any]:
    """The annotation itself, or each member of a union; `Annotated` is taken off."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from alternatives(member)
    else:
        yield annotation


def models(annotations: Iterable[Any]) -> list[type[Options]]:
    """The option models among the annotations."""
    found = [a for annotation in annotations for a in alternatives(annotation)]
    return [a for a in found if isinstance(a, type) and issubclass(a, Options)]


def is_secret(annotations: Iterable[Any]) -> bool:
    """Whether a value of these annotations is a secret."""
    return any(a is Secret for annotation in annotations for a in alternatives(annotation))


def below(annotations: Iterable[Any], key: str | int) -> list[Any]:
    """The annotations of what stands under a key or list position."""
    found: list[Any] = []
    for annotation in annotations:
        for alternative in alternatives(annotation):
            arguments = typing.get_args(alternative)
            if isinstance(alternative, type) and issubclass(alternative, BaseModel):
                found += [
                    field.annotation for name, field in alternative.model_fields.items() if (field.alias or name) == key
                ]
            elif isinstance(key, int):
                found += arguments
            else:
                found += arguments[1:]
    return found


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value in parsed options with its path, as the pipeline file spells it."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from leaves(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value
