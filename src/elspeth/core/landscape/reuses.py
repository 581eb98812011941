"""Answers that a run took instead of asking: from where, and the lines that it keeps of them.

The lines are those of the run that asked, byte for byte, so their hashes stand in that
run's records, too. They are read from the run that took the answer, which explains and
replays itself when the other one is purged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from elspeth.contracts import FileRole, StateStatus
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RunHeader, read_word

__all__ = ["Reuse", "ReusedLines", "reused_answer", "reuses_of_row", "taken_answers"]

_COLUMNS = (
    "node_no, from_run, from_row, from_batch, from_attempt, request_hash, request_ref, role, reply_hash, reply_ref, "
    "input_tokens, output_tokens, is_simulated"
)


class Reuse(Struct, frozen=True, kw_only=True):
    """One taken answer: who asked, where this run keeps the lines, and the tokens that asking has cost then."""

    node_no: int
    from_run: str
    from_row: int
    from_batch: int
    from_attempt: int
    request_hash: bytes
    request_ref: str
    role: FileRole
    reply_hash: bytes
    reply_ref: str
    input_tokens: int | None
    output_tokens: int | None
    is_simulated: bool


class ReusedLines(NamedTuple):
    """The request line and its answer, as they were sent and came; ``role`` is the file of the answer."""

    request: bytes
    reply: bytes
    role: FileRole


def reuses_of_row(reader: LandscapeReader, run: RunHeader, row: int) -> Iterator[Reuse]:
    """The answers that a row took, in the order of the steps."""
    for record in reader.query(
        f"SELECT {_COLUMNS} FROM reuses WHERE run_no = ? AND row_index = ? ORDER BY path, node_no",
        run.run_no,
        row,
    ):
        yield _reuse(record, f"reuses {run.run_no}/{row}")


def taken_answers(reader: LandscapeReader, run: RunHeader, node_nos: Collection[int]) -> Iterator[tuple[int, Reuse]]:
    """The answers of other runs that rows took at some nodes and passed them with, by row."""
    columns = ", ".join(f"u.{column}" for column in _COLUMNS.split(", "))
    for row, *record in reader.stream(
        f"SELECT u.row_index, {columns} FROM reuses u JOIN node_states s ON s.run_no = u.run_no "
        "AND s.row_index = u.row_index AND s.path = u.path AND s.node_no = u.node_no AND s.status = ? "
        "WHERE u.run_no = ? AND u.from_run <> ? AND u.node_no IN (SELECT value FROM json_each(?)) "
        "ORDER BY u.row_index, u.path, u.node_no",
        StateStatus.COMPLETED.value,
        run.run_no,
        run.run_id,
        compact_json(sorted(node_nos)),
    ):
        yield row, _reuse(tuple(record), f"reuses {run.run_no}/{row}")


def reused_answer(
    reader: LandscapeReader, run: RunHeader, row: int, node_no: int, *, payloads: Payloads | None = None
) -> ReusedLines | None:
    """The lines of the answer that a row took at a node; None when it asked, or never came there.

    Raises `TrailError` for bytes that do not have their hash. ``payloads`` are those of the run, for who reads many.
    """
    found = reader.query(
        f"SELECT {_COLUMNS} FROM reuses WHERE run_no = ? AND row_index = ? AND path = x'' AND node_no = ?",
        run.run_no,
        row,
        node_no,
    )
    if not found:
        return None
    reuse = _reuse(found[0], f"reuses {run.run_no}/{row}")
    kept = payloads or Payloads(reader, run)
    return ReusedLines(
        kept.body_at(reuse.request_ref, reuse.request_hash), kept.body_at(reuse.reply_ref, reuse.reply_hash), reuse.role
    )


def _reuse(record: tuple[Any, ...], place: str) -> Reuse:
    node_no, from_run, from_row, from_batch, from_attempt, request_hash, request_ref, role, *reply = record
    reply_hash, reply_ref, input_tokens, output_tokens, is_simulated = reply
    return Reuse(
        node_no=node_no,
        from_run=from_run,
        from_row=from_row,
        from_batch=from_batch,
        from_attempt=from_attempt,
        request_hash=request_hash,
        request_ref=request_ref,
        role=read_word(FileRole, role, place),
        reply_hash=reply_hash,
        reply_ref=reply_ref,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        is_simulated=bool(is_simulated),
    )
