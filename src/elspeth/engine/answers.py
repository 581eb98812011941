"""The answers of a batch: every line of its result files, by the request that it answers.

Lines come in any order, twice, broken, or not at all, and a file may be larger than
memory: the files are written out once, one behind the other, and the lines are found again
by their place. A harvest and a replay read them here, so that they cannot disagree on what
answered a row.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import IO, NamedTuple

from msgspec import Struct, field

from elspeth.contracts import BatchTransform, BodyRef, FileRole, LineVerdict, Row, RowError, TransformResult
from elspeth.core.payloads import parse_reference
from elspeth.engine.batch import Batch, unanswered
from elspeth.engine.remote import is_permanent

__all__ = [
    "MOST_SET_ASIDE",
    "RESULT_FILES",
    "Answers",
    "Place",
    "SetAside",
    "download_of",
    "index_answers",
    "lines_of",
    "may_retry",
    "result_of",
]

RESULT_FILES = (FileRole.OUTPUT, FileRole.ERROR)
MOST_SET_ASIDE = 1_000
"""So many lines of a batch are noted one by one."""

_READ_AHEAD_BYTES = 1 << 16


class Place(Struct, gc=False):
    """Where an answer's line stands: its ``offset`` on the disk; ``position`` and ``start`` in the provider's file."""

    role: FileRole
    offset: int
    length: int
    position: int
    start: int


class SetAside(NamedTuple):
    """A line of a result file that goes to no row, and why."""

    role: FileRole
    position: int
    start: int
    line: bytes
    kind: str
    message: str


class Answers(Struct):
    """The lines of a batch's result files by request; the files' bytes stand in one file on the disk.

    There are as many as requests, so they are kept as numbers, not as objects: ``lines`` gives for each request
    its number among them, ``files`` are role and offset on the disk of each file. ``ahead`` was read last, from
    ``ahead_at`` on.
    """

    file: IO[bytes]
    ahead: bytes = b""
    ahead_at: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)
    files: list[tuple[FileRole, int]] = field(default_factory=list)
    file_of: bytearray = field(default_factory=bytearray)
    positions: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))

    def begin(self, role: FileRole) -> None:
        """From now on lines are those of this file, which is written behind the others."""
        self.files.append((role, self.file.seek(0, os.SEEK_END)))

    def add(self, request_id: str, *, position: int, start: int, length: int) -> None:
        """Files a line of the last file that was begun under its request."""
        self.lines[request_id] = len(self.starts)
        self.file_of.append(len(self.files) - 1)
        self.positions.append(position)
        self.starts.append(start)
        self.lengths.append(length)

    def place(self, request_id: str) -> Place | None:
        """Where the line stands that answers a request; None without one."""
        number = self.lines.get(request_id)
        if number is None:
            return None
        role, base = self.files[self.file_of[number]]
        start = self.starts[number]
        return Place(role, base + start, self.lengths[number], self.positions[number], start)

    def read(self, place: Place) -> bytes:
        """The line at a place. Lines often stand in the order of the requests: who asks for the next one gets more."""
        at = place.offset - self.ahead_at
        if at < 0 or at + place.length > len(self.ahead):
            is_next = 0 <= at <= len(self.ahead)
            self.file.seek(place.offset)
            self.ahead = self.file.read(max(place.length, _READ_AHEAD_BYTES if is_next else 0))
            self.ahead_at, at = place.offset, 0
        return self.ahead[at : at + place.length]

    def verdict(
        self, transform: BatchTransform, batch: Batch, request_id: str
    ) -> tuple[LineVerdict, Place | None, bytes | None]:
        """What the files mean for a request, and the line that says so with its place; without a line, its absence."""
        place = self.place(request_id)
        if place is None:
            is_retryable = not is_permanent(batch.faults)
            return LineVerdict(None, unanswered(batch), is_retryable=is_retryable), None, None
        line = self.read(place)
        verdict = transform.read_line(line, place.role).verdict
        if request_id in self.conflicts:
            message = "the provider gave different answers to this row's request"
            error = RowError(code="conflicting_answers", message=message)
            verdict = LineVerdict(None, error, usage=verdict.usage, model=verdict.model)
        return verdict, place, line


def index_answers(
    transform: BatchTransform,
    expected: set[str],
    files: Iterable[tuple[FileRole, Iterator[bytes]]],
    *,
    file: IO[bytes],
    on_set_aside: Callable[[SetAside], None],
) -> Answers:
    """Files every line of the result ``files``, given in pieces; ``expected`` are the requests that were made."""
    answers = Answers(file)
    for role, chunks in files:
        answers.begin(role)
        for position, start, line in lines_of(_written(chunks, file)):
            request_id = transform.line_id(line)
            if request_id in expected and request_id not in answers.lines:
                answers.add(request_id, position=position, start=start, length=len(line))
            else:
                fault = _fault(transform, answers, expected, role, line)
                on_set_aside(SetAside(role, position, start, line, *fault))
    return answers


def _written(chunks: Iterator[bytes], file: IO[bytes]) -> Iterator[bytes]:
    """The pieces of a file, each written out before it is handed on."""
    for chunk in chunks:
        file.seek(0, os.SEEK_END)
        file.write(chunk)
        yield chunk


def may_retry(transform: BatchTransform, batch: Batch) -> bool:
    """Whether rows get another attempt; a cancelling of ours is not held against them."""
    return batch.cancelled_by is not None or batch.attempt + 1 < transform.limits.row_attempts


def result_of(transform: BatchTransform, row: Row, verdict: LineVerdict) -> TransformResult:
    """What a row becomes by the verdict on its answer."""
    if verdict.failure is not None:
        return TransformResult((), verdict.failure)
    return transform.merge(row, verdict)


def download_of(batch: Batch, role: FileRole) -> BodyRef | None:
    """Where a result file of a batch lies; None when there is none."""
    entry = batch.downloads.get(role.word)
    return None if entry is None else parse_reference(entry["ref"], bytes.fromhex(entry["sha256"]))


def lines_of(chunks: Iterator[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Position, offset and bytes (newline included) of each line that is not blank."""
    rest = b""
    start = 0
    position = 0
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for text in whole:
            if text.strip():
                yield position, start, text + b"\n"
            position += 1
            start += len(text) + 1
    if rest.strip():
        yield position, start, rest


def _fault(
    transform: BatchTransform, answers: Answers, expected: set[str], role: FileRole, line: bytes
) -> tuple[str, str]:
    """Kind and reason of a line that is set aside."""
    request_id = transform.line_id(line)
    if request_id is None:
        failure = transform.read_line(line, role).verdict.failure
        return "quarantine", "" if failure is None else failure.message
    place = answers.place(request_id)
    if request_id not in expected or place is None:
        return "alarm", f"an answer to {request_id[:80]!r}, which was never asked"
    if answers.read(place) == line:
        return "duplicate", f"the answer to {request_id!r} came twice, the same"
    answers.conflicts.add(request_id)
    return "conflict", f"another answer to {request_id!r}"
