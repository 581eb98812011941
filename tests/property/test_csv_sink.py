"""The csv sink, by column, against the standard library's writer, record by record."""

from __future__ import annotations

import csv
import io
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.contracts import Fields, SinkError
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sinks.delimited import cell_text, without_formulas

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
CELLS = st.sampled_from(["", "x", "=1", '",', "\r\n", None, True, -1, 0.5, ["\n"]])
LOOSE_ROWS = st.lists(st.dictionaries(st.sampled_from("abcd"), CELLS), max_size=5)
FORMULAS = st.lists(st.fixed_dictionaries(dict.fromkeys("abc", st.sampled_from(["=1", "-1", "-x"]))), max_size=3)


def written_by_csv(records: list[list[Any]], delimiter: str) -> list[bytes]:
    """With CR LF as its line end, the writer quotes both; ours end in LF alone and quote both all the same."""
    done = []
    for record in records:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(map(cell_text, record))
        done.append(buffer.getvalue().removesuffix("\r\n").encode() + b"\n")
    return done


def line_numbers(records: list[bytes]) -> list[int]:
    """The line at which each record begins, and the one after the last."""
    return list(accumulate((record.count(b"\n") for record in records), initial=1))


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

    assert [*header.lines, *written.lines][1:] == line_numbers(expected)[1:]


@settings(max_examples=400)
@given(
    st.permutations("abc").flatmap(lambda names: st.integers(1, 3).map(lambda width: names[:width])),
    LOOSE_ROWS | FORMULAS,
    st.booleans(),
    st.sampled_from(["keep", "escape"]),
)
def test_rows_need_not_have_the_fields_of_the_columns(
    names: list[str], rows: list[dict[str, Any]], is_listed: bool, formulas: str
) -> None:
    """A missing field is an empty cell; a surplus one is left out where the columns are listed, else refused."""
    said = {"path": "x", "formulas": formulas} | ({"fields": names} if is_listed else {})
    sink = CsvSink(parse_options(CsvSinkOptions, said, OptionsContext()))
    sink.header(Fields(dict.fromkeys(names), is_open=is_listed))
    if not is_listed and set().union(*rows) - set(names):
        with pytest.raises(SinkError):
            sink.encode(rows, first_line=1)
        return

    records = [[row.get(name) for name in names] for row in rows]
    if formulas == "escape":
        records = [[without_formulas(v) if isinstance(v, str) else v for v in record] for record in records]
    expected = written_by_csv(records, ",")
    written = sink.encode(rows, first_line=1)

    assert b"".join(expected) == written.data
    assert line_numbers(expected) == list(written.lines)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=6))
def test_a_standard_reader_gets_the_texts_back(records: list[list[str]]) -> None:
    sink = CsvSink(parse_options(CsvSinkOptions, {"path": "x"}, OptionsContext()))
    sink.header(Fields({"a": None, "b": None}))
    written = sink.encode([dict(zip("ab", record, strict=True)) for record in records], first_line=2)

    assert list(csv.reader(io.StringIO(written.data.decode(), newline=""), strict=True)) == records
