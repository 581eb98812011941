"""The payload segments of one run, as its recorder writes them.

One segment takes everything that belongs to rows, one every body of a call, and each
file of a batch has its own, so that zstdcat of it is the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import BodyRef, FileRole, PayloadClass
from elspeth.core.payloads.appended import Extent
from elspeth.core.payloads.segments import Frame, SegmentWriter

__all__ = ["BodyWriter", "PayloadStore", "SegmentState", "Synced", "sync_segments"]


class SegmentState(Struct, frozen=True, kw_only=True):
    """A segment as recorded: what it is and how far it is durable, sizes in bytes."""

    number: int
    payload_class: PayloadClass
    name: str
    batch_no: int | None = None
    role: FileRole | None = None
    size: int = 0
    stored_size: int = 0


class Synced(Struct, frozen=True):
    """What a commit has to record of one segment."""

    segment_no: int
    frames: list[Frame]
    extent: Extent | None


class BodyWriter:
    """Streams one body into a segment and hashes it; ``on_close`` is told when it is complete."""

    def __init__(self, segment_no: int, segment: SegmentWriter, *, on_close: Callable[[], None] = lambda: None) -> None:
        self._segment_no = segment_no
        self._segment = segment
        self._start = segment.size
        self._length = 0
        self._digest = hashlib.sha256()
        self._on_close = on_close

    def write(self, data: bytes) -> None:
        """Adds bytes; the segment takes nothing else until the body is closed."""
        if self._segment.append(data) != self._start + self._length:
            raise RuntimeError(f"two bodies are written into segment {self._segment_no} at once")
        self._length += len(data)
        self._digest.update(data)

    def close(self) -> BodyRef:
        """The finished body's reference."""
        self._on_close()
        return BodyRef(self._segment_no, self._start, self._length, self._digest.digest())


class PayloadStore:
    """Segments by number; ``known`` are those that may still grow.

    Appending is the engine's thread's, `sync` and `close` are the trail's thread's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        submit: Callable[[Callable[[], None]], None],
        known: tuple[SegmentState, ...] = (),
        next_no: int = 1,
    ) -> None:
        self._folder = folder
        self._submit = submit
        self._states = {state.number: state for state in known}
        self._writers: dict[int, SegmentWriter] = {}
        self._unrecorded: list[SegmentState] = []
        self._finished: list[int] = []
        self._closing: list[SegmentWriter] = []
        self._next = max(next_no, max(self._states, default=0) + 1)

    def shared(self, payload_class: PayloadClass, *, stem: str | None = None) -> tuple[int, SegmentWriter]:
        """The run's own segment of a class; ``stem`` tells several of one class apart."""
        name = f"{stem or payload_class.word}.zst"
        for state in self._states.values():
            if state.name == name:
                return state.number, self.writer(state.number)
        state = self._create(SegmentState(number=self._next, payload_class=payload_class, name=name))
        return state.number, self.writer(state.number)

    def batch_file(self, batch_no: int, role: FileRole, *, name: str) -> tuple[int, SegmentWriter]:
        """A new segment for one file of a batch."""
        state = self._create(
            SegmentState(
                number=self._next,
                payload_class=PayloadClass.FILES,
                name=f"{self._next:06d}-{name}.zst",
                batch_no=batch_no,
                role=role,
            )
        )
        return state.number, self.writer(state.number)

    def writer(self, segment_no: int) -> SegmentWriter:
        """The writer of a known segment, going on where the trail says it ends."""
        if segment_no not in self._writers:
            state = self._states[segment_no]
            self._writers[segment_no] = SegmentWriter(
                self._folder / state.name, submit=self._submit, size=state.size, stored_size=state.stored_size
            )
        return self._writers[segment_no]

    def cut_all(self) -> None:
        """Cuts what is buffered in every segment, so that the next `sync` covers all of it."""
        for writer in self._writers.values():
            writer.cut()

    def take_unrecorded(self) -> list[SegmentState]:
        """The segments created since the last call, in order."""
        created, self._unrecorded = self._unrecorded, []
        return created

    def writers(self) -> list[tuple[int, SegmentWriter]]:
        """All open writers, for the commit."""
        return list(self._writers.items())

    def finish(self, segment_no: int) -> None:
        """Says that a segment takes no more: its file is closed after the next commit."""
        self._finished.append(segment_no)

    def close_finished(self) -> None:
        """Closes the finished segments; called when a commit has been handed to the trail's thread."""
        finished, self._finished = self._finished, []
        self._closing = [writer for writer in self._closing if writer.is_open]
        for segment_no in finished:
            del self._states[segment_no]
            writer = self._writers.pop(segment_no, None)
            if writer is not None:
                self._closing.append(writer)
                self._submit(writer.close)

    def close(self) -> None:
        """Closes every file; called when the trail's thread has ended."""
        for writer in [*self._writers.values(), *self._closing]:
            writer.close()
        self._writers.clear()

    def _create(self, state: SegmentState) -> SegmentState:
        self._states[state.number] = state
        self._unrecorded.append(state)
        self._next = state.number + 1
        return state


def sync_segments(writers: list[tuple[int, SegmentWriter]]) -> list[Synced]:
    """Trail's thread: makes every segment durable and tells what was appended to each."""
    synced = []
    for number, writer in writers:
        frames, extent = writer.sync()
        if extent is not None:
            synced.append(Synced(number, frames, extent))
    return synced
