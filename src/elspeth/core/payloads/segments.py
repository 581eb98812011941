"""Segments: append-only files of zstd frames that hold verbatim bytes.

    content   |<---- 32 kB ---->|<---- 32 kB ---->|...     what was written; offsets count in this
    stored    |<- frame ->|<- frame ->|...                 what lies on the disk; zstdcat gives the content

A reference is (segment, start, length) in content, so it survives the rewrite of a
frame. What a commit appended is described by an extent: the SHA-256 of the stored
bytes, since a flipped bit in a frame can decompress unchanged.

`SegmentWriter` is used from two sides: the engine's thread appends and cuts frames,
the trail's thread compresses, writes and syncs them in the same order. Frames are handed
over several at a time: each time that the trail's thread comes back from C it has to wait
for the interpreter.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard
from msgspec import Struct

from elspeth.contracts import BodyRef, TrailError
from elspeth.core.payloads.appended import PUT_BACK, AppendedFile, Extent

__all__ = [
    "FRAME_BYTES",
    "Frame",
    "SegmentReader",
    "SegmentStream",
    "SegmentWriter",
    "content_digest",
    "parse_reference",
]

FRAME_BYTES = 32_768
"""Half of it makes what is stored a tenth larger; twice of it makes an explanation, which reads four, much slower."""

_HANDED_OVER_BYTES = 1 << 21
_LEVEL = 1
"""Level 3 makes frames of this size 1 % smaller, takes a sixth longer and clears eight times as much memory."""


class _Kept(threading.local):
    """A decompressor serves many frames, but one thread at a time; making one takes a fifth of a frame's time."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_KEPT = _Kept()


class Frame(Struct, frozen=True):
    """A stretch of content and where it is stored, sizes in bytes."""

    start: int
    size: int
    stored_start: int
    stored_size: int
    first_row: int | None = None
    last_row: int | None = None


class _CutFrame(NamedTuple):
    """A frame on its way to the trail's thread."""

    data: bytes
    start: int
    first_row: int | None
    last_row: int | None


class SegmentWriter:
    """Appends to one segment. ``size`` is the content's size."""

    def __init__(
        self,
        path: Path,
        *,
        submit: Callable[[Callable[[], None]], None],
        size: int = 0,
        stored_size: int = 0,
    ) -> None:
        self.path = path
        self.size = size
        self._submit = submit
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._cut: list[_CutFrame] = []
        self._cut_bytes = 0
        # From here on the trail's thread only.
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._file = AppendedFile(path, size=stored_size)
        self._frames: list[Frame] = []

    def append(self, data: bytes) -> int:
        """Adds bytes and returns where they start; cuts a frame whenever one is full."""
        start = self.size
        self._buffer.append(data)
        self._buffered += len(data)
        self.size += len(data)
        if self._buffered >= FRAME_BYTES:
            self._close_frame()
        return start

    def append_frame(self, data: bytes, *, first_row: int, last_row: int) -> int:
        """Adds bytes as a frame of their own, with the range of the rows whose bytes they are."""
        self._close_frame()
        start = self.size
        self.size += len(data)
        self._add(_CutFrame(data, start, first_row, last_row))
        return start

    def cut(self) -> None:
        """Makes a frame of what is buffered and hands everything over, so that the next `sync` covers all of it."""
        self._close_frame()
        self._hand_over()

    def sync(self) -> tuple[list[Frame], Extent | None]:
        """Trail's thread: makes all stored frames durable and tells what was appended since the last time.

        Raises `RunError` when the file is no longer in its place.
        """
        frames, self._frames = self._frames, []
        self._file.require_in_place()
        return frames, self._file.sync()

    @property
    def is_open(self) -> bool:
        """Whether the file is held open."""
        return self._file.is_open

    def close(self) -> None:
        """Trail's thread: closes the file."""
        self._file.close()

    def _close_frame(self) -> None:
        if self._buffered:
            data = b"".join(self._buffer)
            self._buffer = []
            self._buffered = 0
            self._add(_CutFrame(data, self.size - len(data), None, None))

    def _add(self, frame: _CutFrame) -> None:
        self._cut.append(frame)
        self._cut_bytes += len(frame.data)
        if self._cut_bytes >= _HANDED_OVER_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._cut:
            frames, self._cut, self._cut_bytes = self._cut, [], 0
            self._submit(lambda: self._store(frames))

    def _store(self, frames: list[_CutFrame]) -> None:
        """Trail's thread: compresses frames and writes them."""
        made = self._compressor.multi_compress_to_buffer([frame.data for frame in frames])
        stored = [made[number].tobytes() for number in range(len(made))]
        at = self._file.append(b"".join(stored))
        for frame, one in zip(frames, stored, strict=True):
            self._frames.append(Frame(frame.start, len(frame.data), at, len(one), frame.first_row, frame.last_row))
            at += len(one)


