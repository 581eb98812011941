"""The context that a step's plugin gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from elspeth.contracts import CallScope, CallStatus, CallType, Clock
from elspeth.core.calls import Redactor, allowed
from elspeth.core.canonical import canonical_json
from elspeth.core.landscape import LandscapeRecorder

if TYPE_CHECKING:
    import httpx2

__all__ = ["StepContext"]


class StepContext:
    """Implements `elspeth.contracts.Context` over the run's recorder."""

    def __init__(
        self, *, step: str, node_no: int, recorder: LandscapeRecorder, redactor: Redactor, clock: Clock
    ) -> None:
        self.run_id = recorder.run_id
        self.step = step
        self.row_index: int | None = None
        self._node_no = node_no
        self._recorder = recorder
        self._redactor = redactor
        self._clock = clock
        self._clients: dict[str, httpx2.Client] = {}

    def http(self, service: str) -> httpx2.Client:
        """The recording client for ``service``; one for each, kept open while the run lasts."""
        if service not in self._clients:
            from elspeth.core.calls.client import recording_client

            self._clients[service] = recording_client(
                log=self._recorder.calls,
                scope=self._scope,
                redactor=self._redactor,
                clock=self._clock,
            )
        return self._clients[service]

    def fetch_secret(self, name: str, fetch: Callable[[], str]) -> str:
        """Lets ``fetch`` reach out, records that it did, and keeps what it gave out of the trail.

        A library that answers from its cache asked nobody: a secret already known is not recorded again.
        """
        started_at = self._clock.now_us()
        request: dict[str, Any] = {"operation": "credentials", "name": name}
        try:
            with allowed():
                secret = fetch()
        except Exception as error:
            detail = {"type": type(error).__name__, "message": self._redactor.redact_text(str(error))}
            latency_ms = (self._clock.now_us() - started_at) / 1000
            self.record_call(CallType.OTHER, CallStatus.ERROR, request, error=detail, latency_ms=latency_ms)
            raise
        if not self._redactor.is_in(secret.encode()):
            self._redactor.add(secret)
            latency_ms = (self._clock.now_us() - started_at) / 1000
            self.record_call(CallType.OTHER, CallStatus.SUCCESS, request, latency_ms=latency_ms)
        return secret

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
    ) -> str:
        """Records a call to a system without an HTTP seam, secrets replaced."""
        return self._recorder.record_call(
            call_type,
            status,
            self._clean(request_data),
            None if response_data is None else self._clean(response_data),
            self._redactor.redact_value(error),
            latency_ms,
            node_no=self._node_no,
            row_index=self.row_index,
        )

    def close(self) -> None:
        """Closes the clients."""
        for client in self._clients.values():
            client.close()

    def _scope(self) -> CallScope:
        """The engine's own scope where it set one, else this step and the row it works on."""
        scope = self._recorder.calls.scope
        return CallScope(node_no=self._node_no, row_index=self.row_index) if scope.node_no is None else scope

    def _clean(self, data: bytes | Mapping[str, Any]) -> bytes:
        return self._redactor.redact(data if isinstance(data, bytes) else canonical_json(data))
