"""Whether the payload segments hold the bytes that the commits appended to them."""

from __future__ import annotations

from pathlib import Path

from elspeth.contracts import PayloadClass, RunStatus, TrailError
from elspeth.core.landscape.extents import SEGMENT_EXTENT, extents_of, first_wrong_extent
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_word
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.payloads import Frame, SegmentReader

__all__ = ["check_payloads"]


def check_payloads(reader: LandscapeReader, run: RunHeader, step: Step, *, purged: frozenset[PayloadClass]) -> None:
    """Checks every segment's stored bytes and frames. Those of a class that was purged are gone, and only counted."""
    count = size = gone = 0
    is_growing = reader.status(run.run_no)[0] is not RunStatus.COMPLETED
    for segment_no, payload_class, name in reader.query(
        "SELECT segment_no, class, name FROM segments WHERE run_no = ? ORDER BY segment_no", run.run_no
    ):
        if read_word(PayloadClass, payload_class, f"segments {run.run_no}/{segment_no}") in purged:
            gone += 1
            continue
        size += _check_segment(reader, run, step, segment_no, name, is_growing=is_growing)
        count += 1
    _check_unknown(reader, run, step)
    step.checked = f"{count:,} segments, {size:,} bytes"
    if gone:
        step.note(f"{gone:,} segments of classes that were purged are not looked for")


def _check_segment(
    reader: LandscapeReader, run: RunHeader, step: Step, segment_no: int, name: str, *, is_growing: bool
) -> int:
    path = run.payload_folder / name
    extents = list(extents_of(reader, run.run_no, kind=SEGMENT_EXTENT, file_no=segment_no))
    expected = sum(extent.length for extent in extents)
    if path.exists() and not path.is_file():
        step.find("payloads", name, "it is no file")
        return 0
    try:
        with path.open("rb") as file:
            wrong = first_wrong_extent(file, extents)
            stored = file.seek(0, 2)
    except OSError as error:
        step.find("payloads", name, f"it cannot be read: {error.strerror or error}")
        return 0
    if wrong is not None:
        step.find("payloads", f"{name} byte {wrong.start}", f"its {wrong.length} bytes do not have their hash")
    elif stored > expected and not is_growing:
        step.find("payloads", f"{name} byte {expected}", f"{stored - expected} bytes were added to it")
    else:
        _check_frames(reader, run, step, segment_no, path, stored=expected)
    return stored


def _check_frames(
    reader: LandscapeReader, run: RunHeader, step: Step, segment_no: int, path: Path, *, stored: int
) -> None:
    """Frames lie next to each other, in what is stored and in what they hold, and each can be read."""
    at = stored_at = 0
    segment = SegmentReader(path, lambda _start: iter(()))
    for record in reader.stream(
        "SELECT start, size, stored_start, stored_size, first_row, last_row FROM frames "
        "WHERE run_no = ? AND segment_no = ? ORDER BY start",
        run.run_no,
        segment_no,
    ):
        frame = Frame(*record)
        place = f"{segment_no}/{frame.start}"
        if (frame.start, frame.stored_start) != (at, stored_at):
            step.find("frames", place, f"it does not follow the frame before it, which ends at {at} and {stored_at}")
            return
        try:
            segment.frame(frame)
        except TrailError as error:
            step.find("frames", place, error.message)
            return
        at += frame.size
        stored_at += frame.stored_size
    if stored_at != stored:
        step.find("frames", f"{segment_no}/{at}", f"frames tell of {stored_at} of {stored} stored bytes")


def _check_unknown(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """Files that no record tells of hide nothing, but somebody put them there."""
    known = {name for (name,) in reader.query("SELECT name FROM segments WHERE run_no = ?", run.run_no)}
    if run.payload_folder.is_dir():
        unknown = sorted(path.name for path in run.payload_folder.iterdir() if path.name not in known)
        if unknown:
            step.note(f"{len(unknown)} files that no record tells of, the first {unknown[0]}")
