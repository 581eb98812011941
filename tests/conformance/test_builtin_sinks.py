"""Every built-in sink passes the suite that its Protocol comes with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from elspeth.contracts import Fields, FieldType, Row, Sink
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sinks.jsonl import JsonlSink, JsonlSinkOptions
from elspeth.testing import SinkConformance


class BuiltInSink(SinkConformance):
    def fields(self) -> Fields:
        return Fields({"id": FieldType.INT, "day": FieldType.DATE, "text": FieldType.STR, "more": FieldType.JSON})

    def rows(self) -> Sequence[Row]:
        return [
            {"id": 1, "day": date(2024, 1, 1), "text": "two\nlines", "more": {"a": ["\n", 1.0]}},
            {"id": 2, "day": None, "text": 'a "quote", a comma', "more": None},
            {"id": 3, "day": date(2024, 1, 3), "text": "=1+1\r\n\n", "more": []},
            {"id": 4, "day": None, "text": "", "more": "x"},
        ]


class TestCsvSink(BuiltInSink):
    def make_sink(self, folder: Path) -> Sink:
        options = parse_options(CsvSinkOptions, {"path": "out.csv"}, OptionsContext(folder=folder))
        return CsvSink(options)


class TestCsvSinkThatEscapes(BuiltInSink):
    def make_sink(self, folder: Path) -> Sink:
        values = {"path": "out.csv", "fields": ["text", "id"], "formulas": "escape", "delimiter": "\t"}
        return CsvSink(parse_options(CsvSinkOptions, values, OptionsContext(folder=folder)))


class TestJsonlSink(BuiltInSink):
    def make_sink(self, folder: Path) -> Sink:
        options = parse_options(JsonlSinkOptions, {"path": "out.jsonl"}, OptionsContext(folder=folder))
        return JsonlSink(options)
