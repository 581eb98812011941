from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from elspeth.core.payloads import Frame, SegmentReader, SegmentWriter


def at_once(task: Callable[[], None]) -> None:
    """A trail's thread without a thread."""
    task()


def reader_of(path: Path, frames: list[Frame]) -> SegmentReader:
    """Reads a segment by a list of its frames."""

    def frames_at(start: int) -> Iterator[Frame]:
        first = max((frame.start for frame in frames if frame.start <= start), default=0)
        return iter([frame for frame in frames if frame.start >= first])

    return SegmentReader(path, frames_at)


def written(path: Path, *pieces: bytes) -> list[Frame]:
    """Writes a segment with a frame for each piece."""
    writer = SegmentWriter(path, submit=at_once)
    for piece in pieces:
        writer.append(piece)
        writer.cut()
    frames, _ = writer.sync()
    writer.close()
    return frames
