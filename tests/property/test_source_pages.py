"""Sources that take a page of records at once get what they get record by record, whatever the file holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plugins.sources.conftest import Read, schema_of

from elspeth.contracts import Source
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sources import records
from elspeth.plugins.sources.csv import CsvSource, CsvSourceOptions
from elspeth.plugins.sources.jsonl import JsonlSource, JsonlSourceOptions

BOM = b"\xef\xbb\xbf"
SIZES = st.integers(1, 5) | st.just(100)
BLOCKS = st.just(100_000) | st.integers(1, 100)
LIMITS = st.sampled_from([100_000, 100_000, 20])


def words(*kinds: str) -> st.SearchStrategy[str]:
    return st.sampled_from([kind + mark for kind in kinds for mark in ("", "?")])


SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "a": words("int", "float", "json"),
        "b": words("date", "datetime", "json", "str"),
    },
)


def files(head: bytes, sound: st.SearchStrategy[bytes], odd: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Runs of sound records, which are read as a page, and what comes between."""
    run = st.lists(sound, min_size=1, max_size=4).map(b"".join)
    body = st.lists(run | odd, max_size=6).map(b"".join)
    return st.builds(bytes.__add__, st.sampled_from([head, head, BOM + head, b"\n" + head]), body)


def ended(records: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(bytes.__add__, records, st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b""]))


NUMBERS = st.sampled_from([b" 2 ", b"1_0", b"1e999", b"0.5", b"null", b'"1"', b""])
TEXTS = st.sampled_from([b"\0", b"\xff", b"\xc3\xa9", BOM, b'"1\r\n2"', b'"a,""\n"', b'"', b"a\rb", b""])

CSV_RECORDS = (
    st.builds(b"x,%s,2024-01-02".__mod__, NUMBERS)
    | st.builds(b"%s,1,2024-01-02".__mod__, TEXTS)
    | st.lists(NUMBERS | TEXTS, max_size=4).map(b",".join)
)
CSV_FILES = files(
    b"id,a,b\n",
    st.sampled_from([b"x,1,2024-01-02\n", b"y,0,2024-01-03\r\n", b'"q,""\r\n",1,2024-01-02\n']),
    ended(CSV_RECORDS),
)

OBJECT = b'{"a":1,"b":"2024-01-02"}'
MEMBERS = st.builds(b'"%c":%s'.__mod__, st.tuples(st.sampled_from(b"abc"), NUMBERS | st.just(b'"\\ud800"')))
JSON_LINES = (
    st.sampled_from([b"", b" \t", b"\x0c", b"\0", b"\xff", BOM + OBJECT, OBJECT + b" x"])
    | st.sampled_from([b"[1]", b"null", b"1", b'{"b":NaN}', b'{"b":"\xc3\xa9"}'])
    | st.builds(b'{"b":"2024-01-02",%s}'.__mod__, MEMBERS)
    | st.lists(MEMBERS, max_size=3).map(b",".join).map(b"{%s}".__mod__)
)
JSONL_FILES = files(
    b"",
    st.sampled_from([OBJECT + b"\n", b'{"c":[],"b":"2024-01-03","a":0}\r\n']),
    ended(JSON_LINES),
)


def everything(source: Source, *, size: int) -> tuple[Any, ...]:
    """All that reading gives; the rows as text, since 1 and True and 1.0 are equal."""
    read = Read(list(source.read(None, size=size)))
    return repr(read.rows), read.lines, read.indexes, read.rejected, read.batches[-1].end


def assert_pages_change_nothing(source: Source, *, size: int, block_bytes: int) -> None:
    """Where a file shows no lines ahead, a source must go record by record."""
    with mock.patch.object(records.LineFile, "ahead", return_value=[]):
        one_by_one = everything(source, size=1)
    with mock.patch.object(records, "BLOCK_BYTES", block_bytes):
        at_once = everything(source, size=size)

    assert one_by_one == at_once


@settings(max_examples=400)
@given(CSV_FILES, SCHEMAS, st.sampled_from(["utf-8", "latin-1"]), LIMITS, SIZES, BLOCKS)
def test_csv(data: bytes, schema: dict[str, str], encoding: str, limit: int, size: int, block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x").write_bytes(data)
        said = {"path": "x", "encoding": encoding, "max_record_bytes": limit}
        options = parse_options(CsvSourceOptions, said, OptionsContext(folder=Path(folder)))

        assert_pages_change_nothing(CsvSource(options, schema=schema_of(schema)), size=size, block_bytes=block_bytes)


@settings(max_examples=400)
@given(JSONL_FILES, SCHEMAS, LIMITS, SIZES, BLOCKS)
def test_jsonl(data: bytes, schema: dict[str, str], limit: int, size: int, block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x").write_bytes(data)
        said = {"path": "x", "max_record_bytes": limit}
        options = parse_options(JsonlSourceOptions, said, OptionsContext(folder=Path(folder)))

        assert_pages_change_nothing(JsonlSource(options, schema=schema_of(schema)), size=size, block_bytes=block_bytes)
