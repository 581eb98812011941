"""What a provider's Batch API tells us, as facts, and the Protocol of an adapter.

An adapter speaks the wire, validates what comes back and returns these facts, or
raises a `ProviderError`. It keeps no state, retries nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any, Protocol

__all__ = [
    "BatchFacts",
    "BatchFault",
    "BatchLimits",
    "BatchProvider",
    "BatchState",
    "FileFacts",
    "FileState",
    "Page",
]


class FileState(Enum):
    """What an uploaded file is good for."""

    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


class BatchState(Enum):
    """What a job's status comes to, whatever its spelling; an unknown word counts as ``pending``."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the provider will do nothing more for this job."""
        return self is not BatchState.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A file at the provider. ``size_bytes`` and ``created_at`` (Unix seconds) are None when not told."""

    id: str
    name: str | None
    size_bytes: int | None
    state: FileState
    raw_status: str
    created_at: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFault:
    """One entry of a job's own error list; ``line`` is 1-based in the request file."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """A job at the provider. Absent, null and empty ids are all None; counts are hints, never the truth."""

    id: str
    state: BatchState
    raw_status: str
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    faults: tuple[BatchFault, ...] = ()
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    created_at: int | None = None
    metadata: Mapping[str, str] | None = None

    @property
    def is_over_quota(self) -> bool:
        """Whether the job ended only because the deployment's token queue was full, and has no answers."""
        is_fruitless = self.state is BatchState.FAILED and self.output_file_id is None
        return is_fruitless and any(f.code == "token_limit_exceeded" for f in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing; ``next_after`` is None on the last one."""

    items: Sequence[Any]
    next_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How the engine fills, sends and watches batches of one step. Times in seconds, sizes in bytes.

    ``max_enqueued_tokens`` (None: not known) is what the provider takes at a time of a model's input;
    so many rows as ``canary`` says go first and alone. ``is_shared``: rows with equal requests share one;
    ``may_reuse``: answers that other runs have paid for may be taken.
    """

    max_requests: int
    max_bytes: int
    max_batches_in_flight: int
    row_attempts: int
    poll_interval_s: float
    reconcile_grace_s: float
    warn_after_s: float
    max_enqueued_tokens: int | None = None
    canary: int = 0
    is_shared: bool = False
    may_reuse: bool = True


class BatchProvider(Protocol):
    """A provider's Batch API. One thread uses it at a time; every method is one recorded call."""

    def upload(self, name: str, body: IO[bytes], size_bytes: int) -> FileFacts:
        """Sends a request file. Not safe to repeat blindly; costs nothing."""
        ...

    def file(self, file_id: str) -> FileFacts:
        """One file's state."""
        ...

    def files(self, after: str | None) -> Page:
        """One page of all files, as `FileFacts`."""
        ...

    def delete_file(self, file_id: str) -> None:
        """Removes a file that no job uses."""
        ...

    def create(self, input_file_id: str, metadata: Mapping[str, str]) -> BatchFacts:
        """Starts a paid job. Never safe to repeat."""
        ...

    def batch(self, batch_id: str) -> BatchFacts:
        """One job's state."""
        ...

    def batches(self, after: str | None) -> Page:
        """One page of all jobs, as `BatchFacts`."""
        ...

    def cancel(self, batch_id: str) -> BatchFacts:
        """Asks the provider to stop a job."""
        ...

    def download(self, file_id: str) -> None:
        """Reads a result file to its end; the recording transport keeps the bytes."""
        ...
