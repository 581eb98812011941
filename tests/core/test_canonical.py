"""What the bytes of rows are, what has none, and what JSON from outside is let in."""

# ruff: noqa: DTZ001 (rows hold times without a zone too)

from __future__ import annotations

import json
import json.encoder
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields, FieldType
from elspeth.core import canonical
from elspeth.core.canonical import (
    MAX_DEPTH,
    NotEncodableError,
    RowCodec,
    canonical_json,
    compact_json,
    decode_json,
    sha256,
)

OPEN = RowCodec(Fields(is_open=True))
TYPED = RowCodec(
    Fields({"day": FieldType.DATE, "at": FieldType.DATETIME, "sum": FieldType.DECIMAL, "n": FieldType.INT})
)


class Colour(IntEnum):
    RED = 1


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_rows_bytes_are_compact_utf8_json_in_the_order_of_its_fields() -> None:
    row = {"b": "é\n\u2028", "a": 3.0, "n": 3, "big": 2**70, "no": None, "yes": True, "list": [1, {"x": []}]}

    assert OPEN.encode(row) == (
        b'{"b":"\xc3\xa9\\n\xe2\x80\xa8","a":3.0,"n":3,"big":1180591620717411303424,'
        b'"no":null,"yes":true,"list":[1,{"x":[]}]}'
    )


def test_the_bytes_of_a_row_never_hold_a_newline() -> None:
    assert b"\n" not in OPEN.encode({"a\n": "\r\n\x0b\x1c\x85\u2028\u2029"})


@pytest.mark.parametrize("value", [10**4300 - 1, -(10**4300 - 1)])
def test_the_longest_numbers_come_back(value: int) -> None:
    """A decoder may count the sign as a digit."""
    assert {"a": value} == OPEN.decode(OPEN.encode({"a": value}))


def test_dates_and_decimals_come_back_by_the_declared_types() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    row = {
        "day": date(2024, 2, 29),
        "at": datetime(2024, 1, 2, 3, 4, 5, 6, zone),
        "sum": Decimal("1.10"),
        "n": 1,
    }

    data = TYPED.encode(row)
    back = TYPED.decode(data)

    assert data == b'{"day":"2024-02-29","at":"2024-01-02T03:04:05.000006+05:30","sum":"1.10","n":1}'
    assert back == row
    assert [repr(v) for v in back.values()] == [repr(v) for v in row.values()]


def test_a_null_or_absent_typed_field_stays_so() -> None:
    assert TYPED.decode(TYPED.encode({"day": None, "n": 1})) == {"day": None, "n": 1}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"ok": 1, "x": float("nan")}, "x"),
        ({"x": float("inf")}, "x"),
        ({"x": [1, {"y": float("-inf")}]}, "x"),
        ({"ok": "fine", "x": "\ud800"}, "x"),
        ({"x": {"\udfff": 1}}, "x"),
        ({"x": (1, 2)}, "x"),
        ({"x": {1: 2}}, "x"),
        ({"x": {"a": {None: 2}}}, "x"),
        ({"x": {1, 2}}, "x"),
        ({"x": b"bytes"}, "x"),
        ({"x": Colour.RED}, "x"),
        ({"x": OrderedDict(a=1)}, "x"),
        ({"x": [OrderedDict(a=1)]}, "x"),
        ({"x": date(2024, 1, 1)}, "x"),
        ({"x": [datetime(2024, 1, 1)]}, "x"),
        ({"x": Decimal("1")}, "x"),
        ({"x": object()}, "x"),
        ({"x": 10**5000}, "x"),
        ({"x": nested(MAX_DEPTH + 1)}, "x"),
        ({"x": nested(50_000)}, "x"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused_with_its_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(NotEncodableError) as one:
        OPEN.encode(row)
    with pytest.raises(NotEncodableError) as many:
        OPEN.encode_batch([{"fine": 1}, row])

    assert (one.value.field, many.value.field) == (field, field)
    assert isinstance(one.value, ValueError)


def test_a_cycle_is_refused_at_once() -> None:
    loop: list[Any] = []
    loop += [loop, loop]

    with pytest.raises(NotEncodableError, match="levels deep"):
        OPEN.encode({"x": loop})


def test_a_key_that_is_not_text_is_refused() -> None:
    with pytest.raises(NotEncodableError, match="key that is not text"):
        OPEN.encode({1: "a"})  # type: ignore[dict-item]
    with pytest.raises(NotEncodableError):
        OPEN.encode({"\ud800": "a"})


@pytest.mark.parametrize(
    "row",
    [
        {"day": "2024-01-01"},
        {"day": datetime(2024, 1, 1)},
        {"at": date(2024, 1, 1)},
        {"at": datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))},
        {"at": datetime(2024, 10, 27, 2, 30, fold=1)},
        {"sum": 1},
        {"sum": Decimal("NaN")},
        {"sum": Decimal("Infinity")},
        {"n": date(2024, 1, 1)},
    ],
)
def test_a_typed_field_takes_only_what_comes_back_as_its_type(row: dict[str, Any]) -> None:
    with pytest.raises(NotEncodableError) as fault:
        TYPED.encode(row)

    assert fault.value.field == next(iter(row))


def test_a_utc_time_comes_back_as_utc() -> None:
    row = {"at": datetime(2024, 1, 1, tzinfo=UTC)}

    assert repr(TYPED.decode(TYPED.encode(row))) == repr(row)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"{} ", b"1", b'{"a":NaN}', b"\xff", b'{"day":1}', b'{"day":"x"}', b'{"sum":"x"}'],
)
def test_bytes_that_are_no_row_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        TYPED.decode(data)


