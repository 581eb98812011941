"""An answer that is there already: where it comes from, and its lines."""

from __future__ import annotations

from msgspec import Struct

from elspeth.contracts import FileRole, TrailError
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.asked_lines import read_slice
from elspeth.core.landscape.reader import read_word
from elspeth.core.landscape.reuses import Reuse

__all__ = ["KnownAnswer", "Line", "answer_of_batch", "answer_of_reuse"]


class Line(Struct):
    """A line with its hash; ``ref`` is where the run that takes it keeps it, None while it does not."""

    data: bytes
    sha256: bytes
    ref: str | None


class KnownAnswer(Struct, frozen=True, kw_only=True):
    """A request line and its answer, and the run, row, batch and attempt that asked."""

    from_run: str
    from_row: int
    from_batch: int
    from_attempt: int
    role: FileRole
    request: Line
    reply: Line
    is_simulated: bool


def answer_of_batch(
    reader: LandscapeReader,
    payloads: Payloads,
    run: RunHeader,
    *,
    row: int,
    batch_no: int,
    attempt: int,
    is_own: bool = False,
) -> KnownAnswer:
    """What a batch brought to a row; ``is_own``: to one of the run that takes it, which has the lines already.

    Raises `TrailError` when the lines cannot be read or do not have their hashes.
    """
    lines: dict[FileRole, Line] = {}
    for role, segment_no, start, length, digest in reader.query(
        "SELECT role, segment_no, start, length, line_hash FROM batch_members "
        "WHERE run_no = ? AND row_index = ? AND path = x'' AND batch_no = ?",
        run.run_no,
        row,
        batch_no,
    ):
        data = read_slice(payloads, segment_no, start, length, digest)
        ref = f"{segment_no}:{start}:{length}" if is_own else None
        lines[read_word(FileRole, role, f"batch_members {run.run_no}/{row}/{batch_no}")] = Line(data, digest, ref)
    request = lines.pop(FileRole.REQUEST, None)
    if request is None or len(lines) != 1:
        raise TrailError(f"row {row} of run {run.run_id} passed a step without the one answer of batch {batch_no}")
    ((file, reply),) = lines.items()
    return KnownAnswer(
        from_run=run.run_id,
        from_row=row,
        from_batch=batch_no,
        from_attempt=attempt,
        role=file,
        request=request,
        reply=reply,
        is_simulated=reader.is_simulated(run),
    )


def answer_of_reuse(payloads: Payloads, reuse: Reuse) -> KnownAnswer:
    """What another run took in its turn: the run that asked stays the one that is named."""
    request = payloads.body_at(reuse.request_ref, reuse.request_hash)
    reply = payloads.body_at(reuse.reply_ref, reuse.reply_hash)
    return KnownAnswer(
        from_run=reuse.from_run,
        from_row=reuse.from_row,
        from_batch=reuse.from_batch,
        from_attempt=reuse.from_attempt,
        role=reuse.role,
        request=Line(request, reuse.request_hash, None),
        reply=Line(reply, reuse.reply_hash, None),
        is_simulated=reuse.is_simulated,
    )
