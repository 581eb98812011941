"""The Protocols of plugins: duties of the implementer and of the engine.

The engine calls a plugin from one thread. A plugin instance belongs to one run;
it holds options, never results: all that a resume needs is in the Landscape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from elspeth.contracts.batches import BatchLimits, BatchProvider
from elspeth.contracts.context import Context
from elspeth.contracts.enums import FileRole
from elspeth.contracts.money import Price, TokenEstimate
from elspeth.contracts.results import TransformResult
from elspeth.contracts.rows import Fields, Row, RowError

__all__ = [
    "AnswerLine",
    "BatchTransform",
    "BulkTransform",
    "LineSink",
    "LineVerdict",
    "RejectedRow",
    "Sink",
    "Source",
    "SourceBatch",
    "SourcePosition",
    "Transform",
    "WrittenBatch",
    "bulk_of",
    "makes_plain_values",
    "moves_values",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """Where reading goes on: the next row's index and the source's own cursor (JSON values)."""

    next_row: int
    cursor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """A record that is no row. ``raw`` holds its bytes, or the first part of them when it was too large."""

    index: int
    line: int
    raw: bytes
    error: RowError


@dataclass(slots=True, kw_only=True)
class SourceBatch:
    """Some consecutive records of a source, by column: ``indexes[i]``, ``lines[i]``, ``rows[i]`` belong together.

    Rejected records have their index in ``rejected`` only. ``end`` is the position after the last of them.
    """

    indexes: list[int]
    lines: list[int]
    rows: list[Row]
    rejected: list[RejectedRow]
    end: SourcePosition


@runtime_checkable
class Source(Protocol):
    """Where rows come from. The same source and position give the same rows again.

    With a class variable ``makes_plain_values = True`` it vouches that names are text, numbers finite and types
    exactly those of JSON or of the declared fields. Otherwise each value is looked at, for a tuple, NaN or a subclass
    would be recorded as something else.
    """

    def fields(self) -> Fields:
        """The fields that its rows will have. May read the head of the source; raises `SourceError`."""
        ...

    def read(self, start: SourcePosition | None, *, size: int) -> Iterator[SourceBatch]:
        """Yields records from ``start`` (None: the beginning), at most ``size`` a batch, in order.

        A record that cannot be read is rejected, not raised. Raises `SourceError` when the source is
        missing, or is not the one in which ``start`` was taken.
        """
        ...


@runtime_checkable
class Transform(Protocol):
    """One row in, one `TransformResult` out; pure but for calls through the context."""

    def output_fields(self, fields: Fields) -> Fields:
        """The fields after this step; raises `PipelineError` for fields that cannot be."""
        ...

    def process(self, row: Row, ctx: Context) -> TransformResult:
        """Handles one row; may change ``row`` in place and return it. Bad data is an error result, never raised."""
        ...


@runtime_checkable
class BulkTransform(Transform, Protocol):
    """A transform that needs no context, and so can take many rows in one call.

    With a class variable ``moves_values = True`` it vouches that every value of a row it makes is one of the row's
    own or a JSON value of its options, and every name text: values that were looked at are not looked at again.
    """

    def process_bulk(self, rows: Sequence[Row]) -> Sequence[Row] | None:
        """What `process` makes of these rows, at least one, when it makes one row of each of them.

        None when it does not, or when they are too different: then no row has been changed, and they go
        through `process` one by one.
        """
        ...


def bulk_of(transform: object) -> BulkTransform | None:
    """The transform, if it takes many rows in one call.

    None where a class has changed `process` and inherited `process_bulk`: the two would not do the same.
    """
    if not isinstance(transform, BulkTransform):
        return None
    return transform if "process_bulk" in vars(_definer(transform, "process", "process_bulk")) else None


def moves_values(transform: BulkTransform) -> bool:
    """Whether a transform vouches that it makes no values: the class that defines its `process_bulk` must say so.

    A class that makes rows otherwise does not inherit what another vouches for.
    """
    return bool(vars(_definer(transform, "process_bulk")).get("moves_values", False))


def makes_plain_values(source: Source) -> bool:
    """Whether a source vouches for its values: the class that defines its `read` must say so."""
    return bool(vars(_definer(source, "read")).get("makes_plain_values", False))


def _definer(instance: object, *names: str) -> type:
    """The class that an object has one of these methods from, the nearest one."""
    return next(kind for kind in type(instance).__mro__ if not vars(kind).keys().isdisjoint(names))


class LineVerdict:
    """What one line of a result file means for its row: an answer, another attempt, or an error.

    Made for every row, so slotted but not frozen. ``usage`` are the provider's token counts: None for a
    request that was not run, empty for one that was and of which nobody says what it used.
    """

    __slots__ = ("answer", "failure", "is_retryable", "model", "usage")

    def __init__(
        self,
        answer: Mapping[str, Any] | None,
        failure: RowError | None,
        *,
        is_retryable: bool = False,
        usage: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> None:
        self.answer = answer
        self.failure = failure
        self.is_retryable = is_retryable
        self.usage = usage
        self.model = model


@dataclass(slots=True, kw_only=True)
class AnswerLine:
    """A line of a result file: its ``custom_id`` and what it means.

    ``custom_id`` is None when the line cannot be joined to any row; it is then quarantined
    with ``verdict.failure`` as the reason.
    """

    custom_id: str | None
    verdict: LineVerdict


@runtime_checkable
class BatchTransform(Protocol):
    """A transform whose rows wait while a provider works on files of requests.

    It turns a row into a request line and an answer back into a row. The engine's
    batch driver owns everything between.
    """

    limits: BatchLimits

    def output_fields(self, fields: Fields) -> Fields:
        """The fields after this step; raises `PipelineError` for fields that cannot be."""
        ...

    def request_line(self, row: Row, custom_id: str) -> bytes | RowError:
        """The row's line of the request file, newline included; deterministic.

        With ``custom_id`` as the value of the first member, and nowhere else, lines of equal requests can be told,
        and their answers be shared and taken again.
        """
        ...

    def line_id(self, line: bytes) -> str | None:
        """The ``custom_id`` of a line of a result file; None when it cannot be joined to any row."""
        ...

    def read_line(self, line: bytes, role: FileRole) -> AnswerLine:
        """What one line of a result file means. Never raises for what a provider may send."""
        ...

    def merge(self, row: Row, verdict: LineVerdict) -> TransformResult:
        """The row with its answer. Pure: a rebuilt row and the recorded line give the same result."""
        ...

    def answers_from(self) -> str:
        """Who answers, as one line: everything beside a request's bytes that decides it, and no secret.

        Two steps that say the same take each other's answers to equal requests.
        """
        ...

    def price(self) -> Price | None:
        """What tokens cost; None when nobody says. Raises `PipelineError` for a model without a known price."""
        ...

    def estimate(self, *, requests: int, size_bytes: int) -> TokenEstimate:
        """What so many requests, of so many bytes together, may come to in tokens; needs no network."""
        ...

    def provider(self, ctx: Context) -> BatchProvider:
        """The adapter, over the context's recording client."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBatch:
    """What a sink made of some rows: the bytes to append and the 1-based line at which each row begins."""

    data: bytes
    lines: Sequence[int]


@runtime_checkable
class Sink(Protocol):
    """Where rows end: an encoder of rows into the bytes of a file.

    The engine owns the file: it appends the bytes, syncs, records, truncates after a
    crash and renames at the end. An encoder is pure, so a lost part is made again.
    """

    path: str

    def header(self, fields: Fields) -> WrittenBatch:
        """The file's first bytes (none, for most); ``lines`` holds one number, the line of the first row."""
        ...

    def encode(self, rows: Sequence[Row], *, first_line: int) -> WrittenBatch:
        """Bytes for ``rows``; ``lines`` has one more entry than ``rows``: the line after the last."""
        ...


@runtime_checkable
class LineSink(Sink, Protocol):
    """A sink whose records are the rows' own bytes, a line each: it takes them as they are."""

    def encode_lines(self, lines: Sequence[bytes], *, first_line: int) -> WrittenBatch:
        """The same as `encode`, for rows whose bytes are there already, without newlines."""
        ...
