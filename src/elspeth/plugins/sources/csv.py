"""Rows from a file of delimited text.

The first record is the header. A page of lines goes through the C reader at once;
only what it refuses is read again, one record at a time, to find out what is wrong
and where the next record begins. A record that is no row is rejected with its bytes
as they stand in the file, and reading goes on at the next line. Blank lines are
skipped and have no index.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import islice
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from elspeth.contracts import (
    Fields,
    FieldType,
    Row,
    RowError,
    SourceBatch,
    SourceError,
    SourcePosition,
)
from elspeth.core.config.options import InputPath, Options
from elspeth.plugins.sources.coercion import MISFITS, TextCoercion
from elspeth.plugins.sources.encodings import ascii_compatible
from elspeth.plugins.sources.records import Cursor, LineFile, Page, read_pages, too_large

if TYPE_CHECKING:
    from elspeth.core.config.models import FieldSpec

__all__ = ["CsvSource", "CsvSourceOptions"]

_BOM: Final = b"\xef\xbb\xbf"


class CsvSourceOptions(Options):
    """Where the file is and how it is written. A record beyond ``max_record_bytes`` is rejected."""

    path: InputPath
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    quotechar: str = Field('"', min_length=1, max_length=1)
    max_record_bytes: int = Field(16 * 1024 * 1024, ge=1, le=2**31 - 1)

    @field_validator("delimiter", "quotechar")
    @classmethod
    def _is_no_line_end(cls, character: str) -> str:
        if character in "\r\n\0":
            raise ValueError("a line end or NUL cannot stand here")
        return character

    @field_validator("encoding")
    @classmethod
    def _is_ascii_compatible(cls, name: str) -> str:
        return ascii_compatible(name)

    @model_validator(mode="after")
    def _are_two_characters(self) -> CsvSourceOptions:
        if self.delimiter == self.quotechar:
            raise ValueError("delimiter and quotechar must be two different characters")
        return self


class _Record(Struct, frozen=True, kw_only=True):
    """One record that was read by itself: its values, or why there are none."""

    line: int
    raw: bytes
    values: list[str]
    error: RowError | None


class _Feed:
    """The lines of one record, as the C reader asks for them. What does not decode is replaced and noted."""

    def __init__(self, file: LineFile, encoding: str, limit: int) -> None:
        self.lines: list[bytes] = []
        self.encoding_fault: str | None = None
        self.is_too_large = False
        self._file = file
        self._encoding = encoding
        self._left = limit

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        is_first = self._file.offset == 0
        line = self._file.take()
        if line is None:
            raise StopIteration
        self.lines.append(line)
        self._left -= len(line)
        if self._left < 0:
            self.is_too_large = True
            raise csv.Error("too large")
        if is_first and self._encoding == "utf-8":
            line = line.removeprefix(_BOM)
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError as fault:
            self.encoding_fault = f"byte 0x{line[fault.start]:02x} is not {self._encoding}: {fault.reason}"
            return line.decode(self._encoding, "replace")


class CsvSource:
    """Rows from a file of delimited text."""

    options_model = CsvSourceOptions
    makes_plain_values = True

    def __init__(self, options: CsvSourceOptions, *, schema: Mapping[str, FieldSpec] | None) -> None:
        self.options = options
        self._schema = dict(schema or {})
        self._dialect: dict[str, Any] = {
            "delimiter": options.delimiter,
            "quotechar": options.quotechar,
            "strict": True,
        }
        self._decode: Callable[[bytes], str] = (
            bytes.decode if options.encoding == "utf-8" else methodcaller("decode", options.encoding)
        )

    def fields(self) -> Fields:
        """The header's columns; those that the schema does not name are text."""
        with self._open(None) as file:
            names = self._header(file)
        specs = self._schema
        return Fields({name: specs[name].type if name in specs else FieldType.STR for name in names})

    def read(self, start: SourcePosition | None, *, size: int) -> Iterator[SourceBatch]:
        """Yields the records from ``start``; the last batch, maybe an empty one, ends with ``done``."""
        cursor = Cursor.of(start)
        if cursor is not None and cursor.done:
            return
        with self._open(cursor) as file:
            if cursor is None:
                names = self._header(file)
            else:
                with self._open(None) as head:
                    names = self._header(head)
            read_some = partial(self._read_some, file, TextCoercion(names, self._schema), len(names))
            first = start.next_row if start is not None else 0
            yield from read_pages(file, first, size=size, read_some=read_some)

    def _open(self, cursor: Cursor | None) -> LineFile:
        # The module's limit on a field is the process's; ours is on the whole record.
        if csv.field_size_limit() < self.options.max_record_bytes:
            csv.field_size_limit(self.options.max_record_bytes)
        return LineFile(self.options.path, cursor, limit=self.options.max_record_bytes)

    def _read_some(self, file: LineFile, coercion: TextCoercion, width: int, page: Page, most: int) -> None:
        """Reads records from the lines ahead, up to the first that the C reader refuses; that one alone."""
        lines = file.ahead()
        is_clean = bool(lines) and not file.holds_nul
        if is_clean:
            records, ends, is_clean = self._parse(lines, most)
            first = file.line
            file.skip(ends[-1] if ends else 0)
            _accept(page, coercion, records, ends, lines, width=width, first_line=first)
        if not is_clean:
            record = self._record(file)
            if record is not None:
                outcome = record.error or _judge(record.values, coercion, width)
                page.add(outcome, line=record.line, raw=record.raw)

    def _parse(self, lines: Sequence[bytes], most: int) -> tuple[list[list[str]], list[int], bool]:
        """Records, how many lines were read after each, and whether the reader had nothing to refuse."""
        records: list[list[str]] = []
        ends: list[int] = []
        reader = csv.reader(map(self._decode, lines), **self._dialect)
        try:
            for record in islice(reader, most):
                records.append(record)
                ends.append(reader.line_num)
        except (csv.Error, UnicodeDecodeError):
            return records, ends, False
        return records, ends, True

    def _record(self, file: LineFile) -> _Record | None:
        """The next record by itself, with the reason when it is none; None for a blank line or the end."""
        line = file.line
        limit = self.options.max_record_bytes
        feed = _Feed(file, self.options.encoding, limit)
        values: list[str] = []
        error: RowError | None = None
        try:
            values = next(csv.reader(feed, **self._dialect), [])
        except csv.Error as fault:
            error = _csv_error(str(fault), len(feed.lines))
        if feed.is_too_large:
            raw, error = too_large(file, feed.lines, limit)
            return _Record(line=line, raw=raw, values=[], error=error)
        raw = b"".join(feed.lines)
        if b"\0" in raw:
            error = RowError(code="nul", message="the record holds a NUL byte")
        elif feed.encoding_fault is not None:
            error = RowError(code="encoding", message=feed.encoding_fault)
        if error is None and not values:
            return None
        return _Record(line=line, raw=raw, values=values, error=error)

    def _header(self, file: LineFile) -> list[str]:
        path = self.options.path
        record = None
        while record is None:
            if file.is_at_end:
                raise SourceError(f"{path} has no header", hint="the first record must name the columns")
            record = self._record(file)
        if record.error is not None:
            hint = "the file must have the encoding and the delimiters that the options say"
            if record.raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                hint = "this looks like UTF-16: convert the file to utf-8 first"
            raise SourceError(f"the header of {path} cannot be read: {record.error.message}", hint=hint)
        names = record.values
        self._check_header(names)
        return names

    def _check_header(self, names: list[str]) -> None:
        path = self.options.path
        twice = sorted({name for name in names if names.count(name) > 1})
        if "" in names:
            place = names.index("") + 1
            raise SourceError(
                f"column {place} of {len(names)} in {path} has no name", hint="name every column in the header"
            )
        if twice:
            raise SourceError(
                f"the header of {path} names {', '.join(map(repr, twice))} more than once",
                hint="a name must belong to one column: rename the others",
            )
        missing = [name for name in self._schema if name not in names]
        if missing:
            raise SourceError(
                f"{path} has no column {', '.join(map(repr, missing))}, which the schema declares",
                hint=_nearest(missing, names),
            )


