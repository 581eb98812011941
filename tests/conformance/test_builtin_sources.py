"""Every built-in source passes the suite that its Protocol comes with."""

from __future__ import annotations

from pathlib import Path

from elspeth.contracts import Source
from elspeth.core.config.models import FieldSpec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sources.csv import CsvSource, CsvSourceOptions
from elspeth.plugins.sources.jsonl import JsonlSource, JsonlSourceOptions
from elspeth.testing import SourceConformance


def written_once(path: Path, data: bytes) -> None:
    if not path.exists():
        path.write_bytes(data)


class TestCsvSource(SourceConformance):
    DATA = b'id,day,text\n1,2024-01-01,a\nx,2024-01-01,b\n2,,"two\nlines"\n\n3,2024-01-03,c,d\n4,2024-01-04,\n5,,\xff\n'

    def make_source(self, folder: Path) -> Source:
        written_once(folder / "in.csv", self.DATA)
        options = parse_options(CsvSourceOptions, {"path": "in.csv"}, OptionsContext(folder=folder))
        schema = {"id": FieldSpec.parse("int"), "day": FieldSpec.parse("date?")}
        return CsvSource(options, schema=schema)

    def alter(self, folder: Path) -> None:
        (folder / "in.csv").write_bytes(self.DATA.replace(b"1,", b"9,", 1))


class TestJsonlSource(SourceConformance):
    DATA = b'{"id":1,"sum":"1.10"}\n[]\n\n{"id":2,"x":{"y":[1.0]}}\n{"id":"x"}\n{"x":null,"id":3}\n{"id":4}'

    def make_source(self, folder: Path) -> Source:
        written_once(folder / "in.jsonl", self.DATA)
        options = parse_options(JsonlSourceOptions, {"path": "in.jsonl"}, OptionsContext(folder=folder))
        return JsonlSource(options, schema={"id": FieldSpec.parse("int"), "sum": FieldSpec.parse("decimal?")})

    def alter(self, folder: Path) -> None:
        (folder / "in.jsonl").write_bytes(self.DATA.replace(b'"id":1', b'"id":7'))
