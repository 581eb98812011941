"""Rows, their fields and their types.

A row is an ordered mapping from field name to value. Values are JSON's, plus
``date``, ``datetime`` and ``Decimal``; NaN and the infinities are no values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

__all__ = ["FieldType", "Fields", "Row", "RowError"]

Row: TypeAlias = dict[str, Any]


class FieldType(Enum):
    """The types that a schema may name; the value is the word in the pipeline file."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"
    DATE = "date"
    DATETIME = "datetime"
    DECIMAL = "decimal"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields that rows are known to have at a place in the graph, in order.

    ``types`` maps a field to its type, or to None when it is not known. ``is_open``
    is true when rows may carry further fields that nobody declared.
    """

    types: Mapping[str, FieldType | None] = field(default_factory=dict)
    is_open: bool = False

    def __contains__(self, name: str) -> bool:
        return name in self.types

    @property
    def names(self) -> tuple[str, ...]:
        """The known names, in order."""
        return tuple(self.types)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """Why a row ended at a step.

    ``code`` is a short lower-case word (``content_filter``, ``schema``); ``detail``
    is what the outside world said, as JSON, for the trail only.
    """

    code: str
    message: str
    detail: Mapping[str, Any] | None = None
