"""Renames, drops, adds and selects fields, always in this order.

1. ``rename``: all at once, so that two fields can change names; a field keeps its place.
2. ``drop``: by the names after renaming.
3. ``constants``: new fields at the end.
4. ``select``: these fields and no others, in this order.

What becomes of a row depends on the names of its fields only. So a plan is made for
each set of names that comes by, by the same function that traces the fields through
the graph, and a row then costs one pick of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct
from pydantic import Field, JsonValue, field_validator

from elspeth.contracts import (
    Context,
    Diagnostic,
    Fields,
    FieldType,
    PipelineError,
    Row,
    RowError,
    TransformResult,
)
from elspeth.core.canonical import compact_json
from elspeth.core.config.options import Options
from elspeth.core.row_maker import RowMaker, row_maker

__all__ = ["FieldMapperOptions", "FieldMapperTransform"]

_PLAN_LIMIT: Final = 256
"""Open rows may come with ever new sets of names; so many plans are kept."""

_TYPES: Final[Mapping[type, FieldType]] = {
    str: FieldType.STR,
    bool: FieldType.BOOL,
    int: FieldType.INT,
    float: FieldType.FLOAT,
    list: FieldType.JSON,
    dict: FieldType.JSON,
}


class FieldMapperOptions(Options):
    """What happens to the fields; ``overwrite`` lets a new name replace a field that is there."""

    rename: dict[str, str] = Field(default_factory=dict)
    drop: list[str] = Field(default_factory=list)
    constants: dict[str, JsonValue] = Field(default_factory=dict)
    select: list[str] | None = Field(None, min_length=1)
    overwrite: bool = False

    @field_validator("constants")
    @classmethod
    def _can_be_written(cls, constants: dict[str, JsonValue]) -> dict[str, JsonValue]:
        compact_json(constants)
        return constants

    @field_validator("rename")
    @classmethod
    def _have_distinct_targets(cls, rename: dict[str, str]) -> dict[str, str]:
        targets = list(rename.values())
        twice = sorted({name for name in targets if targets.count(name) > 1})
        if twice:
            raise ValueError(f"two fields are renamed to {twice[0]!r}")
        return rename

    @field_validator("select", "drop")
    @classmethod
    def _are_distinct(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) != len(names):
            raise ValueError("a field is listed more than once")
        return names


class _Fault(Struct, frozen=True, kw_only=True):
    """A field that is missing or in the way. ``path`` leads to its place in the options."""

    path: tuple[str | int, ...]
    code: str
    name: str
    names: tuple[str, ...]


class _Layout(Struct, frozen=True, kw_only=True):
    """Which value each field gets: an int is a place in the row, a str names a constant."""

    origins: dict[str, int | str]
    faults: list[_Fault]


class _Plan(Struct):
    """What to do with rows of one set of names: ``make`` makes rows of the values that ``pick`` takes.

    ``keeps_order``: these are all values as they come, the constants' behind the row's; ``keeps_names``: so are
    the names.
    """

    make: RowMaker
    pick: Callable[[Sequence[Any]], tuple[Any, ...]]
    keeps_order: bool
    keeps_names: bool
    failure: RowError | None


class FieldMapperTransform:
    """Renames, drops, adds and selects fields."""

    options_model = FieldMapperOptions
    moves_values = True

    def __init__(self, options: FieldMapperOptions) -> None:
        self.options = options
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._constants = tuple(options.constants.values())
        self._are_shared = not any(isinstance(value, list | dict) for value in self._constants)

    def output_fields(self, fields: Fields) -> Fields:
        """The fields after this step, with every fault of the options at once."""
        layout = self._layout(fields.names, is_open=fields.is_open)
        if layout.faults:
            raise PipelineError([_diagnostic(fault) for fault in layout.faults])
        before = tuple(fields.types.values())
        types: dict[str, FieldType | None] = {}
        for name, origin in layout.origins.items():
            if isinstance(origin, int):
                types[name] = before[origin] if origin >= 0 else None
            else:
                types[name] = _TYPES.get(type(self.options.constants[origin]))
        return Fields(types, is_open=fields.is_open and self.options.select is None)

    def process(self, row: Row, ctx: Context) -> TransformResult:  # noqa: ARG002 (the Protocol's signature)
        """A new row; error ``missing_field`` or ``field_exists`` when the row has not the fields for it."""
        names = tuple(row)
        plan = self._plans.get(names) or self._plan(names)
        if plan.failure is not None:
            return TransformResult((), plan.failure)
        constants = self._constants if self._are_shared else deepcopy(self._constants)
        values = plan.pick((*row.values(), *constants))
        return TransformResult(tuple(plan.make((values,))), None)

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        """The same for rows that all have the same fields."""
        names = tuple(rows[0])
        plan = self._plans.get(names) or self._plan(names)
        if plan.failure is not None or not self._are_shared or not all(map(names.__eq__, map(tuple, rows))):
            return None
        constants = self._constants
        if plan.keeps_order and plan.keeps_names:
            return [row | self.options.constants for row in rows] if constants else rows
        if plan.keeps_order and not constants:
            return plan.make(map(dict.values, rows))
        values = [(*row.values(), *constants) for row in rows]
        return plan.make(values if plan.keeps_order else map(plan.pick, values))

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        layout = self._layout(names, is_open=False)
        faults = [fault for fault in layout.faults if fault.path[0] != "drop"]
        constants = {name: len(names) + place for place, name in enumerate(self.options.constants)}
        places = [o if isinstance(o, int) else constants[o] for o in layout.origins.values()]
        plan = _Plan(
            make=row_maker(tuple(layout.origins)),
            pick=_picker(places),
            keeps_order=places == list(range(len(names) + len(constants))),
            keeps_names=tuple(layout.origins)[: len(names)] == names,
            failure=_row_error(faults[0]) if faults else None,
        )
        if len(self._plans) >= _PLAN_LIMIT:
            self._plans.clear()
        self._plans[names] = plan
        return plan

    def _layout(self, names: tuple[str, ...], *, is_open: bool) -> _Layout:
        """Where each field of the outcome comes from. An open row's unknown fields come from place -1."""
        faults: list[_Fault] = []
        origins = self._renamed(names, faults, is_open=is_open)
        for place, name in enumerate(self.options.drop):
            if name in origins:
                del origins[name]
            elif not is_open:
                faults.append(_unknown(("drop", place), name, origins))
        for name in self.options.constants:
            if name in origins and not self.options.overwrite:
                faults.append(_Fault(path=("constants", name), code="FIELD_EXISTS", name=name, names=()))
            origins[name] = name
        if self.options.select is None:
            return _Layout(origins=origins, faults=faults)
        selected: dict[str, int | str] = {}
        for place, name in enumerate(self.options.select):
            if name not in origins and not is_open:
                faults.append(_unknown(("select", place), name, origins))
            selected[name] = origins.get(name, -1)
        return _Layout(origins=selected, faults=faults)

    def _renamed(self, names: tuple[str, ...], faults: list[_Fault], *, is_open: bool) -> dict[str, int | str]:
        rename = self.options.rename
        places: dict[str, int | str] = {name: place for place, name in enumerate(names)}
        arriving = {new: old for old, new in rename.items() if old in places or is_open}
        for old, new in rename.items():
            if old not in places and not is_open:
                faults.append(_unknown(("rename", old), old, places))
            if new in places and new not in rename and not self.options.overwrite:
                faults.append(_Fault(path=("rename", old), code="FIELD_EXISTS", name=new, names=()))
        origins: dict[str, int | str] = {}
        for name, place in places.items():
            if name in rename:
                origins[rename[name]] = place
            elif name not in arriving:
                origins[name] = place
        return origins | {new: -1 for new in arriving if new not in origins}


