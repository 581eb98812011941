"""Lines of a file with the place of each, for sources that read records.

A file is read in blocks of whole lines. What has been taken is hashed as it goes,
so that every batch can end with a `Cursor`: how far reading came, and the SHA-256 of
all bytes before that. Reading on from a cursor proves first that those bytes are
still the same; a file that has become another is refused, never read on from the
wrong place. A file is read to the size it had when it was first opened.

Memory stays bounded whatever the file holds: a line longer than the limit is never
held, only counted and hashed to its end.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from msgspec import Struct
from msgspec.structs import asdict

from elspeth.contracts import RejectedRow, Row, RowError, SourceBatch, SourceError, SourcePosition

__all__ = ["RAW_BYTES", "Cursor", "LineFile", "Page", "read_pages", "too_large"]

BLOCK_BYTES: Final = 256 * 1024
BATCH_BYTES: Final = 8 * 1024 * 1024
"""A batch is closed once it has taken so many bytes, however few records they are."""
RAW_BYTES: Final = 64 * 1024
"""How much is kept of a record that is too large."""


class Cursor(Struct, frozen=True, kw_only=True):
    """How far a file has been read. ``line`` is the 1-based number of the next line, ``size`` in bytes."""

    offset: int
    line: int
    sha256: str
    size: int
    done: bool

    @classmethod
    def of(cls, position: SourcePosition | None) -> Cursor | None:
        """The cursor in a position, None at the beginning; raises `SourceError` for another source's."""
        if position is None or not position.cursor:
            return None
        kinds = {"offset": int, "line": int, "sha256": str, "size": int, "done": bool}
        cursor = position.cursor
        if set(cursor) != set(kinds) or any(type(cursor[name]) is not kind for name, kind in kinds.items()):
            raise SourceError(
                "the recorded position was not taken in a file of lines",
                hint="the source plugin is not the one with which the run began",
            )
        return cls(**cursor)

    def as_json(self) -> Mapping[str, Any]:
        """The cursor as a position holds it."""
        return asdict(self)


