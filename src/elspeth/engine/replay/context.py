"""The context that a step's plugin gets in a replay: whatever it reaches for comes from the trail, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from elspeth.contracts import (
    CallStatus,
    CallType,
    Context,
    Fields,
    NotRecordedError,
    Row,
    Transform,
    TransformResult,
)
from elspeth.core.calls import MARK, Redactor
from elspeth.core.calls.replaying import replaying_client
from elspeth.core.canonical import canonical_json, compact_json, sha256
from elspeth.engine.replay.calls import CallBook, StepCalls

__all__ = ["WITHHELD", "ReplayContext", "ReplayedTransform"]

WITHHELD = MARK.decode()
"""The value of every secret in a replay: the mark that stands for it in what was recorded."""


class ReplayContext:
    """Implements `elspeth.contracts.Context` over recorded calls."""

    def __init__(self, book: CallBook, *, run_id: str, step: str, node_no: int | None) -> None:
        self.run_id = run_id
        self.step = step
        self._calls = StepCalls(book, node_no=node_no, step=step)
        self._redactor = Redactor([WITHHELD])
        self._clients: dict[str, httpx2.Client] = {}

    @property
    def row_index(self) -> int | None:
        """The row that the step works on."""
        return self._calls.row_index

    @row_index.setter
    def row_index(self, row_index: int | None) -> None:
        self._calls.row_index = row_index

    def http(self, service: str) -> httpx2.Client:
        """A client that reaches nothing but the trail."""
        if service not in self._clients:
            self._clients[service] = replaying_client(self._calls, self._redactor)
        return self._clients[service]

    def fetch_secret(self, name: str, fetch: Callable[[], str]) -> str:  # noqa: ARG002 - nobody is asked
        """The mark: no service is asked for a token, since nothing is sent."""
        return WITHHELD

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,  # noqa: ARG002 - times are not compared
    ) -> str:
        """Compares the call with the one that was recorded, and returns that one's id."""
        found = self._calls.record_call(
            sha256(self._kept(request_data)),
            status=status.value,
            response=None if response_data is None else sha256(self._kept(response_data)),
            error=None if error is None else compact_json(self._redactor.redact_value(error)),
        )
        if found is None:
            self._calls.refuse(f"a call of type {call_type.word}")
            raise NotRecordedError(f"the trail has no such call of step {self.step!r}")
        return f"{self.run_id}:{found}"

    def close(self) -> None:
        """Closes the clients."""
        for client in self._clients.values():
            client.close()

    def _kept(self, data: bytes | Mapping[str, Any]) -> bytes:
        return self._redactor.redact(data if isinstance(data, bytes) else canonical_json(data))


class ReplayedTransform:
    """A transform whose row ends when it asks for something that was never answered."""

    def __init__(self, inner: Transform) -> None:
        self._inner = inner

    def output_fields(self, fields: Fields) -> Fields:
        """Those of the transform."""
        return self._inner.output_fields(fields)

    def process(self, row: Row, ctx: Context) -> TransformResult:
        """Handles the row; that a request is refused was noted by whoever refused it."""
        try:
            return self._inner.process(row, ctx)
        except NotRecordedError as error:
            return TransformResult.error("not_recorded", error.message)
