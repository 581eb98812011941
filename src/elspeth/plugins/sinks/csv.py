"""Rows as delimited text.

The header is what the graph knows of the rows' fields, so it is there even when no
row comes. Rows that may carry fields nobody declared need ``fields``: a header taken
from the first row would silently drop what only later rows have.

Cells hold the data as it is. A spreadsheet that opens the file runs a cell that
begins with ``=``, ``+``, ``-`` or ``@`` as a formula, and what a model or a stranger
wrote may begin so: where people open the output in one, ``formulas: escape`` puts an
apostrophe before such text (and before a leading tab or carriage return). The cell
then no longer is the data, so it is not the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import accumulate
from operator import itemgetter
from typing import Any, Literal

from pydantic import Field, field_validator

from elspeth.contracts import Diagnostic, Fields, PipelineError, Row, SinkError, WrittenBatch
from elspeth.core.config.options import Options, OutputPath
from elspeth.plugins.sinks.delimited import encode_columns, without_formulas

__all__ = ["CsvSink", "CsvSinkOptions"]


class CsvSinkOptions(Options):
    """Where the file goes and how it is written; ``fields`` selects and orders the columns."""

    path: OutputPath
    delimiter: str = Field(",", min_length=1, max_length=1)
    fields: list[str] | None = Field(None, min_length=1)
    formulas: Literal["keep", "escape"] = "keep"
    if_exists: Literal["replace", "error"] = "replace"

    @field_validator("delimiter")
    @classmethod
    def _is_a_delimiter(cls, character: str) -> str:
        if character in '\r\n\0"':
            raise ValueError("a line end, a quote or NUL cannot stand here")
        return character

    @field_validator("fields")
    @classmethod
    def _are_distinct(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) != len(names):
            raise ValueError("a field is listed more than once")
        return names


class CsvSink:
    """Rows as delimited text. `header` must be called once before `encode`, on a resume too."""

    options_model = CsvSinkOptions

    def __init__(self, options: CsvSinkOptions) -> None:
        self.options = options
        self.path: str = options.path
        self._names: tuple[str, ...] = tuple(options.fields or ())
        self._escape = without_formulas if options.formulas == "escape" else None

    def header(self, fields: Fields) -> WrittenBatch:
        """The names of the columns; raises `PipelineError` when they cannot be known."""
        self._names = self._columns_of(fields)
        text, heights = encode_columns(
            [(name,) for name in self._names], delimiter=self.options.delimiter, escape=self._escape
        )
        return WrittenBatch(data=text.encode(), lines=[1 + (heights[0] if heights else 1)])

    def encode(self, rows: Sequence[Row], *, first_line: int) -> WrittenBatch:
        """Records for the rows; raises `SinkError` for a field that has no column."""
        text, heights = encode_columns(self._by_column(rows), delimiter=self.options.delimiter, escape=self._escape)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise SinkError(f"a row for {self.path} holds half a surrogate pair, which is no text") from None
        lines: Sequence[int] = range(first_line, first_line + len(rows) + 1)
        return WrittenBatch(data=data, lines=list(accumulate(heights, initial=first_line)) if heights else lines)

    def _columns_of(self, fields: Fields) -> tuple[str, ...]:
        listed = self.options.fields
        if listed is None:
            if not fields.is_open and fields.types:
                return fields.names
            what = "rows may bring fields that nobody declared" if fields.is_open else "no field is known here"
            raise _refusal("FIELDS_OPEN", f"{what}: the header must be listed", "add options.fields: [...]")
        unknown = [] if fields.is_open else [name for name in listed if name not in fields]
        if unknown:
            close = get_close_matches(unknown[0], fields.names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the fields here are: {', '.join(fields.names)}"
            raise _refusal("FIELD_UNKNOWN", f"no row has a field {unknown[0]!r} here", hint)
        return tuple(listed)

    def _by_column(self, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """The rows' values by column, in C when every row has exactly the columns' fields."""
        names = self._names
        if len(names) > 1 and rows:
            try:
                records = list(map(itemgetter(*names), rows))
            except KeyError:
                records = []
            if records and (self.options.fields is not None or set(map(len, rows)) == {len(names)}):
                return list(zip(*records, strict=True))
        if self.options.fields is None:
            self._refuse_extra(rows)
        return [[row.get(name) for row in rows] for name in names]

    def _refuse_extra(self, rows: Sequence[Row]) -> None:
        known = frozenset(self._names)
        for row in rows:
            for name in row:
                if name not in known:
                    raise SinkError(
                        f"a row has the field {name!r}, which the header of {self.path} has not",
                        hint="list the fields to write in the sink's options.fields",
                    )


def _refusal(code: str, message: str, hint: str) -> PipelineError:
    return PipelineError([Diagnostic(path=("options", "fields"), code=code, message=message, hint=hint)])
