"""Rows as one JSON object a line.

A line is the row's own bytes (`elspeth.core.canonical.RowCodec`), the ones that the
trail hashes. The engine, which has them already, hands them to `encode_lines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from elspeth.contracts import Fields, Row, SinkError, WrittenBatch
from elspeth.core.canonical import NotEncodableError, RowCodec
from elspeth.core.config.options import Options, OutputPath

__all__ = ["JsonlSink", "JsonlSinkOptions"]


class JsonlSinkOptions(Options):
    """Where the file goes."""

    path: OutputPath
    if_exists: Literal["replace", "error"] = "replace"


class JsonlSink:
    """Rows as one JSON object a line. `header` must be called once before `encode`, on a resume too."""

    options_model = JsonlSinkOptions

    def __init__(self, options: JsonlSinkOptions) -> None:
        self.options = options
        self.path: str = options.path
        self._codec = RowCodec(Fields())

    def header(self, fields: Fields) -> WrittenBatch:
        """Nothing stands before the first row; the fields tell which values are dates and decimals."""
        self._codec = RowCodec(fields)
        return WrittenBatch(data=b"", lines=[1])

    def encode(self, rows: Sequence[Row], *, first_line: int) -> WrittenBatch:
        """A line for each row; raises `SinkError` for a row that has no bytes."""
        try:
            lines = self._codec.encode_batch(rows)
        except NotEncodableError as fault:
            raise SinkError(f"a row cannot be written to {self.path}: {fault}") from fault
        return self.encode_lines(lines, first_line=first_line)

    def encode_lines(self, lines: Sequence[bytes], *, first_line: int) -> WrittenBatch:
        """The same for rows whose bytes are there already, without their newlines."""
        data = b"\n".join([*lines, b""])
        return WrittenBatch(data=data, lines=range(first_line, first_line + len(lines) + 1))