def _unknown(path: tuple[str | int, ...], name: str, names: Mapping[str, object]) -> _Fault:
    return _Fault(path=path, code="FIELD_UNKNOWN", name=name, names=tuple(names))


def _diagnostic(fault: _Fault) -> Diagnostic:
    if fault.code == "FIELD_EXISTS":
        return Diagnostic(
            path=fault.path,
            code=fault.code,
            message=f"a field {fault.name!r} is there already",
            hint="choose another name, or say overwrite: true",
            on_key=fault.path[0] == "constants",
        )
    close = get_close_matches(fault.name, fault.names, n=1)
    return Diagnostic(
        path=fault.path,
        code=fault.code,
        message=f"there is no field {fault.name!r} here",
        hint=f"did you mean {close[0]!r}?" if close else f"the fields here are: {', '.join(fault.names)}",
        on_key=fault.path[0] == "rename",
    )


def _row_error(fault: _Fault) -> RowError:
    detail = {"field": fault.name, "option": fault.path[0]}
    if fault.code == "FIELD_EXISTS":
        return RowError(code="field_exists", message=f"the row has a field {fault.name!r} already", detail=detail)
    return RowError(code="missing_field", message=f"the row has no field {fault.name!r}", detail=detail)


def _picker(places: list[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    match places:
        case []:
            return lambda _values: ()
        case [only]:
            return lambda values: (values[only],)
        case _:
            return itemgetter(*places)
