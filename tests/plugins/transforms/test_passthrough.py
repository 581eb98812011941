"""The step that changes nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from elspeth.contracts import Fields
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.transforms.passthrough import PassthroughOptions, PassthroughTransform
from elspeth.testing import FakeContext


def test_rows_and_fields_pass_as_they_are() -> None:
    transform = PassthroughTransform(parse_options(PassthroughOptions, {}, OptionsContext()))
    row, fields = {"a": 1}, Fields({"a": None}, is_open=True)

    assert transform.process(row, FakeContext()).rows == ({"a": 1},)
    assert transform.output_fields(fields) == fields


def test_it_has_no_options() -> None:
    with pytest.raises(ValidationError):
        parse_options(PassthroughOptions, {"a": 1}, OptionsContext())
