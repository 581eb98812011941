"""Rows survive their bytes, and JSON from outside either fails or can be encoded again."""

from __future__ import annotations

import json.encoder
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.contracts import Fields, FieldType
from elspeth.core import canonical
from elspeth.core.canonical import NotEncodableError, RowCodec, compact_json, decode_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4))
ZONES = st.none() | st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))
TYPED = st.fixed_dictionaries(
    {
        "day": st.none() | st.dates(),
        "at": st.none() | st.datetimes(timezones=ZONES).map(lambda t: t.replace(fold=0)),
        "sum": st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    }
)
CODEC = RowCodec(Fields({"day": FieldType.DATE, "at": FieldType.DATETIME, "sum": FieldType.DECIMAL}, is_open=True))


@given(st.dictionaries(st.text(), VALUES, max_size=8), TYPED)
def test_a_row_comes_back_with_its_types_and_its_order(loose: dict[str, Any], typed: dict[str, Any]) -> None:
    row = loose | typed

    back = CODEC.decode(CODEC.encode(row))

    assert back == row
    assert repr(back) == repr(row)


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6))
def test_a_batch_has_the_bytes_of_its_rows(rows: list[dict[str, Any]]) -> None:
    codec = RowCodec(Fields(is_open=True))

    assert codec.encode_batch(rows) == [codec.encode(row) for row in rows]


ODD = (
    VALUES | st.floats() | st.tuples(st.integers()) | st.just("\ud800") | st.dates() | st.lists(st.floats(), max_size=2)
)


@given(st.lists(st.dictionaries(st.text(max_size=2) | st.integers(0, 2), VALUES | ODD, max_size=3), max_size=6))
def test_a_row_without_bytes_keeps_none_of_its_neighbours_from_having_theirs(rows: list[dict[Any, Any]]) -> None:
    codec = RowCodec(Fields(is_open=True))
    for row, data in zip(rows, codec.encode_each(rows), strict=True):
        try:
            alone: object = codec.encode(row)
        except NotEncodableError as fault:
            alone = str(fault)
        assert alone == (str(data) if isinstance(data, NotEncodableError) else data)
        assert isinstance(data, NotEncodableError) or repr(codec.decode(data)) == repr(row)


def written(value: object) -> list[str]:
    """A value alone and as a row's field, or why it has no bytes."""
    try:
        text = compact_json(value)
    except NotEncodableError as fault:
        text = str(fault)
    return [text, *map(str, RowCodec(Fields(is_open=True)).encode_each([{"a": value}]))]


@given(st.recursive(ODD, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text() | st.integers(), v, max_size=4)))
@example([float("nan")])
def test_the_public_encoder_writes_and_refuses_as_the_c_encoder_does(value: object) -> None:
    expected = written(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json.encoder, "c_make_encoder", None)
        patch.setattr(canonical, "_chunks", canonical._compact_encoder())
        assert expected == written(value)


@given(VALUES)
def test_what_is_written_as_json_is_read_as_the_same_value(value: object) -> None:
    assert repr(decode_json(compact_json(value))) == repr(value)


@given(st.binary(max_size=64) | st.text(alphabet='[]{}":,\\u d8eE+-.019aNnul', max_size=40).map(str.encode))
def test_bytes_from_outside_are_read_or_refused_and_never_crash(data: bytes) -> None:
    try:
        value = decode_json(data)
    except ValueError:
        return

    assert repr(decode_json(compact_json(value))) == repr(value)
