"""External calls: what the trail keeps of them, and the Protocol of whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from elspeth.contracts.enums import CallStatus, CallType, FileRole

__all__ = ["BodyRef", "BodySink", "CallIntent", "CallLog", "CallRecord", "CallScope"]


@dataclass(frozen=True, slots=True)
class BodyRef:
    """Where a body lies: segment number, start and length (bytes) in content, and its SHA-256."""

    segment_no: int
    start: int
    length: int
    sha256: bytes

    def __str__(self) -> str:
        return f"{self.segment_no}:{self.start}:{self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallScope:
    """On whose behalf calls are made: fills the columns of intents and calls.

    ``request_body`` is the payload, already durable, that the next upload sends as its file.
    ``response_name`` asks for the response body to be kept in a segment of that name.
    """

    node_no: int | None = None
    batch_no: int | None = None
    row_index: int | None = None
    request_body: BodyRef | None = None
    response_name: str | None = None
    response_role: FileRole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIntent:
    """A request that is not safe to repeat, before it is sent."""

    scope: CallScope
    operation: str
    method: str
    url: str
    request: BodyRef


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One attempt, ended. Times in microseconds; ``error`` is set when ``status`` is ERROR."""

    scope: CallScope
    call_type: CallType
    operation: str
    status: CallStatus
    started_at: int
    latency_us: int
    request: BodyRef
    envelope: BodyRef
    method: str | None = None
    url: str | None = None
    http_status: int | None = None
    response: BodyRef | None = None
    provider_request_id: str | None = None
    error: Mapping[str, Any] | None = None
    intent_no: int | None = None
    is_simulated: bool = False


class BodySink(Protocol):
    """Takes one body piece by piece."""

    def write(self, data: bytes) -> None:
        """Adds bytes."""
        ...

    def close(self) -> BodyRef:
        """The finished body's reference."""
        ...


class CallLog(Protocol):
    """Keeps calls. Used by one thread at a time; raises `RunError` when it cannot keep them."""

    def open_body(self, scope: CallScope) -> BodySink:
        """A sink for one body, in the segment that the scope asks for."""
        ...

    def intend(self, intent: CallIntent) -> int:
        """Records the intent; durable, with everything before it, on return. Returns its number."""
        ...

    def add_call(self, call: CallRecord) -> str:
        """Records the call, durably on return when it had an intent. Returns the call id."""
        ...
