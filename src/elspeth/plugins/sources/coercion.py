"""From what a file says to what the schema declares, a column at a time.

A converter takes the values of one field in many records and gives as many values
back, or raises one of `MISFITS`; the work is done in C. When a page of records does
not convert, its records go one by one through the same converters, so the fast way
and the exact way cannot disagree.

Numbers are what ASCII digits say: no underscores, no other scripts' digits, no NaN,
no infinity. Spaces around them are allowed. Dates and times are ISO 8601; digits
of a second beyond the sixth are dropped, as Python does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from elspeth.contracts import FieldType, Row, RowError
from elspeth.core.canonical import decode_json
from elspeth.core.row_maker import row_maker

if TYPE_CHECKING:
    from elspeth.core.config.models import FieldSpec

__all__ = ["MISFITS", "ObjectCoercion", "TextCoercion", "shortened"]

MISFITS: Final = (ValueError, ArithmeticError, KeyError)

Converter: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]

_MISSING: Final = object()
_BOOLS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NAMES: Final = {
    FieldType.INT: "an int",
    FieldType.FLOAT: "a float",
    FieldType.STR: "text",
    FieldType.BOOL: "a bool",
    FieldType.DATE: "a date",
    FieldType.DATETIME: "a datetime",
    FieldType.DECIMAL: "a decimal",
    FieldType.JSON: "JSON",
}
_SHOWN_CHARACTERS: Final = 60
_trimmed: Final = methodcaller("strip", " ")


def shortened(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value[: 2 * _SHOWN_CHARACTERS] if isinstance(value, str) else value)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


class TextCoercion:
    """Records of text to rows with the fields ``names``; fields that ``schema`` does not name stay text.

    In a field that may be empty, "" is None; in one that may not, only text may be "".
    """

    def __init__(self, names: Sequence[str], schema: Mapping[str, FieldSpec]) -> None:
        self._names = tuple(names)
        self._make = row_maker(self._names)
        self._columns = [
            (place, _text_converter(schema[name]))
            for place, name in enumerate(names)
            if name in schema and (schema[name].type is not FieldType.STR or schema[name].is_nullable)
        ]
        self._schema = schema

    def rows(self, records: Sequence[Sequence[str]]) -> list[Row]:
        """The rows of records that all have as many values as there are names; raises `MISFITS`."""
        if not self._columns:
            return self._make(records)
        columns: list[Sequence[Any]] = list(zip(*records, strict=False))
        for place, convert in self._columns:
            columns[place] = convert(columns[place])
        return self._make(zip(*columns, strict=False))

    def row(self, record: Sequence[str]) -> Row | RowError:
        """The row of one record, or why it is none."""
        try:
            return self.rows([record])[0]
        except MISFITS:
            return self._why(record)

    def _why(self, record: Sequence[str]) -> RowError:
        for place, convert in self._columns:
            try:
                convert((record[place],))
            except MISFITS:
                name = self._names[place]
                return _misfit(name, self._schema[name], record[place], is_empty=record[place] == "")
        raise AssertionError("a record that does not convert has a value that does not")


class ObjectCoercion:
    """JSON objects to rows: declared fields get their types in place, other fields stay as they are.

    A declared field that may be empty and is missing becomes None, after the object's own fields.
    """

    def __init__(self, schema: Mapping[str, FieldSpec]) -> None:
        self._columns = [(name, _value_converter(spec)) for name, spec in schema.items()]
        self._schema = schema

    def convert(self, rows: Sequence[Row]) -> None:
        """Gives all rows their types, or raises `MISFITS` and changes none."""
        changed: list[tuple[str, Sequence[Any]]] = []
        for name, convert in self._columns:
            column = [row.get(name, _MISSING) for row in rows]
            values = convert(column)
            if values is not column:
                changed.append((name, values))
        for name, values in changed:
            for row, value in zip(rows, values, strict=True):
                row[name] = value

    def row(self, row: Row) -> Row | RowError:
        """The one row with its types, or why it is none."""
        try:
            self.convert((row,))
        except MISFITS:
            return self._why(row)
        return row

    def _why(self, row: Row) -> RowError:
        for name, convert in self._columns:
            value = row.get(name, _MISSING)
            try:
                convert([value])
            except MISFITS:
                if value is _MISSING:
                    return RowError(code="missing", message=f"field {name!r} is missing", detail={"field": name})
                return _misfit(name, self._schema[name], value, is_empty=value is None)
        raise AssertionError("an object that does not convert has a value that does not")


def _misfit(name: str, spec: FieldSpec, value: object, *, is_empty: bool) -> RowError:
    if is_empty:
        return RowError(code="empty", message=f"field {name!r} is empty and must not be", detail={"field": name})
    return RowError(
        code="type",
        message=f"field {name!r}: {shortened(value)} is not {_NAMES[spec.type]}",
        detail={"field": name, "value": shortened(value), "expected": spec.type.value},
    )


def _ints(column: Sequence[str]) -> list[int]:
    if "".join(column).strip("0123456789+- "):
        raise ValueError("not all are ASCII digits")
    return list(map(int, column))


def _floats(column: Sequence[str]) -> list[float]:
    if "".join(column).strip("0123456789+-.eE "):
        raise ValueError("not all are ASCII digits")
    values = list(map(float, column))
    if not isfinite(sum(values)) and not all(map(isfinite, values)):
        raise ValueError("too large for a float")
    return values


def _decimals(column: Sequence[str]) -> list[Decimal]:
    if "".join(column).strip("0123456789+-.eE "):
        raise ValueError("not all are ASCII digits")
    return list(map(Decimal, column))


def _bools(column: Sequence[str]) -> list[bool]:
    return list(map(_BOOLS.__getitem__, map(str.lower, map(_trimmed, column))))


def _dates(column: Sequence[str]) -> list[date]:
    return list(map(date.fromisoformat, map(_trimmed, column)))


def _datetimes(column: Sequence[str]) -> list[datetime]:
    return list(map(datetime.fromisoformat, map(_trimmed, column)))


def _json_texts(column: Sequence[str]) -> list[Any]:
    return list(map(decode_json, column))


def _texts(column: Sequence[str]) -> Sequence[str]:
    return column


_FROM_TEXT: Final[Mapping[FieldType, Converter]] = {
    FieldType.INT: _ints,
    FieldType.FLOAT: _floats,
    FieldType.STR: _texts,
    FieldType.BOOL: _bools,
    FieldType.DATE: _dates,
    FieldType.DATETIME: _datetimes,
    FieldType.DECIMAL: _decimals,
    FieldType.JSON: _json_texts,
}


def _text_converter(spec: FieldSpec) -> Converter:
    convert = _FROM_TEXT[spec.type]
    if not spec.is_nullable:
        return _never_none(convert) if spec.type is FieldType.JSON else convert

    def convert_present(column: Sequence[str]) -> Sequence[Any]:
        if "" not in column:
            return convert(column)
        present = iter(convert([text for text in column if text]))
        return [next(present) if text else None for text in column]

    return convert_present


def _never_none(convert: Converter) -> Converter:
    def convert_all(column: Sequence[Any]) -> Sequence[Any]:
        values = convert(column)
        if None in values:
            raise ValueError("null where something must be")
        return values

    return convert_all


def _only(*kinds: type) -> Converter:
    """Takes values of exactly these types as they are, so that a bool is no int."""
    allowed = frozenset(kinds)

    def check(column: Sequence[Any]) -> Sequence[Any]:
        if not allowed.issuperset(map(type, column)):
            raise ValueError("another type")
        return column

    return check


_only_text: Final = _only(str)
_only_numbers: Final = _only(int, float)
_only_floats: Final = frozenset({float})


def _float_values(column: Sequence[Any]) -> Sequence[Any]:
    _only_numbers(column)
    return column if _only_floats.issuperset(map(type, column)) else list(map(float, column))


def _date_values(column: Sequence[Any]) -> Sequence[Any]:
    return _dates(_only_text(column))


def _datetime_values(column: Sequence[Any]) -> Sequence[Any]:
    return _datetimes(_only_text(column))


def _decimal_values(column: Sequence[Any]) -> Sequence[Any]:
    """A JSON number with a fraction has been read as a float: its shortest form is meant."""
    texts = [repr(v) if type(v) is int or type(v) is float else v for v in column]
    return _decimals(_only_text(texts))


def _json_values(column: Sequence[Any]) -> Sequence[Any]:
    if _MISSING in column:
        raise ValueError("a field is missing")
    return column


_FROM_JSON: Final[Mapping[FieldType, Converter]] = {
    FieldType.INT: _only(int),
    FieldType.FLOAT: _float_values,
    FieldType.STR: _only(str),
    FieldType.BOOL: _only(bool),
    FieldType.DATE: _date_values,
    FieldType.DATETIME: _datetime_values,
    FieldType.DECIMAL: _decimal_values,
    FieldType.JSON: _json_values,
}


def _value_converter(spec: FieldSpec) -> Converter:
    convert = _FROM_JSON[spec.type]
    if not spec.is_nullable:
        return _never_none(convert) if spec.type is FieldType.JSON else convert

    def convert_present(column: Sequence[Any]) -> Sequence[Any]:
        present = [value for value in column if value is not None and value is not _MISSING]
        if len(present) == len(column):
            return convert(column)
        values = iter(convert(present))
        return [None if value is None or value is _MISSING else next(values) for value in column]

    return convert_present
