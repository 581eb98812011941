"""The Jinja environment in which prompts are rendered: no clock, no chance, no reach beyond its variables.

A prompt must be the same text for the same row on any machine and in any
process, so whatever would print an address, draw a random value or read a time
is taken out, and printing anything but a value is an error. Rows come from
outside, so what a row could blow up (repetition, powers, ranges) is bounded.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["PromptEnvironment", "RowValues"]

MAX_REPEATED_CHARS = 10_000_000
MAX_POWER_BITS = 100_000
_CHANCE = ("lipsum", "cycler", "joiner")
_LAZY_FILTERS = ("map", "select", "reject", "selectattr", "rejectattr", "batch", "slice", "unique", "items")
_PRINTED = (str, int, float, bool, type(None), date, Decimal, list, tuple, dict, Undefined)


class RowValues(dict[str, Any]):
    """A row as a template sees it: ``row.items`` is the field ``items``, never a method."""


def _printable(value: Any) -> Any:
    """Lets only values into a prompt: a forgotten ``()`` would print an address, another one each time."""
    if isinstance(value, _PRINTED):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be printed: call it, or use the `list` or `join` filter")


def _plain(value: Any) -> str:
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as a model should read it: Jinja's own filter escapes ``<``, ``>``, ``&`` and ``'`` for HTML."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=_plain)


def _listed(lazy: Callable[..., Any]) -> Callable[..., list[Any]]:
    @functools.wraps(lazy)
    def listed(*args: Any, **kwargs: Any) -> list[Any]:
        return list(lazy(*args, **kwargs))

    return listed


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox; one instance serves all templates."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_printable)
        for name in _CHANCE:
            del self.globals[name]
        del self.filters["random"]
        self.filters["tojson"] = _to_json
        self.filters.update({name: _listed(FILTERS[name]) for name in _LAZY_FILTERS})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Data first: a key hides a method of the same name, and a row has no methods at all."""
        if isinstance(obj, dict):
            if attribute in obj:
                return obj[attribute]
            if isinstance(obj, RowValues):
                return self._missing(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Subscripts are data only: the base class would fall back to attributes."""
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else self._missing(obj, argument)
        return super().getitem(obj, argument)

    def _missing(self, obj: Any, name: Any) -> Undefined:
        if isinstance(obj, RowValues):
            return self.undefined(f"the row has no field {name!r}", name=str(name))
        return self.undefined(obj=obj, name=name)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuses repetitions and powers that only fill memory."""
        if operator == "*":
            _bound_repetition(left, right)
            _bound_repetition(right, left)
        elif isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_POWER_BITS:
            raise SecurityError("a power this large is refused")
        return super().call_binop(context, operator, left, right)


def _bound_repetition(value: Any, times: Any) -> None:
    if not isinstance(times, int):
        return
    too_long = isinstance(value, (str, list, tuple)) and len(value) * times > MAX_REPEATED_CHARS
    too_wide = isinstance(value, int) and value.bit_length() + times.bit_length() > MAX_POWER_BITS
    if too_long or too_wide:
        raise SecurityError("a repetition this large is refused")