class SegmentReader:
    """Reads content back. ``frames_at`` yields the frames from the one that holds a given start on."""

    def __init__(self, path: Path, frames_at: Callable[[int], Iterator[Frame]]) -> None:
        self._path = path
        self._frames_at = frames_at
        self._cached: tuple[Frame, bytes] | None = None

    @property
    def path(self) -> Path:
        """The stored file."""
        return self._path

    @property
    def is_missing(self) -> bool:
        """Whether there is no stored file."""
        return not self._path.exists()

    def read(self, start: int, length: int) -> bytes:
        """``length`` bytes of content from ``start``; raises `TrailError` when they are not all there."""
        if length == 0:
            return b""
        cached = self._cached
        if cached is not None and cached[0].start <= start and start + length <= cached[0].start + cached[0].size:
            return cached[1][start - cached[0].start : start - cached[0].start + length]
        return b"".join(self._slices(start, length))

    def frame(self, frame: Frame) -> bytes:
        """The content of one frame."""
        if self._cached is not None and self._cached[0] == frame:
            return self._cached[1]
        data = read_frame(self._path, frame)
        self._cached = (frame, data)
        return data

    def pieces(self, start: int, length: int, sha256: bytes) -> Iterator[bytes]:
        """The same as `read`, a frame at a time; raises `TrailError` at the end when the hash is another."""
        digest = hashlib.sha256()
        for piece in self._slices(start, length):
            digest.update(piece)
            yield piece
        if digest.digest() != sha256:
            raise TrailError(f"{self._path} from byte {start} on does not have the hash {sha256.hex()}")

    def chunks(self) -> Iterator[bytes]:
        """The whole content, a frame at a time."""
        at = 0
        for frame in self._frames_at(0):
            self._require(frame, at)
            yield read_frame(self._path, frame)
            at += frame.size

    def _slices(self, start: int, length: int) -> Iterator[bytes]:
        at, end = start, start + length
        for frame in self._frames_at(start) if length else ():
            self._require(frame, at)
            piece = self.frame(frame)[at - frame.start : end - frame.start]
            yield piece
            at += len(piece)
            if at == end:
                return
        if at != end:
            raise TrailError(f"{self._path} holds {at - start} of the {length} bytes from {start} on")

    def _require(self, frame: Frame, at: int) -> None:
        """Frames lie next to each other; one that is not recorded must not go unnoticed."""
        if not frame.start <= at < frame.start + frame.size:
            raise TrailError(f"{self._path}: no frame is recorded for byte {at}")


def read_frame(path: Path, frame: Frame) -> bytes:
    """Decompresses one frame; raises `TrailError` for a missing, short or broken one."""
    try:
        stored = _stored(path, frame)
        size = zstandard.get_frame_parameters(stored).content_size
        if size != frame.size:  # before anything is made room for
            raise TrailError(
                f"{path}: the frame at byte {frame.stored_start} has {size} bytes, not {frame.size}", hint=PUT_BACK
            )
        return _KEPT.decompressor.decompress(stored)
    except FileNotFoundError as error:
        raise TrailError(f"the payload segment {path} is missing", hint=PUT_BACK) from error
    except OSError as error:
        message = f"the payload segment {path} cannot be read: {error.strerror or error}"
        raise TrailError(message, hint="Mend the path or its permissions, then resume the run.") from error
    except zstandard.ZstdError as error:
        message = f"{path}: the frame at byte {frame.stored_start} is broken: {error}"
        raise TrailError(message, hint=PUT_BACK) from error


def _stored(path: Path, frame: Frame) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TrailError(f"the payload segment {path} cannot be read: it is no file", hint=PUT_BACK)
        return os.pread(descriptor, frame.stored_size, frame.stored_start)
    finally:
        os.close(descriptor)


class SegmentStream(io.RawIOBase):
    """A segment's content as a readable file of known size, for uploads in flat memory.

    It seeks to its beginning and its end only: enough to be measured and sent again.
    """

    def __init__(self, chunks: Callable[[], Iterator[bytes]], *, size: int) -> None:
        super().__init__()
        self._open = chunks
        self._chunks = chunks()
        self._rest = b""
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """To both ends."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most ``size`` bytes; an empty result is the end. A negative size reads to the end."""
        if size is None or size < 0:
            data = self._rest + b"".join(self._chunks)
            self._rest = b""
        else:
            if not self._rest:
                self._rest = next(filter(None, self._chunks), b"")
            data, self._rest = self._rest[:size], self._rest[size:]
        self._at += len(data)
        return data

    def tell(self) -> int:
        """The current offset."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """To the beginning or to the end."""
        target = offset + self._size if whence == os.SEEK_END else offset
        if target not in (0, self._size) or whence not in (os.SEEK_SET, os.SEEK_END):
            raise io.UnsupportedOperation("a segment is read from its beginning")
        self._chunks = self._open() if target == 0 else iter(())
        self._rest = b""
        self._at = target
        return target


def content_digest(chunks: Iterable[bytes]) -> hashlib._Hash:
    """SHA-256 of content."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest


def parse_reference(text: str, sha256: bytes) -> BodyRef:
    """The inverse of a reference's ``str()``; raises `TrailError` for anything else."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise TrailError(f"not a payload reference: {text[:80]!r}")
    return BodyRef(int(parts[0]), int(parts[1]), int(parts[2]), sha256)
