"""The bytes that the csv sink makes of rows, and what it refuses to drop."""

# ruff: noqa: DTZ001 (rows hold times without a zone too)

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import Fields, FieldType, PipelineError, SinkError
from elspeth.plugins.sinks.csv import CsvSink

MakeSink = Callable[..., CsvSink]
AB = Fields({"a": FieldType.STR, "b": None})


def encoded(sink: CsvSink, rows: list[dict[str, Any]], fields: Fields = AB) -> bytes:
    return sink.header(fields).data + sink.encode(rows, first_line=2).data


def test_the_header_comes_from_the_known_fields_even_without_rows(csv_sink: MakeSink) -> None:
    header = csv_sink().header(AB)

    assert (header.data, list(header.lines)) == (b"a,b\n", [2])


def test_the_listed_fields_select_and_order_the_columns(csv_sink: MakeSink) -> None:
    sink = csv_sink(fields=["b", "a"])

    assert encoded(sink, [{"a": "1", "b": "2", "c": "3"}], Fields({"a": None, "b": None, "c": None})) == (b"b,a\n2,1\n")
    assert encoded(csv_sink(fields=["z", "a"]), [{"a": "1"}, {"z": "2"}], Fields(is_open=True)) == (b"z,a\n,1\n2,\n")


def test_values_of_every_kind_have_their_text(csv_sink: MakeSink) -> None:
    values = [
        "text", None, True, False, 3, 10**30, 3.0, 1e-7, Decimal("1.10"), date(2024, 1, 2),
        datetime(2024, 1, 2, 3, 4, 5), [1, "é", {"x": None}], {"k": "v"}, "",
    ]  # fmt: skip
    data = encoded(csv_sink(), [{"a": "x", "b": value} for value in values])

    assert data.decode().splitlines()[1:] == [
        "x,text", "x,", "x,true", "x,false", "x,3", f"x,{10**30}", "x,3.0", "x,1e-07", "x,1.10", "x,2024-01-02",
        "x,2024-01-02T03:04:05", 'x,"[1,""é"",{""x"":null}]"', 'x,"{""k"":""v""}"', "x,",
    ]  # fmt: skip


def test_cells_are_quoted_only_where_they_must_be(csv_sink: MakeSink) -> None:
    rows = [{"a": 'say "x"', "b": "1,2"}, {"a": "two\nlines", "b": "cr\r"}, {"a": " space ", "b": ";"}]

    assert encoded(csv_sink(), rows) == b'a,b\n"say ""x""","1,2"\n"two\nlines","cr\r"\n space ,;\n'
    assert encoded(csv_sink(delimiter=";"), [{"a": "1,2", "b": ";"}]) == b'a;b\n1,2;";"\n'


def test_an_empty_cell_alone_in_its_record_is_quoted(csv_sink: MakeSink) -> None:
    assert encoded(csv_sink(), [{"a": ""}, {"a": None}, {"a": "x"}], Fields({"a": None})) == b'a\n""\n""\nx\n'


def test_lines_are_exact_when_cells_hold_newlines(csv_sink: MakeSink) -> None:
    sink = csv_sink()
    header = sink.header(Fields({"a": None, "b\nc": None}))
    rows = [{"a": "1", "b\nc": "2"}, {"a": "x\ny\n", "b\nc": "\n"}, {"a": "3", "b\nc": "4"}]

    assert (header.data, list(header.lines)) == (b'a,"b\nc"\n', [3])
    assert list(sink.encode(rows, first_line=3).lines) == [3, 4, 8, 9]


def test_a_missing_field_is_an_empty_cell(csv_sink: MakeSink) -> None:
    assert encoded(csv_sink(), [{"a": "1"}, {"b": "2"}, {}]) == b"a,b\n1,\n,2\n,\n"


def test_the_order_of_a_rows_fields_does_not_matter(csv_sink: MakeSink) -> None:
    assert encoded(csv_sink(), [{"b": "2", "a": "1"}]) == b"a,b\n1,2\n"