def _accept(
    page: Page,
    coercion: TextCoercion,
    records: list[list[str]],
    ends: list[int],
    lines: Sequence[bytes],
    *,
    width: int,
    first_line: int,
) -> None:
    """Adds the records of a page: all at once when all are rows, else one by one."""
    starts = [0, *ends[:-1]]
    if set(map(len, records)) == {width}:
        try:
            rows = coercion.rows(records)
        except MISFITS:
            pass
        else:
            page.accept(rows, [first_line + start for start in starts])
            return
    for record, start, end in zip(records, starts, ends, strict=False):
        if record:
            raw = b"".join(lines[start:end])
            page.add(_judge(record, coercion, width), line=first_line + start, raw=raw)


def _judge(values: list[str], coercion: TextCoercion, width: int) -> Row | RowError:
    if len(values) != width:
        return RowError(
            code="field_count",
            message=f"the record has {len(values)} fields, the header has {width}",
            detail={"fields": len(values), "expected": width},
        )
    return coercion.row(values)


def _csv_error(reason: str, line_count: int) -> RowError:
    if "unexpected end of data" in reason:
        message = "a quote is opened and not closed before the end of the file"
    elif "new-line character seen in unquoted field" in reason:
        message = "a carriage return stands alone outside of quotes"
    else:
        message = f"is no sound CSV: {reason}"
    return RowError(code="csv", message=message, detail={"lines": line_count})


def _nearest(missing: list[str], names: list[str]) -> str:
    for name in missing:
        close = get_close_matches(name, names, n=1)
        if not close:
            close = [n for n in names if n.strip().casefold() == name.strip().casefold()]
        if close:
            return f"did you mean {close[0]!r} for {name!r}?"
    return f"the columns are: {', '.join(names)}"
