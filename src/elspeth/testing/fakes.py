"""Stand-ins for what the engine gives to a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elspeth.contracts import CallStatus, CallType

if TYPE_CHECKING:
    import httpx2

__all__ = ["FakeClock", "FakeContext", "RecordedCall"]

_START_US = 1_704_067_200_000_000
"""2024-01-01 00:00:00 UTC."""


class FakeClock:
    """Time that passes only when somebody sleeps or `advance_s` is called. ``sleeps_s`` lists the sleeps."""

    def __init__(self, now_us: int = _START_US) -> None:
        self._now_us = now_us
        self.sleeps_s: list[float] = []

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._now_us

    def sleep_s(self, seconds: float) -> None:
        """Takes no time, and lets that much of it pass."""
        self.sleeps_s.append(seconds)
        self.advance_s(seconds)

    def advance_s(self, seconds: float) -> None:
        """Lets time pass."""
        self._now_us += round(seconds * 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """What a plugin told `FakeContext.record_call`."""

    call_id: str
    call_type: CallType
    status: CallStatus
    request_data: bytes | Mapping[str, Any]
    response_data: bytes | Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    latency_ms: float | None


class FakeContext:
    """A context that keeps what it is told, in ``calls`` and ``services``.

    ``client`` is what `http` gives out: an ``httpx2.Client`` over ``httpx2.MockTransport``. A plugin that
    asks for one where the test gave none fails the test.
    """

    def __init__(self, *, run_id: str = "testrun", step: str = "step", client: httpx2.Client | None = None) -> None:
        self.run_id = run_id
        self.step = step
        self.calls: list[RecordedCall] = []
        self.services: list[str] = []
        self._client = client

    def http(self, service: str) -> httpx2.Client:
        """The client that the test gave."""
        self.services.append(service)
        if self._client is None:
            raise AssertionError(f"the plugin wants to reach {service!r}, and the test expects no call")
        return self._client

    def fetch_secret(self, name: str, fetch: Callable[[], str]) -> str:
        """What ``fetch`` returns."""
        self.services.append(name)
        return fetch()

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
    ) -> str:
        """Keeps the call."""
        call = RecordedCall(
            call_id=f"call-{len(self.calls) + 1}",
            call_type=call_type,
            status=status,
            request_data=request_data,
            response_data=response_data,
            error=error,
            latency_ms=latency_ms,
        )
        self.calls.append(call)
        return call.call_id
