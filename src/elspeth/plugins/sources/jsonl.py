"""Rows from a file with one JSON object a line, in UTF-8.

Declared fields get the schema's types, all other fields stay as they are. A line
that is no such object is rejected with its bytes. Blank lines are skipped and have
no index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from elspeth.contracts import Fields, Row, RowError, SourceBatch, SourcePosition
from elspeth.core.canonical import decode_json
from elspeth.core.config.options import InputPath, Options
from elspeth.plugins.sources.coercion import MISFITS, ObjectCoercion, shortened
from elspeth.plugins.sources.records import Cursor, LineFile, Page, read_pages, too_large

if TYPE_CHECKING:
    from elspeth.core.config.models import FieldSpec

__all__ = ["JsonlSource", "JsonlSourceOptions"]

_BOM: Final = b"\xef\xbb\xbf"


class JsonlSourceOptions(Options):
    """Where the file is. A line beyond ``max_record_bytes`` is rejected."""

    path: InputPath
    encoding: Literal["utf-8"] = "utf-8"
    max_record_bytes: int = Field(16 * 1024 * 1024, ge=1, le=2**31 - 1)


class JsonlSource:
    """Rows from a file with one JSON object a line."""

    options_model = JsonlSourceOptions
    makes_plain_values = True

    def __init__(self, options: JsonlSourceOptions, *, schema: Mapping[str, FieldSpec] | None) -> None:
        self.options = options
        self._schema = dict(schema or {})
        self._coercion = ObjectCoercion(self._schema)

    def fields(self) -> Fields:
        """The declared fields; a row may have more."""
        return Fields({name: spec.type for name, spec in self._schema.items()}, is_open=True)

    def read(self, start: SourcePosition | None, *, size: int) -> Iterator[SourceBatch]:
        """Yields the records from ``start``; the last batch, maybe an empty one, ends with ``done``."""
        cursor = Cursor.of(start)
        if cursor is not None and cursor.done:
            return
        with LineFile(self.options.path, cursor, limit=self.options.max_record_bytes) as file:
            yield from read_pages(
                file,
                start.next_row if start is not None else 0,
                size=size,
                read_some=partial(self._read_some, file),
            )

    def _read_some(self, file: LineFile, page: Page, most: int) -> None:
        """Reads the lines ahead at once when all are rows, else one by one."""
        lines = file.ahead()[:most]
        if not lines:
            self._read_one(file, page)
            return
        rows = self._rows(lines)
        if rows is not None:
            page.accept(rows, range(file.line, file.line + len(lines)))
        else:
            for number, line in enumerate(lines):
                outcome = self._judge(line, is_first=file.offset == 0 and number == 0)
                if outcome is not None:
                    page.add(outcome, line=file.line + number, raw=line)
        file.skip(len(lines))

    def _rows(self, lines: Sequence[bytes]) -> list[Row] | None:
        try:
            rows: list[Row] = list(map(decode_json, lines))
            if set(map(type, rows)) != {dict}:
                return None
            self._coercion.convert(rows)
        except MISFITS:
            return None
        return rows

    def _read_one(self, file: LineFile, page: Page) -> None:
        number, is_first = file.line, file.offset == 0
        line = file.take()
        if line is None:
            return
        limit = self.options.max_record_bytes
        if len(line) > limit:
            raw, error = too_large(file, (line,), limit)
            page.add(error, line=number, raw=raw)
            return
        outcome = self._judge(line, is_first=is_first)
        if outcome is not None:
            page.add(outcome, line=number, raw=line)

    def _judge(self, line: bytes, *, is_first: bool) -> Row | RowError | None:
        """The row of one line, or why it is none; None for a blank line."""
        if is_first:
            line = line.removeprefix(_BOM)
        if not line.strip():
            return None
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            reason = f"byte 0x{line[fault.start]:02x} is not utf-8: {fault.reason}"
            return RowError(code="encoding", message=reason)
        try:
            value = decode_json(text)
        except ValueError as fault:
            return RowError(code="json", message=f"is no sound JSON: {fault}")
        if type(value) is not dict:
            return RowError(code="not_object", message=f"the line holds {shortened(value)}, not an object")
        return self._coercion.row(value)
