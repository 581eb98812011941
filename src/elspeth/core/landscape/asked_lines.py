"""Every request line that a run has made, with one of the rows that have it, file by file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from elspeth.contracts import FileRole, StateStatus, TrailError
from elspeth.core.canonical import compact_json, sha256
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RunHeader

__all__ = ["AskedLine", "asked_lines", "read_slice"]


class AskedLine(NamedTuple):
    """A request line and where it stands; ``row`` is the lowest of those that have it."""

    node_no: int
    row: int
    batch_no: int
    attempt: int
    segment_no: int
    position: int
    start: int
    length: int
    line_hash: bytes


_ANSWERED = (
    "JOIN node_states s ON s.run_no = m.run_no AND s.row_index = m.row_index AND s.path = m.path "
    f"AND s.node_no = b.node_no AND s.attempt = b.attempt AND s.status = {StateStatus.COMPLETED.value} "
)


def asked_lines(
    reader: LandscapeReader, run: RunHeader, node_nos: Collection[int], *, are_answered: bool = False
) -> Iterator[AskedLine]:
    """The lines of some nodes in the order of their files; with ``are_answered`` those whose answer was good."""
    for record in reader.stream(
        "SELECT b.node_no, MIN(m.row_index), m.batch_no, b.attempt, m.segment_no, m.position, m.start, m.length, "
        "m.line_hash FROM batch_members m JOIN batches b ON b.run_no = m.run_no AND b.batch_no = m.batch_no "
        f"{_ANSWERED if are_answered else ''}WHERE m.run_no = ? AND m.role = ? "
        "AND b.node_no IN (SELECT value FROM json_each(?)) "
        "GROUP BY m.segment_no, m.position ORDER BY m.segment_no, m.position",
        run.run_no,
        FileRole.REQUEST.value,
        compact_json(sorted(node_nos)),
    ):
        yield AskedLine(*record)


def read_slice(payloads: Payloads, segment_no: int, start: int, length: int, digest: bytes) -> bytes:
    """A line of a file of a batch; raises `TrailError` when it does not have its hash."""
    line = payloads.segment(segment_no).read(start, length)
    if sha256(line) != digest:
        raise TrailError(f"a line of payload segment {segment_no}, from byte {start} on, does not have its hash")
    return line