def test_encoding_a_batch_gives_the_same_bytes_as_row_by_row() -> None:
    rows = [{"n": i, "sum": Decimal(i), "more": [i]} for i in range(5)]

    assert TYPED.encode_batch(rows) == [TYPED.encode(row) for row in rows]
    assert OPEN.encode_batch([]) == []


PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), PLAIN_VALUES, max_size=4), max_size=4))
def test_rows_for_which_somebody_vouches_have_the_bytes_that_they_have_otherwise(rows: list[dict[str, Any]]) -> None:
    assert encoded(rows, are_plain=False) == encoded(rows, are_plain=True)


def encoded(rows: list[dict[str, Any]], *, are_plain: bool) -> list[bytes | str]:
    return [
        str(data) if isinstance(data, NotEncodableError) else data
        for data in OPEN.encode_each(rows, are_plain=are_plain)
    ]


def test_what_the_c_encoder_refuses_is_refused_whoever_vouches() -> None:
    for value in ("\ud800", object(), nested(2000)):
        with pytest.raises(NotEncodableError) as fault:
            OPEN.encode_batch([{"a": 1}, {"b": value}], are_plain=True)
        assert "b" == fault.value.field


@pytest.mark.parametrize("more", [{}, {"more": [None, 1.5]}, {"more": {"deep": None}}])
def test_a_number_that_is_none_is_found_among_nulls_floats_and_nested_values(more: dict[str, Any]) -> None:
    fine: list[dict[str, Any]] = [{"a": None, "b": "null"}, {"a": 1.5, "b": None}, {"a": 10**400, "b": True}, more]

    with pytest.raises(NotEncodableError) as first:
        OPEN.encode_batch([*fine, {"a": None, "b": float("inf")}, {"a": float("nan")}])

    assert first.value.field == "b"
    assert OPEN.encode_batch(fine) == [OPEN.encode(row) for row in fine]


def test_a_value_of_a_kind_that_rows_do_not_have_is_found_before_a_number_that_is_none() -> None:
    with pytest.raises(NotEncodableError) as first:
        OPEN.encode_batch([{"a": float("nan")}, {"b": ("x",)}])

    assert first.value.field == "b"


def test_the_public_encoder_takes_over_when_the_c_encoder_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"a": "é", "b": [1, 2.5, None]}
    expected = OPEN.encode(row)
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    monkeypatch.setattr(canonical, "_chunks", canonical._compact_encoder())

    assert OPEN.encode(row) == expected
    with pytest.raises(NotEncodableError):
        OPEN.encode({"a": float("nan")})


@pytest.mark.parametrize("is_other_call", [True, False])
def test_the_public_encoder_takes_over_when_the_c_encoder_has_changed(
    monkeypatch: pytest.MonkeyPatch, is_other_call: bool
) -> None:
    real = json.encoder.c_make_encoder  # type: ignore[attr-defined]
    answers = []

    def changed(*args: Any) -> Any:
        answers.append(args)
        if len(answers) > 1:
            return real(*args)
        if is_other_call:
            raise TypeError("make_encoder() takes another argument")
        return lambda _value, _level: ["?"]

    monkeypatch.setattr(json.encoder, "c_make_encoder", changed)

    assert "".join(canonical._compact_encoder()({"a": 1}, 0)) == '{"a":1}'


def test_canonical_json_is_rfc_8785() -> None:
    assert canonical_json({"b": 1.0, "a": "é", "c": [1e21]}) == '{"a":"é","b":1,"c":[1e+21]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), 2**60, "\ud800", {1: 2}, b"x", nested(5000), {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NotEncodableError):
        canonical_json(value)


def test_compact_json_keeps_the_order_of_keys() -> None:
    assert compact_json({"b": [1.0, "é"], "a": None}) == '{"b":[1.0,"é"],"a":null}'


@pytest.mark.parametrize("value", [float("nan"), (1,), {1: 2}, [object()], "\ud800", nested(2000)])
def test_compact_json_refuses_what_would_not_come_back(value: object) -> None:
    with pytest.raises(NotEncodableError):
        compact_json(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.0, "x"]}', {"a": [1, 2.0, "x"]}),
        (b" \t\r\n1 \n", 1),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1e308", 1e308),
        ("[null]", [None]),
    ],
)
def test_sound_json_is_read(text: bytes | str, value: object) -> None:
    assert decode_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"  ",
        b"{",
        b'{"a":1}x',
        b"NaN",
        b'{"a":Infinity}',
        b"-Infinity",
        b"1e999",
        b"[-1e400]",
        b'{"a":1,"a":2}',
        b'[{"a":{"b":1,"b":1}}]',
        b'"\\ud800"',
        b'{"\\uDFFF":1}',
        "\ud800",
        '"\ud800"',
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        b'"a\nb"',
        b"\xef\xbb\xbf1",
        b"'a'",
        b"[1,]",
        b"01",
        b"9" * 5000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 100_000,
    ],
)
def test_unsound_json_is_a_value_error(text: bytes | str) -> None:
    with pytest.raises(ValueError):
        decode_json(text)


def test_nesting_up_to_the_limit_is_read_and_encoded_again() -> None:
    text = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH

    assert compact_json(decode_json(text)).encode() == text


def test_many_shallow_containers_are_not_deep() -> None:
    assert len(decode_json(b"[" + b",".join([b"[]"] * 1000) + b"]")) == 1000


def test_sha256_gives_the_raw_digest() -> None:
    assert sha256(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
