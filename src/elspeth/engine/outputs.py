"""The sinks' files: part files while the run lives, renamed into place when it completes.

A sink's plugin only encodes; the engine owns the file. What a commit appended is in its
extents, so a resume cuts the part back to the last commit, and makes a lost one again
from the trail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from elspeth.contracts import Fields, LineSink, Outcome, Row, SinkError, WrittenBatch
from elspeth.core.canonical import RowCodec
from elspeth.core.payloads import Extent, PartFile, sync_folder
from elspeth.engine.plan import ERROR_FIELD, SinkPlan
from elspeth.engine.tokens import Arrivals

__all__ = ["Output"]

_Value = TypeVar("_Value")
_CODEC: Final = RowCodec(Fields())
"""Rows as lines have them: dates and decimals are text there."""


def sink_lines(arrivals: Arrivals, step_name: str) -> Sequence[bytes]:
    """What a sink of lines gets of arrivals, as JSON: the rows' own bytes, with the reason when they failed."""
    if arrivals.errors is None:
        return arrivals.data
    if arrivals.outcome is Outcome.QUARANTINED:
        return _CODEC.encode_batch(arrivals.rows)
    rows = map(_CODEC.decode, arrivals.data)
    errors = (_reason(error, step_name) for error in arrivals.errors)
    return _CODEC.encode_batch([{**row, ERROR_FIELD: error} for row, error in zip(rows, errors, strict=True)])


def sink_rows(arrivals: Arrivals, step_name: str) -> Sequence[Row]:
    """What a sink gets of arrivals: the rows, with the reason when they failed."""
    if arrivals.errors is None or arrivals.outcome is Outcome.QUARANTINED:
        return arrivals.rows
    return [
        {**row, ERROR_FIELD: _reason(error, step_name)}
        for row, error in zip(arrivals.rows, arrivals.errors, strict=True)
    ]


def _reason(error: Mapping[str, Any], step_name: str) -> dict[str, Any]:
    return {"step": step_name, "code": error["code"], "message": error["message"]}


class Output:
    """One sink's file. ``next_line`` and ``records`` are part of the frontier."""

    def __init__(
        self,
        plan: SinkPlan,
        *,
        run_id: str,
        submit: Callable[[Callable[[], None]], None],
        state: Mapping[str, Any] | None,
        extents: Callable[[], Iterator[Extent]],
    ) -> None:
        self.plan = plan
        self.path = Path(plan.path.replace("{run}", run_id))
        self.part_path = self.path.with_name(f".{self.path.name}.{run_id}.part")
        self.records = 0 if state is None else int(state["records"])
        self.next_line = 1 if state is None else int(state["next_line"])
        size = 0 if state is None else int(state["size"])
        self.part = PartFile(self.part_path, submit=submit, size=size)
        self.is_begun = state is not None
        self._line_sink = plan.sink if isinstance(plan.sink, LineSink) else None
        self._extents = extents

    def begin(self) -> None:
        """Tells the sink its fields, and writes the header of a new file."""
        header = self.plan.sink.header(self.plan.fields)
        if self.is_begun:
            return
        self.is_begun = True
        self.part.append(header.data)
        self.next_line = header.lines[0]

    def state(self) -> dict[str, int]:
        """What the frontier says of it; ``size`` in bytes."""
        return {"records": self.records, "next_line": self.next_line, "size": self.part.size}

    def write(self, groups: Sequence[Arrivals], names: Mapping[int, str]) -> list[Sequence[int]]:
        """Appends the rows of all groups in source order; the line at which each row begins, by group."""
        written = self.encode(groups, names, first_line=self.next_line)
        lines = written.lines[:-1]
        self.part.append(written.data)
        self.records += len(lines)
        self.next_line = written.lines[-1]
        if len(groups) == 1:
            return [lines]
        line_of = dict(zip(sorted(chain.from_iterable(group.indexes for group in groups)), lines, strict=True))
        return [list(map(line_of.__getitem__, group.indexes)) for group in groups]

    def encode(self, groups: Sequence[Arrivals], names: Mapping[int, str], *, first_line: int) -> WrittenBatch:
        """The bytes of arrivals. A sink of lines gets each row's own bytes, whatever its fields' types."""
        if self._line_sink is not None:
            lines = _merged(groups, [sink_lines(group, names.get(group.step_no or 0, "")) for group in groups])
            return self._line_sink.encode_lines(lines, first_line=first_line)
        rows = _merged(groups, [sink_rows(group, names.get(group.step_no or 0, "")) for group in groups])
        return self.plan.sink.encode(rows, first_line=first_line)

    def holds_extents(self, path: Path) -> bool:
        """Whether a file has all the bytes that commits tell of."""
        with path.open("rb") as file:
            return all(_holds(file, extent) for extent in self._extents())

    def holds_last_extent(self, path: Path) -> bool:
        """Whether a file has the last bytes that a commit tells of: enough to append to it, not to finish it."""
        if self.part.size == 0:
            return True
        with path.open("rb") as file:
            return all(_holds(file, extent) for extent in islice(self._extents(), 1))

    def prepare(self) -> None:
        """Makes the file's folder. Raises `SinkError` when it cannot, or when the sink may not replace a file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"the folder {self.path.parent} of the output {self.plan.name!r} cannot be made: {error.strerror}",
                hint="Mend the path or its permissions, then resume the run.",
            ) from error
        if self.path.is_dir():
            raise SinkError(f"the output {self.path} is a folder", hint="Move it away, then resume the run.")
        if self.plan.must_not_exist and self.path.exists() and not (self.is_begun and self.is_in_place()):
            raise SinkError(
                f"the output {self.path} exists", hint="Remove it, or let the sink replace it (if_exists: replace)."
            )

    def is_in_place(self) -> bool:
        """Whether the finished file got its name already: no part is left, and the file holds every extent."""
        if self.part_path.exists() or not self.path.is_file() or self.path.stat().st_size != self.part.size:
            return False
        return self.holds_extents(self.path)

    def finish(self) -> tuple[int, bytes]:
        """Renames the synced part into place, or adopts the file that is in place; returns size and SHA-256."""
        try:
            source = self.path if self.is_in_place() else self.part_path
            with source.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
                size = file.tell()
            if size != self.part.size:
                raise SinkError(
                    f"{source} has {size} bytes, the trail says {self.part.size}",
                    hint="Something else wrote to it. Remove it and resume: it is made again from the trail.",
                )
            if source == self.part_path:
                self.part_path.replace(self.path)
                sync_folder(self.path.parent)
        except OSError as error:
            raise SinkError(
                f"the output {self.path} cannot be finished: {error.strerror or error}",
                hint="Mend the path or its permissions, then resume the run: all of it is in the trail.",
            ) from error
        return size, digest


def _merged(groups: Sequence[Arrivals], values: Sequence[Sequence[_Value]]) -> Sequence[_Value]:
    """The groups' values in source order."""
    if len(groups) == 1:
        return values[0]
    pairs = [
        pair
        for group, of_group in zip(groups, values, strict=True)
        for pair in zip(group.indexes, of_group, strict=True)
    ]
    return [value for _, value in sorted(pairs, key=itemgetter(0))]


def _holds(file: BinaryIO, extent: Extent) -> bool:
    file.seek(extent.start)
    return hashlib.sha256(file.read(extent.length)).digest() == extent.sha256
