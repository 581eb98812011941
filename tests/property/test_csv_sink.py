"""The csv sink, by column, against the standard library's writer, record by record."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sinks.delimited import cell_text

TEXTS = st.text(alphabet=st.sampled_from("a é\",;\t\r\n'=-|") | st.characters(codec="utf-8"), max_size=6)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes()
    | st.lists(TEXTS, max_size=2)
)


def written_by_csv(records: list[list[Any]], delimiter: str) -> list[bytes]:
    """With CR LF as its line end, the writer quotes both; ours end in LF alone and quote both all the same."""
    done = []
    for record in records:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(map(cell_text, record))
        done.append(buffer.getvalue().removesuffix("\r\n").encode() + b"\n")
    return done


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(TEXTS, min_size=width, max_size=width, unique=True),
            st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=6)
            | st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=6),
        )
    ),
    st.sampled_from(",;\t|-1a "),
)
def test_the_bytes_are_those_of_the_standard_writer(table: tuple[list[str], list[list[Any]]], delimiter: str) -> None:
    names, records = table
    options = parse_options(CsvSinkOptions, {"path": "x", "delimiter": delimiter}, OptionsContext())
    sink = CsvSink(options)
    header = sink.header(Fields(dict.fromkeys(names)))
    rows = [dict(zip(names, record, strict=True)) for record in records]
    written = sink.encode(rows, first_line=header.lines[0])

    expected = written_by_csv([names, *records], delimiter)
    assert [header.data, written.data] == [expected[0], b"".join(expected[1:])]

    lines = [1]
    for record in expected:
        lines.append(lines[-1] + record.count(b"\n"))
    assert [*header.lines, *written.lines][1:] == lines[1:]


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=6))
def test_a_standard_reader_gets_the_texts_back(records: list[list[str]]) -> None:
    sink = CsvSink(parse_options(CsvSinkOptions, {"path": "x"}, OptionsContext()))
    sink.header(Fields({"a": None, "b": None}))
    written = sink.encode([dict(zip("ab", record, strict=True)) for record in records], first_line=2)

    assert list(csv.reader(io.StringIO(written.data.decode(), newline=""), strict=True)) == records
