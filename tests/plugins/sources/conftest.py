"""Sources over files made for a test, with options read as the loader reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts import RejectedRow, SourceBatch
from elspeth.core.config.models import FieldSpec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.sources.csv import CsvSource, CsvSourceOptions
from elspeth.plugins.sources.jsonl import JsonlSource, JsonlSourceOptions


def schema_of(words: Mapping[str, str] | None) -> dict[str, FieldSpec] | None:
    return None if words is None else {name: FieldSpec.parse(word) for name, word in words.items()}


class Read:
    """All that a source gave: rows, their lines and indexes, and the rejected records by code."""

    def __init__(self, batches: list[SourceBatch]) -> None:
        self.batches = batches
        self.rows = [row for batch in batches for row in batch.rows]
        self.lines = [line for batch in batches for line in batch.lines]
        self.indexes = [index for batch in batches for index in batch.indexes]
        self.rejected: list[RejectedRow] = [r for batch in batches for r in batch.rejected]

    @property
    def codes(self) -> list[str]:
        return [rejected.error.code for rejected in self.rejected]

    @property
    def raws(self) -> list[bytes]:
        return [rejected.raw for rejected in self.rejected]


@pytest.fixture
def csv_source(tmp_path: Path) -> Callable[..., CsvSource]:
    def make(data: bytes | None = None, schema: Mapping[str, str] | None = None, **options: Any) -> CsvSource:
        if data is not None:
            (tmp_path / "in.csv").write_bytes(data)
        read = parse_options(CsvSourceOptions, {"path": "in.csv", **options}, OptionsContext(folder=tmp_path))
        return CsvSource(read, schema=schema_of(schema))

    return make


@pytest.fixture
def read_csv(csv_source: Callable[..., CsvSource]) -> Callable[..., Read]:
    def read(data: bytes, schema: Mapping[str, str] | None = None, *, size: int = 100, **options: Any) -> Read:
        return Read(list(csv_source(data, schema, **options).read(None, size=size)))

    return read


@pytest.fixture
def jsonl_source(tmp_path: Path) -> Callable[..., JsonlSource]:
    def make(data: bytes | None = None, schema: Mapping[str, str] | None = None, **options: Any) -> JsonlSource:
        if data is not None:
            (tmp_path / "in.jsonl").write_bytes(data)
        read = parse_options(JsonlSourceOptions, {"path": "in.jsonl", **options}, OptionsContext(folder=tmp_path))
        return JsonlSource(read, schema=schema_of(schema))

    return make


@pytest.fixture
def read_jsonl(jsonl_source: Callable[..., JsonlSource]) -> Callable[..., Read]:
    def read(data: bytes, schema: Mapping[str, str] | None = None, *, size: int = 100, **options: Any) -> Read:
        return Read(list(jsonl_source(data, schema, **options).read(None, size=size)))

    return read
