"""What the jsonl source makes of a file, sound or not."""

# ruff: noqa: DTZ001 (rows hold times without a zone too)

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import Fields, FieldType, SourceError
from elspeth.plugins.sources import records
from elspeth.plugins.sources.jsonl import JsonlSource

ReadJsonl = Callable[..., Any]
MakeJsonl = Callable[..., JsonlSource]


def test_rows_are_the_objects_with_their_own_types(read_jsonl: ReadJsonl) -> None:
    read = read_jsonl(b'{"b":1,"a":1.0,"c":[{"d":null}]}\r\n{"x":true}')

    assert [repr(row) for row in read.rows] == ["{'b': 1, 'a': 1.0, 'c': [{'d': None}]}", "{'x': True}"]
    assert (read.indexes, read.lines, read.rejected) == ([0, 1], [1, 2], [])


def test_blank_lines_are_no_records_but_count_as_lines(read_jsonl: ReadJsonl) -> None:
    read = read_jsonl(b'\n{"a":1}\n \t\n\r\n{"a":2}\n\n')

    assert (read.rows, read.indexes, read.lines) == ([{"a": 1}, {"a": 2}], [0, 1], [2, 5])


def test_a_byte_order_mark_is_no_part_of_the_first_object(read_jsonl: ReadJsonl) -> None:
    assert read_jsonl(b'\xef\xbb\xbf{"a":1}\n{"a":2}\n').rows == [{"a": 1}, {"a": 2}]
    assert read_jsonl(b'\xef\xbb\xbf{"a":1}\n', max_record_bytes=12).rows == [{"a": 1}]
    assert read_jsonl(b'{"a":1}\n\xef\xbb\xbf{"a":2}\n').codes == ["json"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"[1]", "not_object"),
        (b'"text"', "not_object"),
        (b"null", "not_object"),
        (b"1", "not_object"),
        (b"{", "json"),
        (b"{'a':1}", "json"),
        (b'{"a":1}{"b":2}', "json"),
        (b'{"a":NaN}', "json"),
        (b'{"a":-Infinity}', "json"),
        (b'{"a":1e999}', "json"),
        (b'{"a":1,"a":2}', "json"),
        (b'{"a":{"b":1,"b":2}}', "json"),
        (b'{"a":"\\ud800"}', "json"),
        (b'{"\\udc00":1}', "json"),
        (b'{"a":"\0"}', "json"),
        (b"\0", "json"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "json"),
        (b'{"a":' + b"[" * 100_000, "json"),
        (b'{"a":' + b"9" * 5000 + b"}", "json"),
        (b'{"a":"\xff"}', "encoding"),
        (b'{"a":"\xed\xa0\x80"}', "encoding"),
    ],
)
def test_a_line_that_is_no_object_is_rejected_and_its_neighbours_are_rows(
    read_jsonl: ReadJsonl, line: bytes, code: str
) -> None:
    read = read_jsonl(b'{"n":1}\n' + line + b'\r\n{"n":2}\n')

    assert read.rows == [{"n": 1}, {"n": 2}]
    assert (read.codes, read.raws) == ([code], [line + b"\r\n"])
    assert (read.indexes, read.lines) == ([0, 2], [1, 3])
    assert (read.rejected[0].index, read.rejected[0].line) == (1, 2)


def test_a_line_beyond_the_limit_is_rejected_by_its_beginning_and_its_hash(read_jsonl: ReadJsonl) -> None:
    long = b'{"a":"' + b"x" * 400_000 + b'"}\n'
    read = read_jsonl(long + b'{"a":1}\n' + long, max_record_bytes=1000)

    assert read.rows == [{"a": 1}]
    assert (read.codes, read.lines) == (["too_large", "too_large"], [2])
    assert read.raws == [long[: 64 * 1024]] * 2
    assert read.rejected[0].error.detail == {"bytes": len(long), "sha256": hashlib.sha256(long).hexdigest()}


