"""What the csv sink writes, the csv source reads, whatever the blocks and batches."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields, FieldType, RowError
from elspeth.core.canonical import RowCodec
from elspeth.core.config.models import FieldSpec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sources import records
from elspeth.plugins.sources.coercion import TextCoercion
from elspeth.plugins.sources.csv import CsvSource, CsvSourceOptions

TEXTS = st.text(
    alphabet=st.sampled_from('a é",;\t\r\n\ufeff') | st.characters(codec="utf-8", exclude_characters="\0"), max_size=6
)
NAMES = TEXTS.filter(bool)


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.tuples(
            st.lists(NAMES, min_size=width, max_size=width, unique=True),
            st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=8),
        )
    ),
    st.integers(1, 40),
    st.integers(1, 4),
)
def test_what_is_written_is_read_again(table: tuple[list[str], list[list[str]]], block_bytes: int, size: int) -> None:
    names, values = table
    rows = [dict(zip(names, record, strict=True)) for record in values]
    with tempfile.TemporaryDirectory() as folder:
        context = OptionsContext(folder=Path(folder))
        sink = CsvSink(parse_options(CsvSinkOptions, {"path": "x.csv"}, context))
        header = sink.header(Fields(dict.fromkeys(names)))
        written = sink.encode(rows, first_line=header.lines[0])
        Path(folder, "x.csv").write_bytes(header.data + written.data)
        source = CsvSource(parse_options(CsvSourceOptions, {"path": "x.csv"}, context), schema=None)
        with mock.patch.object(records, "BLOCK_BYTES", block_bytes):
            batches = list(source.read(None, size=size))

    if names[0].startswith("\ufeff"):
        return
    assert [row for batch in batches for row in batch.rows] == rows
    assert [line for batch in batches for line in batch.lines] == list(written.lines)[:-1]


SCHEMA = {
    name: FieldSpec(type=kind, is_nullable=is_nullable)
    for number, kind in enumerate(FieldType)
    for name, is_nullable in ((f"a{number}", False), (f"b{number}", True))
}
NUMBERS = ("1", "-0", "1.50", "1e999", "-1e308", "nan", "NaN", "inf", "Infinity")
JSONS = ("[1]", '{"a":[NaN]}', '{"a":null}', "[1e999]", "null", '"x"', "[" * 200 + "]" * 200)
SAID = st.sampled_from(["", "true", "2024-01-02", "2024-01-02T03:04:05+01:00", *NUMBERS, *JSONS])


@given(st.lists(st.lists(SAID, min_size=len(SCHEMA), max_size=len(SCHEMA)), min_size=1, max_size=3))
def test_the_source_vouches_for_rows_that_nobody_would_refuse(said: list[list[str]]) -> None:
    """Each said for each type: the rows that become one have the same bytes when every value is looked at."""
    coercion = TextCoercion(list(SCHEMA), SCHEMA)
    codec = RowCodec(Fields({name: spec.type for name, spec in SCHEMA.items()}))
    for record in said:
        for place, name in enumerate(SCHEMA):
            single = TextCoercion([name], SCHEMA).row([record[place]])
            if not isinstance(single, RowError):
                assert codec.encode_each([single]) == codec.encode_each([single], are_plain=True)
        row = coercion.row(record)
        if not isinstance(row, RowError):
            assert codec.encode_batch([row]) == codec.encode_batch([row], are_plain=True)
