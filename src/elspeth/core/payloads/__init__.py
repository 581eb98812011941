"""Verbatim bytes in append-only segments."""

from elspeth.core.payloads.appended import AppendedFile, Extent, PartFile, sync_folder
from elspeth.core.payloads.segments import (
    FRAME_BYTES,
    Frame,
    SegmentReader,
    SegmentStream,
    SegmentWriter,
    content_digest,
    parse_reference,
)
from elspeth.core.payloads.store import BodyWriter, PayloadStore, SegmentState, Synced, sync_segments

__all__ = [
    "FRAME_BYTES",
    "AppendedFile",
    "BodyWriter",
    "Extent",
    "Frame",
    "PartFile",
    "PayloadStore",
    "SegmentReader",
    "SegmentState",
    "SegmentStream",
    "SegmentWriter",
    "Synced",
    "content_digest",
    "parse_reference",
    "sync_folder",
    "sync_segments",
]
