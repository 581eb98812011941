"""What the csv sink writes, the csv source reads, whatever the blocks and batches."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sinks.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.sources import records
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
