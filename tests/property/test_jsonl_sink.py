"""The jsonl sink makes the same of rows as of their own bytes, which the engine has already."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_canonical import TYPED, VALUES

from elspeth.contracts import Fields, FieldType, WrittenBatch
from elspeth.core.canonical import RowCodec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.jsonl import JsonlSink, JsonlSinkOptions

OPEN = Fields(is_open=True)
DECLARED = Fields({"day": FieldType.DATE, "at": FieldType.DATETIME, "sum": FieldType.DECIMAL}, is_open=True)
JSON_ROWS = st.dictionaries(st.text(), VALUES, max_size=4)
TYPED_ROWS = st.builds(dict.__or__, JSON_ROWS, TYPED)


@given(
    st.tuples(st.just(OPEN), st.lists(JSON_ROWS, max_size=3))
    | st.tuples(st.just(DECLARED), st.lists(TYPED_ROWS, max_size=3)),
    st.integers(1, 10**12),
)
def test_rows_and_their_bytes_are_written_alike(typed_rows: tuple[Fields, list[dict[str, Any]]], first: int) -> None:
    fields, rows = typed_rows
    sink = JsonlSink(parse_options(JsonlSinkOptions, {"path": "x"}, OptionsContext()))
    sink.header(fields)
    lines = [RowCodec(fields).encode(row) for row in rows]

    expected = WrittenBatch(data=b"".join(line + b"\n" for line in lines), lines=range(first, first + len(rows) + 1))

    assert expected == sink.encode(rows, first_line=first)
    assert expected == sink.encode_lines(lines, first_line=first)