@pytest.mark.parametrize("row", [{"a": "1", "b": "2", "surplus": "3"}, {"a": "1", "surplus": "3"}])
def test_a_field_without_a_column_is_never_dropped_silently(csv_sink: MakeSink, row: dict[str, Any]) -> None:
    sink = csv_sink()
    sink.header(AB)

    with pytest.raises(SinkError, match="'surplus'") as refusal:
        sink.encode([{"a": "1", "b": "2"}, row], first_line=2)
    assert "options.fields" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("fields", "options", "code"),
    [
        (Fields({"a": None}, is_open=True), {}, "FIELDS_OPEN"),
        (Fields(), {}, "FIELDS_OPEN"),
        (AB, {"fields": ["a", "bb"]}, "FIELD_UNKNOWN"),
    ],
)
def test_a_header_that_cannot_be_known_is_an_error_of_the_pipeline(
    csv_sink: MakeSink, fields: Fields, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(PipelineError) as refusal:
        csv_sink(**options).header(fields)

    (diagnostic,) = refusal.value.diagnostics
    assert (diagnostic.path, diagnostic.code) == (("options", "fields"), code)
    assert diagnostic.hint


def test_a_listed_field_that_is_misspelt_gets_a_hint(csv_sink: MakeSink) -> None:
    with pytest.raises(PipelineError) as refusal:
        csv_sink(fields=["titel"]).header(Fields({"title": None, "body": None}))

    assert refusal.value.diagnostics[0].hint == "did you mean 'title'?"


FORMULAS = ["=1+1", "+SUM(A1)", "-x", "@cmd", "\tx", "\rx", "=", "-1+1", "--1"]
NO_FORMULAS = ["-1", "+1.5", "-.5e-3", "1=1", "x", "", " =1", "'=1"]


def test_formulas_are_kept_as_they_are_unless_asked(csv_sink: MakeSink) -> None:
    data = encoded(csv_sink(), [{"a": "=1+1", "b": "x"}])

    assert data == b"a,b\n=1+1,x\n"


def test_formulas_are_escaped_when_asked_and_numbers_are_not(csv_sink: MakeSink) -> None:
    sink = csv_sink(formulas="escape")
    sink.header(AB)

    for text in FORMULAS:
        for value, mixed in ((text, "x"), (text, None)):
            data = sink.encode([{"a": value, "b": ""}, {"a": mixed, "b": ""}], first_line=2).data
            assert data.replace(b'"', b"").startswith(b"'" + text.encode())
    for text in NO_FORMULAS:
        data = sink.encode([{"a": text, "b": ""}], first_line=2).data
        assert data == text.encode() + b",\n"
    assert sink.encode([{"a": -1, "b": -1.5}], first_line=2).data == b"-1,-1.5\n"


def test_a_header_is_escaped_too(csv_sink: MakeSink) -> None:
    assert csv_sink(formulas="escape").header(Fields({"=x": None, "a": None})).data == b"'=x,a\n"


def test_text_that_is_no_text_is_an_error_of_the_sink(csv_sink: MakeSink) -> None:
    sink = csv_sink()
    sink.header(AB)

    with pytest.raises(SinkError, match="surrogate"):
        sink.encode([{"a": "\ud800", "b": ""}], first_line=2)


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": '"'}, {"delimiter": "\n"}, {"delimiter": ""}, {"fields": []}, {"fields": ["a", "a"]},
        {"formulas": "maybe"}, {"if_exists": "append"}, {"path": ""}, {"header": True},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(csv_sink: MakeSink, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        csv_sink(**options)


def test_an_existing_file_is_replaced_unless_the_options_say_otherwise(csv_sink: MakeSink) -> None:
    assert csv_sink().options.if_exists == "replace"
    assert csv_sink(if_exists="error").options.if_exists == "error"
