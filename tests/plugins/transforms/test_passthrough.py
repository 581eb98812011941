"""The step that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elspeth.contracts import Context, Fields, Row, TransformResult, bulk_of, moves_values
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.transforms.passthrough import PassthroughOptions, PassthroughTransform
from elspeth.testing import FakeContext


def test_rows_and_fields_pass_as_they_are() -> None:
    transform = PassthroughTransform(parse_options(PassthroughOptions, {}, OptionsContext()))
    row, fields = {"a": 1}, Fields({"a": None}, is_open=True)

    assert transform.process(row, FakeContext()).rows == ({"a": 1},)
    assert transform.output_fields(fields) == fields


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers() | st.lists(st.none())), min_size=1))
def test_many_rows_at_once_become_what_they_become_one_by_one(rows: list[dict[str, Any]]) -> None:
    transform = PassthroughTransform(PassthroughOptions())
    single = [transform.process(deepcopy(row), FakeContext()) for row in rows]

    assert [repr(result.rows) for result in single] == [repr((row,)) for row in transform.process_bulk(rows) or ()]


def test_it_has_no_options() -> None:
    with pytest.raises(ValidationError):
        parse_options(PassthroughOptions, {"a": 1}, OptionsContext())


class Counting(PassthroughTransform):
    """What somebody makes of it who knows nothing of many rows at once."""

    def process(self, row: Row, ctx: Context) -> TransformResult:
        return super().process(row | {"seen": True}, ctx)


class CountingMany(Counting):
    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [row | {"seen": True} for row in rows]


class Renamed(CountingMany):
    pass


class Vouching(CountingMany):
    moves_values = True

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row]:
        return super().process_bulk(rows)


@pytest.mark.parametrize(
    ("kind", "takes_many"), [(PassthroughTransform, True), (Counting, False), (CountingMany, True), (Renamed, True)]
)
def test_many_rows_at_once_go_only_to_who_knows_of_them(kind: type[PassthroughTransform], takes_many: bool) -> None:
    transform = kind(PassthroughOptions())

    assert (bulk_of(transform) is transform) == takes_many
    assert bulk_of(object()) is None


@pytest.mark.parametrize(
    ("kind", "vouches"), [(PassthroughTransform, True), (CountingMany, False), (Renamed, False), (Vouching, True)]
)
def test_who_makes_rows_otherwise_does_not_inherit_what_another_vouches_for(
    kind: type[PassthroughTransform], vouches: bool
) -> None:
    assert vouches == moves_values(kind(PassthroughOptions()))
