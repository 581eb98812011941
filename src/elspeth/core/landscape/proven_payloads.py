"""The bytes that proven records name by their hash: versions of rows, rejected records, lines of batches, files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from elspeth.contracts import PayloadClass, PurgeAction, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape.bundles import PAYLOAD_COLUMNS, BundleRecords, parse_line
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader, read_word

__all__ = ["proven_payloads", "purged_on_record"]

Records = list[tuple[str, dict[str, Any]]]
"""Table and columns of the records of one leaf."""


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
    source = _Source(reader, run)
    for leaf in records.leaves:
        spoken = [parse_line(line) for line in leaf.lines]
        for table, record in spoken:
            payload_class, columns = PAYLOAD_COLUMNS.get(table, (None, ()))
            for column in columns if payload_class not in gone else ():
                if record[column] is not None:
                    yield source.read(table, column, record, leaf_records=spoken, commit_no=leaf.commit_no)


class _Source:
    """Finds the bytes of a record's payload."""

    def __init__(self, reader: LandscapeReader, run: RunHeader) -> None:
        self._run = run
        self._payloads = Payloads(reader, run)
        self._rows = RowSource(reader, run, self._payloads)

    def read(self, table: str, column: str, record: dict[str, Any], *, leaf_records: Records, commit_no: int) -> bytes:
        """The bytes, checked against the hash that the record has."""
        match table:
            case "rows":
                return self._source_row(record, leaf_records, commit_no)
            case "node_states":
                return self._version(record, column, commit_no)
            case "batch_members":
                return self._line(record)
            case _:
                reference = record[column.replace("hash", "ref")]
                return self._payloads.body_at(reference, bytes.fromhex(record[column]))

    def _source_row(self, record: dict[str, Any], leaf_records: Records, commit_no: int) -> bytes:
        """A rejected record says itself where its raw bytes are."""
        for table, state in leaf_records:
            if table == "node_states" and state["node_no"] == 0:
                raw = json.loads(state["error_json"])["raw"]
                return self._payloads.body_at(raw["ref"], bytes.fromhex(record["data_hash"]))
        return self._version(record, "data_hash", commit_no)

    def _version(self, record: dict[str, Any], column: str, commit_no: int) -> bytes:
        return self._rows.bytes_of(record["row_index"], commit_no=commit_no, sha=bytes.fromhex(record[column]))

    def _line(self, record: dict[str, Any]) -> bytes:
        line = self._payloads.segment(record["segment_no"]).read(record["start"], record["length"])
        if sha256(line).hex() != record["line_hash"]:
            raise TrailError(
                f"the line of row {record['row_index']} in batch {record['batch_no']} of run {self._run.run_id} "
                "does not have its hash"
            )
        return line
