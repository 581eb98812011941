"""Files that only grow, and what a commit says of their growth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from elspeth.contracts import RunError, TrailError

__all__ = ["PUT_BACK", "AppendedFile", "Extent", "PartFile", "sync_folder"]

_BUFFER_BYTES = 1 << 20
PUT_BACK = "Put the file back as it was, from a copy if there is one, then resume the run."


class Extent(Struct, frozen=True):
    """What was appended to a stored file since the last extent: offset, bytes and their SHA-256."""

    start: int
    length: int
    sha256: bytes


class AppendedFile:
    """A file that grows from ``size`` on; whatever a crash left behind that is cut off when it is opened.

    It is opened by the first append, so a file that gets nothing is not made. One thread uses it.
    """

    def __init__(self, path: Path, *, size: int = 0) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = size
        self._extent_start = size
        self._digest = hashlib.sha256()

    def append(self, data: bytes) -> int:
        """Writes bytes and returns where they start."""
        start = self._size
        with _named(self._path):
            if self._file is None:
                self._file = _open_at(self._path, self._size)
            self._file.write(data)
        self._digest.update(data)
        self._size += len(data)
        return start

    def sync(self) -> Extent | None:
        """Makes what was appended durable; None when nothing was."""
        if self._file is None or self._size == self._extent_start:
            return None
        with _named(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        extent = Extent(self._extent_start, self._size - self._extent_start, self._digest.digest())
        self._extent_start = self._size
        self._digest = hashlib.sha256()
        return extent

    def require_in_place(self) -> None:
        """Raises `RunError` when the open file is no longer where it was opened: what is written to it is lost."""
        if self._file is None:
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                return
        raise RunError(
            f"the payload file {self._path} was moved or removed while the run was going on",
            hint="Put it back in its place, then resume the run.",
        )

    @property
    def is_open(self) -> bool:
        """Whether the file is held open."""
        return self._file is not None

    def close(self) -> None:
        """Closes the file. What was not synced counts for nothing, so a failure to write it is no news."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


class PartFile:
    """A sink's unfinished file: the engine's thread appends and cuts, the trail's thread writes and syncs."""

    def __init__(self, path: Path, *, submit: Callable[[Callable[[], None]], None], size: int = 0) -> None:
        self.path = path
        self.size = size
        self._submit = submit
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._file = AppendedFile(path, size=size)

    def append(self, data: bytes) -> None:
        """Adds bytes, in order, and hands them over whenever there are enough; none at all make the file, too."""
        self.size += len(data)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self.cut()

    def cut(self) -> None:
        """Hands over what is buffered, so that the next `sync` covers all of it."""
        if not self._buffer:
            return
        data, file = b"".join(self._buffer), self._file
        self._buffer = []
        self._buffered = 0

        def write() -> None:
            file.append(data)

        self._submit(write)

    def sync(self) -> Extent | None:
        """Trail's thread: makes what was appended durable."""
        return self._file.sync()

    def close(self) -> None:
        """Trail's thread: closes the file."""
        self._file.close()


def _open_at(path: Path, size: int) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    present = 0 if is_new else path.stat().st_size
    if present < size:
        what = "is missing" if is_new else "is shorter than the trail says"
        raise TrailError(f"{path} {what}: {present} of {size} bytes", hint=PUT_BACK)
    with ExitStack() as opened:
        file = opened.enter_context(path.open("ab"))
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        if is_new:
            sync_folder(path.parent)
        opened.pop_all()
    return file


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A write or a sync that fails does not say of itself which file it was."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