def test_declared_fields_get_their_types_and_others_stay(read_jsonl: ReadJsonl) -> None:
    words = {"f": "float", "d": "date", "t": "datetime", "c": "decimal", "j": "json", "n": "int?", "m": "str?"}
    line = (
        b'{"x":{"y":1},"f":3,"d":"2024-01-02","t":"2024-01-02T03:04:05","c":"1.10","j":[null],"n":null}\n'
        b'{"c":1,"f":3.5,"d":"2024-01-02","t":"2024-01-02","j":0,"n":4,"m":""}\n'
        b'{"c":0.1,"f":-1,"d":"2024-01-02","t":"2024-01-02","j":false,"n":4,"m":"y"}\n'
    )

    first, second, third = read_jsonl(line, words).rows

    assert repr(first) == repr(
        {
            "x": {"y": 1}, "f": 3.0, "d": date(2024, 1, 2), "t": datetime(2024, 1, 2, 3, 4, 5),
            "c": Decimal("1.10"), "j": [None], "n": None, "m": None,
        }
    )  # fmt: skip
    assert (second["c"], second["m"], third["c"]) == (Decimal(1), "", Decimal("0.1"))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("int", "true"), ("int", "3.0"), ("int", '"3"'), ("float", "true"), ("float", '"1.5"'),
        ("float", "1" + "0" * 400), ("str", "1"), ("bool", "1"), ("bool", '"true"'), ("date", "20240101"),
        ("date", '"soon"'), ("datetime", '"soon"'), ("decimal", "true"), ("decimal", '"NaN"'), ("decimal", "[]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "?"])
def test_a_value_of_another_type_is_rejected_and_its_neighbours_are_rows(
    read_jsonl: ReadJsonl, word: str, value: str, mark: str
) -> None:
    sounds = {"str": '"s"', "bool": "true", "date": '"2024-01-01"', "datetime": '"2024-01-01"'}
    sound = f'{{"a":{sounds.get(word, "1")}}}\n'.encode()

    read = read_jsonl(sound + f'{{"a":{value}}}\n'.encode() + sound, {"a": word + mark})

    assert len(read.rows) == 2
    assert read.rows[0] == read.rows[1]
    assert (read.codes, read.indexes) == (["type"], [0, 2])
    assert read.rejected[0].error.detail["field"] == "a"


@pytest.mark.parametrize("word", [kind.value for kind in FieldType])
def test_null_and_missing_are_rejected_where_the_field_may_not_be_empty(read_jsonl: ReadJsonl, word: str) -> None:
    read = read_jsonl(b'{"a":null}\n{"b":1}\n', {"a": word})

    assert read.codes == ["empty", "missing"]
    assert read_jsonl(b'{"a":null}\n{"b":1}\n', {"a": f"{word}?"}).rows == [{"a": None}, {"b": 1, "a": None}]


def test_the_fields_are_the_declared_ones_and_open(jsonl_source: MakeJsonl) -> None:
    assert jsonl_source(b"", {"a": "int?"}).fields() == Fields({"a": FieldType.INT}, is_open=True)
    assert jsonl_source(b"").fields() == Fields(is_open=True)


def test_an_empty_file_ends_at_once(jsonl_source: MakeJsonl) -> None:
    (only,) = jsonl_source(b"").read(None, size=10)

    assert (only.rows, only.rejected, only.end.next_row, only.end.cursor["done"]) == ([], [], 0, True)


@pytest.mark.parametrize("block_bytes", [1, 13, 100, 100_000])
@pytest.mark.parametrize("limit", [30, 100_000])
def test_where_blocks_and_batches_end_changes_no_record(
    read_jsonl: ReadJsonl, monkeypatch: pytest.MonkeyPatch, block_bytes: int, limit: int
) -> None:
    data = b'\xef\xbb\xbf{"a":1}\n\n{"a":"x"}\n[]\n{\n{"a":2}\n{"a":3,"b":"' + b"x" * 50 + b'"}\n\xff\n{"a":4}\n{"a"'
    expected = read_jsonl(data, {"a": "int"}, max_record_bytes=limit)

    monkeypatch.setattr(records, "BLOCK_BYTES", block_bytes)
    for size in (1, 2, 100):
        read = read_jsonl(data, {"a": "int"}, size=size, max_record_bytes=limit)
        assert (read.rows, read.lines, read.indexes) == (expected.rows, expected.lines, expected.indexes)
        assert read.rejected == expected.rejected


def test_a_changed_file_is_refused_on_resume(jsonl_source: MakeJsonl) -> None:
    begun = next(iter(jsonl_source(b'{"a":1}\n{"a":2}\n').read(None, size=1))).end

    with pytest.raises(SourceError, match="first 8 bytes are not the ones already read"):
        list(jsonl_source(b'{"a":3}\n{"a":2}\n').read(begun, size=1))
    with pytest.raises(SourceError, match="the source has 8 bytes, it had 16"):
        list(jsonl_source(b'{"a":1}\n').read(begun, size=1))


def test_another_encoding_is_refused(jsonl_source: MakeJsonl) -> None:
    with pytest.raises(ValidationError):
        jsonl_source(b"", encoding="latin-1")
