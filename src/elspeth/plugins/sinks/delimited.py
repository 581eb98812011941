"""Rows as delimited text, a column at a time: the bytes of ``csv.writer``, in a third of its time.

The form is that of ``csv.writer`` with QUOTE_MINIMAL (property-tested against it): a
cell is quoted when it holds the delimiter, a quote, CR or LF, or is empty and alone
in its record. Records end in one LF, so that a line number means the same to every tool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

from elspeth.core.canonical import compact_json

__all__ = ["cell_text", "encode_columns", "without_formulas"]

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def cell_text(value: object) -> str:
    """A value as a cell says it: None is empty, a bool ``true`` or ``false``, a list or object its JSON."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case list() | dict():
            return compact_json(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def without_formulas(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would run; numbers stay numbers."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def encode_columns(
    columns: Sequence[Sequence[Any]], *, delimiter: str, escape: Callable[[str], str] | None
) -> tuple[str, list[int]]:
    """The text of records given by column, and how many lines each takes; no numbers when each takes one.

    ``escape`` changes the text of values that are text themselves.
    """
    specials = (delimiter, '"', "\n", "\r")
    cells = []
    for column in columns:
        texts = _texts(column, escape)
        joined = "".join(texts)
        if any(special in joined for special in specials):
            texts = [
                _quoted(text) if delimiter in text or '"' in text or "\n" in text or "\r" in text else text
                for text in texts
            ]
        cells.append(texts)
    if len(cells) == 1:
        cells = [[text or '""' for text in cells[0]]]
    records = list(map(delimiter.join, zip(*cells, strict=True)))
    text = "\n".join(records) + "\n" if records else ""
    if text.count("\n") == len(records):
        return text, []
    return text, [record.count("\n") + 1 for record in records]


def _texts(column: Sequence[Any], escape: Callable[[str], str] | None) -> Sequence[str]:
    kinds = set(map(type, column))
    if kinds == {str}:
        return column if escape is None else list(map(escape, column))
    if kinds == {int}:
        return list(map(str, column))
    if kinds == {float}:
        return list(map(repr, column))
    if escape is None:
        return list(map(cell_text, column))
    return [escape(value) if type(value) is str else cell_text(value) for value in column]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
