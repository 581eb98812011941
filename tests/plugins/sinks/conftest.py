"""Sinks with options read as the loader reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sinks.jsonl import JsonlSink, JsonlSinkOptions


@pytest.fixture
def csv_sink() -> Callable[..., CsvSink]:
    def make(**options: Any) -> CsvSink:
        return CsvSink(parse_options(CsvSinkOptions, {"path": "/out/a.csv", **options}, OptionsContext()))

    return make


@pytest.fixture
def jsonl_sink() -> Callable[..., JsonlSink]:
    def make(**options: Any) -> JsonlSink:
        return JsonlSink(parse_options(JsonlSinkOptions, {"path": "/out/a.jsonl", **options}, OptionsContext()))

    return make
