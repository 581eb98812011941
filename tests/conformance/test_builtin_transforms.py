"""Every built-in transform passes the suite that its Protocol comes with."""

from __future__ import annotations

from collections.abc import Sequence

from elspeth.contracts import Fields, FieldType, Row, Transform
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.transforms.field_mapper import FieldMapperOptions, FieldMapperTransform
from elspeth.plugins.transforms.passthrough import PassthroughOptions, PassthroughTransform
from elspeth.testing import TransformConformance


class TestPassthrough(TransformConformance):
    def make_transform(self) -> Transform:
        return PassthroughTransform(parse_options(PassthroughOptions, {}, OptionsContext()))

    def fields(self) -> Fields:
        return Fields({"a": FieldType.INT, "b": FieldType.JSON})

    def rows(self) -> Sequence[Row]:
        return [{"a": 1, "b": [{"c": 1.0}]}]


class TestFieldMapper(TransformConformance):
    def make_transform(self) -> Transform:
        values = {"rename": {"a": "x"}, "drop": ["c"], "constants": {"tags": ["new"]}}
        return FieldMapperTransform(parse_options(FieldMapperOptions, values, OptionsContext()))

    def fields(self) -> Fields:
        return Fields({"a": FieldType.INT, "b": FieldType.JSON, "c": None})

    def rows(self) -> Sequence[Row]:
        return [{"a": 1, "b": {"k": []}, "c": None}, {"a": 1, "b": None}]

    def bad_rows(self) -> Sequence[Row]:
        return [{"b": 1}, {"a": 1, "x": 2}]
