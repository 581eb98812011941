"""Sources of records vouch for the values that they make: looking at each of them would refuse none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields, FieldType, RowError, SourceBatch, SourcePosition, makes_plain_values
from elspeth.core.canonical import RowCodec
from elspeth.core.config.models import FieldSpec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sources.coercion import TextCoercion
from elspeth.plugins.sources.csv import CsvSource
from elspeth.plugins.sources.jsonl import JsonlSource, JsonlSourceOptions

SCHEMA = {
    name: FieldSpec(type=kind, is_nullable=is_nullable)
    for number, kind in enumerate(FieldType)
    for name, is_nullable in ((f"a{number}", False), (f"b{number}", True))
}
CODEC = RowCodec(Fields({name: spec.type for name, spec in SCHEMA.items()}, is_open=True))
NUMBERS = ("1", "-0", "1.50", "1e999", "-1e308", "nan", "NaN", "inf", "Infinity", "9" * 5000)
JSONS = ("[1]", '{"a":[NaN]}', '{"a":null}', "[1e999]", "null", '"x"', '"\\ud800"', "[" * 200 + "]" * 200)
TEXTS = ("", "true", "2024-01-02", "2024-01-02T03:04:05+01:00")
SAID = st.sampled_from([*TEXTS, *NUMBERS, *JSONS])
VALUES = st.sampled_from([*NUMBERS, *JSONS, *map(json.dumps, (*TEXTS, *NUMBERS))])


class Changed(JsonlSource):
    def read(self, start: SourcePosition | None, *, size: int) -> Iterator[SourceBatch]:
        yield from super().read(start, size=size)


class Named(JsonlSource):
    pass


@pytest.mark.parametrize(("kind", "vouches"), [(JsonlSource, True), (CsvSource, True), (Named, True), (Changed, False)])
def test_who_reads_otherwise_does_not_inherit_what_another_vouches_for(
    kind: type[CsvSource | JsonlSource], vouches: bool
) -> None:
    options = parse_options(kind.options_model, {"path": "x"}, OptionsContext(folder=Path()))

    assert vouches == makes_plain_values(kind(options, schema=None))


def assert_plain(row: dict[str, Any]) -> None:
    assert CODEC.encode_each([row]) == CODEC.encode_each([row], are_plain=True)


@given(st.lists(st.lists(SAID, min_size=len(SCHEMA), max_size=len(SCHEMA)), min_size=1, max_size=3))
def test_rows_from_text(said: list[list[str]]) -> None:
    """Each said for each type; a row of one field for each, since whole rows seldom have no fault at all."""
    for record in said:
        for place, name in enumerate(SCHEMA):
            single = TextCoercion([name], SCHEMA).row([record[place]])
            if not isinstance(single, RowError):
                assert_plain(single)
        row = TextCoercion(list(SCHEMA), SCHEMA).row(record)
        if not isinstance(row, RowError):
            assert_plain(row)


@given(st.lists(st.tuples(st.sampled_from([*SCHEMA, "open"]), VALUES), min_size=1, max_size=12))
def test_rows_from_json(said: list[tuple[str, str]]) -> None:
    """One field a line: of a declared type, or of none."""
    with tempfile.TemporaryDirectory() as folder:
        for name, value in said:
            Path(folder, "x.jsonl").write_text(f'{{"{name}":{value}}}\n')
            options = parse_options(JsonlSourceOptions, {"path": "x.jsonl"}, OptionsContext(folder=Path(folder)))
            schema = {name: SCHEMA[name]} if name in SCHEMA else None
            for batch in JsonlSource(options, schema=schema).read(None, size=2):
                for row in batch.rows:
                    assert_plain(row)
