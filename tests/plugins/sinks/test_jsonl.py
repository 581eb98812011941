"""The bytes that the jsonl sink makes of rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from elspeth.contracts import Fields, FieldType, SinkError
from elspeth.core.canonical import RowCodec
from elspeth.plugins.sinks.jsonl import JsonlSink

MakeSink = Callable[..., JsonlSink]
FIELDS = Fields({"day": FieldType.DATE, "text": FieldType.STR})
ROWS = [{"day": date(2024, 1, 2), "text": "two\nlines"}, {"day": None, "text": "é", "more": [1.0]}]


def test_a_line_is_the_rows_own_bytes(jsonl_sink: MakeSink) -> None:
    sink, codec = jsonl_sink(), RowCodec(FIELDS)
    header = sink.header(FIELDS)
    written = sink.encode(ROWS, first_line=1)

    assert (header.data, list(header.lines)) == (b"", [1])
    assert written.data == b"".join(codec.encode(row) + b"\n" for row in ROWS)
    assert list(written.lines) == [1, 2, 3]


def test_encoded_rows_are_taken_as_they_are(jsonl_sink: MakeSink) -> None:
    sink, codec = jsonl_sink(), RowCodec(FIELDS)
    sink.header(FIELDS)

    fast = sink.encode_lines([codec.encode(row) for row in ROWS], first_line=5)

    assert fast == sink.encode(ROWS, first_line=5)
    assert sink.encode_lines([], first_line=5) == sink.encode([], first_line=5)


def test_a_row_without_bytes_is_an_error_of_the_sink(jsonl_sink: MakeSink) -> None:
    with pytest.raises(SinkError, match="field 'text'"):
        jsonl_sink().encode([{"text": float("nan")}], first_line=1)


def test_the_path_keeps_its_placeholder_for_the_engine(jsonl_sink: MakeSink) -> None:
    assert jsonl_sink(path="/out/{run}/x.jsonl").path == "/out/{run}/x.jsonl"
