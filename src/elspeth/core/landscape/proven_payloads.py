"""The bytes that proven records name by their hash: versions of rows, rejected records, lines of batches, files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from elspeth.contracts import PayloadClass, PurgeAction, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape.bundles import PAYLOAD_COLUMNS, BundleRecords, named_hashes
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader, read_word

__all__ = ["proven_payloads", "purged_on_record"]


def purged_on_record(records: BundleRecords) -> frozenset[PayloadClass]:
    """The classes of which a proven record says that their bytes went, or are going."""
    return frozenset(
        read_word(PayloadClass, record["class"], "purges")
        for name, record in records.records()
        if name == "purges" and record["action"] in (PurgeAction.PURGING, PurgeAction.PURGED)
    )


def proven_payloads(reader: LandscapeReader, run: RunHeader, records: BundleRecords) -> Iterator[bytes]:
    """Every payload that the records name, but for those that were purged on record.

    Raises `TrailError` for one that is missing otherwise, or has another hash.
    """
    gone = purged_on_record(records)
    source = _Source(reader, run, _rejections(records))
    for table, record in records.records():
        payload_class, columns = PAYLOAD_COLUMNS.get(table, (None, ()))
        for column in columns if payload_class not in gone else ():
            for digits in named_hashes(record, column):
                yield source.read(table, column, record, bytes.fromhex(digits))


def _rejections(records: BundleRecords) -> dict[int, dict[str, Any]]:
    """What is recorded of source records that never became rows, by row: it says where their raw bytes are."""
    at_the_source = {
        (step["commit_no"], step["journey_no"])
        for name, step in records.records()
        if name == "journeys" and step["node_no"] == 0
    }
    return {
        passage["row_index"]: json.loads(passage["error_json"])
        for name, passage in records.records()
        if name == "passages" and (passage["commit_no"], passage["journey_no"]) in at_the_source
    }


class _Source:
    """Finds the bytes of a record's payload."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, rejections: Mapping[int, dict[str, Any]]) -> None:
        self._run = run
        self._payloads = Payloads(reader, run)
        self._rows = RowSource(reader, run, self._payloads)
        self._rejections = rejections

    def read(self, table: str, column: str, record: dict[str, Any], digest: bytes) -> bytes:
        """The bytes with that hash, which stands in a column of the record."""
        match table:
            case "rows" if (rejection := self._rejections.get(record["row_index"])) is not None:
                return self._payloads.body_at(rejection["raw"]["ref"], digest)
            case "rows" | "passages":
                return self._rows.bytes_of(record["row_index"], commit_no=record["commit_no"], sha=digest)
            case "batch_members":
                return self._line(record)
            case _:
                return self._payloads.body_at(record[column.replace("hash", "ref")], digest)

    def _line(self, record: dict[str, Any]) -> bytes:
        line = self._payloads.segment(record["segment_no"]).read(record["start"], record["length"])
        if sha256(line).hex() != record["line_hash"]:
            raise TrailError(
                f"the line of row {record['row_index']} in batch {record['batch_no']} of run {self._run.run_id} "
                "does not have its hash"
            )
        return line