class LineFile:
    """A file's lines from the beginning or from a cursor; ``limit`` is the largest record in bytes.

    `ahead` shows the whole lines that are ready, `take` and `skip` pass over them.
    ``line`` is the number of the next one; ``holds_nul`` tells of NUL bytes in the block that `ahead` shows.
    """

    def __init__(self, path: str, cursor: Cursor | None = None, *, limit: int) -> None:
        self.line = 1
        self.offset = 0
        self.holds_nul = False
        self._path = Path(path)
        self._limit = limit
        self._digest = hashlib.sha256()
        self._lines: list[bytes] = []
        self._block_bytes = 0
        self._next = 0
        self._hashed = 0
        self._is_cut = False
        with _translated(self._path):
            self._file: BinaryIO = self._path.open("rb")
        try:
            self.size = self._regular_size()
            self._read_bytes = 0
            if cursor is not None:
                self._return_to(cursor)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_at_end(self) -> bool:
        """Whether every byte has been taken."""
        return self.offset == self.size

    def ahead(self) -> list[bytes]:
        """The lines of the current block that have not been taken.

        Empty at the end, and when a record in them could exceed the limit: then `take` goes line by line.
        """
        if self._next == len(self._lines):
            self._fill()
        return [] if self._block_bytes > self._limit else self._lines[self._next :]

    def skip(self, count: int) -> None:
        """Takes ``count`` of the lines ahead."""
        taken = self._lines[self._next : self._next + count]
        self._next += count
        self.line += count
        self.offset += sum(map(len, taken))

    def take(self) -> bytes | None:
        """The next line with its newline, None at the end.

        Of a line beyond the limit only the beginning, more than the limit: `drain` must follow.
        """
        if self._next == len(self._lines):
            self._fill()
            if not self._lines:
                return None
        line = self._lines[self._next]
        self.skip(1)
        return line

    def drain(self) -> Iterator[bytes]:
        """What `take` left of a line that is too long, in pieces; must be read to its end."""
        if self._is_cut and self._next == len(self._lines):
            self._hash_taken()
            self._is_cut = False
            piece = b""
            while not piece.endswith(b"\n") and (piece := self._read_line(BLOCK_BYTES)):
                self._digest.update(piece)
                self.offset += len(piece)
                yield piece

    def cursor(self) -> Cursor:
        """Where reading goes on. At the end, raises `SourceError` when the file has changed its size."""
        if self.is_at_end and (now := os.fstat(self._file.fileno()).st_size) != self.size:
            raise _other_size(self._path, now=now, then=self.size)
        self._hash_taken()
        return Cursor(
            offset=self.offset,
            line=self.line,
            sha256=self._digest.hexdigest(),
            size=self.size,
            done=self.is_at_end,
        )

    def _regular_size(self) -> int:
        found = os.fstat(self._file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{self._path} is not a regular file", hint="save what it gives to a file and name that")
        return found.st_size

    def _return_to(self, cursor: Cursor) -> None:
        if self.size != cursor.size:
            raise _other_size(self._path, now=self.size, then=cursor.size)
        left = cursor.offset
        while left:
            piece = self._read(min(left, BLOCK_BYTES))
            self._digest.update(piece)
            left -= len(piece)
        if self._digest.hexdigest() != cursor.sha256:
            raise SourceError(
                f"{self._path} has changed: its first {cursor.offset:,} bytes are not the ones already read",
                hint="put back the file with which the run began, or start a new run",
            )
        self.offset = cursor.offset
        self.line = cursor.line

    def _fill(self) -> None:
        """Reads the next block, and the rest of its last line as far as the limit allows."""
        self._hash_taken()
        data = self._read(min(BLOCK_BYTES, self.size - self._read_bytes))
        rest = len(data) - data.rfind(b"\n") - 1
        if rest and rest <= self._limit:
            data += self._read_line(self._limit + 1 - rest)
        self._block_bytes = len(data)
        self.holds_nul = b"\0" in data
        self._lines = BytesIO(data).readlines()
        self._next = self._hashed = 0
        self._is_cut = self._read_bytes < self.size and not data.endswith(b"\n")

    def _read(self, count: int) -> bytes:
        with _translated(self._path):
            data = self._file.read(count)
        self._read_bytes += len(data)
        if len(data) < count:
            raise _other_size(self._path, now=self._read_bytes, then=self.size)
        return data

    def _read_line(self, most: int) -> bytes:
        with _translated(self._path):
            piece = self._file.readline(min(most, self.size - self._read_bytes))
        self._read_bytes += len(piece)
        return piece

    def _hash_taken(self) -> None:
        if self._hashed < self._next:
            self._digest.update(b"".join(self._lines[self._hashed : self._next]))
            self._hashed = self._next


class Page:
    """The records of a batch while it is read: every one gets the next index, row or not."""

    def __init__(self, next_row: int) -> None:
        self.next_row = next_row
        self.indexes: list[int] = []
        self.lines: list[int] = []
        self.rows: list[Row] = []
        self.rejected: list[RejectedRow] = []

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejected)

    def accept(self, rows: Sequence[Row], lines: Sequence[int]) -> None:
        """Adds rows with the lines at which they begin."""
        self.indexes.extend(range(self.next_row, self.next_row + len(rows)))
        self.next_row += len(rows)
        self.lines.extend(lines)
        self.rows.extend(rows)

    def add(self, outcome: Row | RowError, *, line: int, raw: bytes) -> None:
        """Adds one record: a row, or why it is none."""
        if isinstance(outcome, RowError):
            self.rejected.append(RejectedRow(index=self.next_row, line=line, raw=raw, error=outcome))
            self.next_row += 1
        else:
            self.accept((outcome,), (line,))

    def batch(self, cursor: Cursor) -> SourceBatch:
        """The finished batch."""
        return SourceBatch(
            indexes=self.indexes,
            lines=self.lines,
            rows=self.rows,
            rejected=self.rejected,
            end=SourcePosition(next_row=self.next_row, cursor=cursor.as_json()),
        )


def read_pages(
    file: LineFile, next_row: int, *, size: int, read_some: Callable[[Page, int], None]
) -> Iterator[SourceBatch]:
    """Batches up to the end of the file; the last one, empty when nothing is left, ends with ``done``.

    ``read_some`` adds at most the given number of records to a page, and takes at least one line.
    """
    is_done = False
    while not is_done:
        page = Page(next_row)
        begin = file.offset
        while not file.is_at_end and len(page) < size and file.offset - begin < BATCH_BYTES:
            read_some(page, size - len(page))
        cursor = file.cursor()
        is_done = cursor.done
        next_row = page.next_row
        yield page.batch(cursor)


def too_large(file: LineFile, lines: Sequence[bytes], limit: int) -> tuple[bytes, RowError]:
    """The first bytes of a record beyond the limit and its error, after passing over the rest of its line."""
    raw = b"".join(lines)
    digest = hashlib.sha256(raw)
    count = len(raw)
    for piece in file.drain():
        raw += piece[: max(0, RAW_BYTES - count)]
        digest.update(piece)
        count += len(piece)
    error = RowError(
        code="too_large",
        message=f"the record has {count:,} bytes, {limit:,} are allowed (max_record_bytes)",
        detail={"bytes": count, "sha256": digest.hexdigest()},
    )
    return raw[:RAW_BYTES], error


def _other_size(path: Path, *, now: int, then: int) -> SourceError:
    return SourceError(
        f"{path} has changed: the source has {now:,} bytes, it had {then:,} when the run began",
        hint="put back the file with which the run began, or start a new run on a copy that nobody writes to",
    )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The file system's refusals as `SourceError`."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}", hint="check source.options.path") from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder", hint="name a file in it") from None
    except PermissionError:
        raise SourceError(f"{path} may not be read", hint="give this user the right to read it") from None
    except OSError as fault:
        raise SourceError(
            f"{path} cannot be read: {fault.strerror or fault}", hint="check the path and the disk behind it"
        ) from fault
