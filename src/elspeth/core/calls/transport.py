"""The recording transport: the one seam through which a run reaches the network.

For every attempt, success or failure, it records the request's payload, the response's
body and an envelope with all the rest. A request that is not safe to repeat is made
durable first: its payload, then its intent, and only then is it sent; its answer is
durable before the caller sees it. Nothing is retried here or below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

from elspeth.contracts import (
    BodyRef,
    BodySink,
    CallIntent,
    CallLog,
    CallRecord,
    CallScope,
    CallStatus,
    CallType,
    Clock,
)
from elspeth.core.calls.envelope import (
    SIMULATOR_HEADER,
    envelope_of,
    provider_request_id,
    redact_url,
    stored_request,
)
from elspeth.core.calls.guard import allowed
from elspeth.core.calls.multipart import MultipartReader, Part, boundary_of
from elspeth.core.calls.operations import is_repeatable, operation_of
from elspeth.core.calls.redaction import Redactor, StreamRedactor

__all__ = ["RecordingTransport"]

_EXCERPT_BYTES = 4_000


class RecordingTransport(httpx2.BaseTransport):
    """Records what passes between a client and ``inner``; ``scope`` tells on whose behalf."""

    def __init__(
        self,
        inner: httpx2.BaseTransport,
        *,
        log: CallLog,
        scope: Callable[[], CallScope],
        redactor: Redactor,
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._log = log
        self._scope = scope
        self._redactor = redactor
        self._clock = clock
        self._unread: dict[int, _RecordedStream] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request and records the attempt; raises what the transport underneath raises."""
        attempt = _Attempt(request, self._scope(), log=self._log, redactor=self._redactor, clock=self._clock)
        attempt.prepare()
        try:
            with allowed():
                response = self._inner.handle_request(attempt.outgoing())
        except httpx2.TransportError as error:
            attempt.fail(error)
            raise
        return attempt.receive(response, self._unread)

    def close(self) -> None:
        """Closes the connections; an answer that is still open is recorded as not read to its end."""
        for stream in list(self._unread.values()):
            stream.close()
        self._inner.close()


class _Attempt:
    """One attempt from the request to the record."""

    def __init__(
        self, request: httpx2.Request, scope: CallScope, *, log: CallLog, redactor: Redactor, clock: Clock
    ) -> None:
        self.request = request
        self.scope = scope
        self.operation = redactor.redact_text(operation_of(request.method, request.url.path))
        self.redactor = redactor
        self._log = log
        self._clock = clock
        self._started_at = clock.now_us()
        self._intent_no: int | None = None
        self._payload: BodyRef | None = None
        self._request_wire: dict[str, Any] = {}
        self._multipart: MultipartReader | None = None
        self._sent: _WatchedStream | None = None
        self._response: httpx2.Response | None = None

    def prepare(self) -> None:
        """Stores the request's payload and, unless the request may be repeated, makes its intent durable."""
        if self.scope.request_body is not None and self.operation == "files.create":
            self._payload = self.scope.request_body
            boundary = boundary_of(self.request.headers.get("content-type", ""))
            if boundary is None:
                raise RuntimeError("a file is uploaded otherwise than as multipart/form-data")
            self._multipart = MultipartReader(boundary, on_file=lambda _data: None)
        else:
            wire, stored = stored_request(self.request, self.redactor)
            self._request_wire = {
                "sha256": hashlib.sha256(wire).hexdigest(),
                "bytes": len(wire),
                "redacted": stored != wire,
            }
            sink = self._log.open_body(CallScope())
            sink.write(stored)
            self._payload = sink.close()
        if not is_repeatable(self.request.method):
            self._intent_no = self._log.intend(
                CallIntent(
                    scope=self.scope,
                    operation=self.operation,
                    method=self.request.method,
                    url=redact_url(self.request.url, self.redactor),
                    request=self._payload,
                )
            )
        self._started_at = self._clock.now_us()

    def outgoing(self) -> httpx2.Request:
        """The request as it is sent; an upload's bytes are looked at in passing."""
        if self._multipart is None:
            return self.request
        self._sent = _WatchedStream(self.request.stream, self._multipart.feed)
        return httpx2.Request(
            self.request.method,
            self.request.url,
            headers=self.request.headers,
            stream=self._sent,
            extensions=self.request.extensions,
        )

    def receive(self, response: httpx2.Response, unread: dict[int, _RecordedStream]) -> httpx2.Response:
        """The response with its body recorded as it is read; until then it is one of ``unread``.

        Only an answer that succeeds is the file that the scope has a name for.
        """
        self._response = response
        sink = self._log.open_body(self.scope if response.is_success else CallScope())
        recorded = _RecordedStream(response.stream, sink, self, unread)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=recorded,
            extensions=response.extensions,
            request=self.request,
        )

    def fail(self, error: Exception) -> None:
        """Records an attempt that got no answer."""
        self._record(None, None, error)

    def finish(self, body: BodyRef, excerpt: bytes, wire: Mapping[str, Any], error: Exception | None) -> None:
        """Records an attempt whose answer was read, to its end or to an ``error``."""
        self._record(body, wire, error, excerpt=excerpt)

    def _record(
        self,
        body: BodyRef | None,
        wire: Mapping[str, Any] | None,
        error: Exception | None,
        *,
        excerpt: bytes = b"",
    ) -> None:
        if self._payload is None:
            raise RuntimeError("an attempt is recorded after it is prepared")
        latency_us = self._clock.now_us() - self._started_at
        status = None if self._response is None else self._response.status_code
        detail = self._error_detail(error, status, excerpt)
        envelope = self._log.open_body(CallScope())
        envelope.write(
            envelope_of(
                request=self.request,
                response=self._response,
                redactor=self.redactor,
                request_wire=self._request_wire if self._multipart is None else self._parts(self._multipart),
                response_wire=wire,
                latency_us=latency_us,
                error=detail,
            )
        )
        self._log.add_call(
            CallRecord(
                scope=self.scope,
                call_type=CallType.HTTP,
                operation=self.operation,
                status=CallStatus.SUCCESS if detail is None else CallStatus.ERROR,
                started_at=self._started_at,
                latency_us=latency_us,
                request=self._payload,
                response=body,
                envelope=envelope.close(),
                method=self.request.method,
                url=redact_url(self.request.url, self.redactor),
                http_status=status,
                provider_request_id=(
                    None if self._response is None else provider_request_id(self._response, self.redactor)
                ),
                error=detail,
                intent_no=self._intent_no,
                is_simulated=self._response is not None and SIMULATOR_HEADER in self._response.headers,
            )
        )
        if error is None:
            self._check_upload()

    def _error_detail(self, error: Exception | None, status: int | None, excerpt: bytes) -> dict[str, Any] | None:
        if error is not None:
            detail: dict[str, Any] = {
                "type": type(error).__name__,
                "message": self.redactor.redact_text(str(error)),
            }
        elif status is not None and status >= 400:
            detail = {"type": "http_status"}
        else:
            return None
        if status is not None:
            detail["http_status"] = status
        if excerpt:
            detail["body"] = excerpt.decode("utf-8", "replace")
        return detail

    def _parts(self, multipart: MultipartReader) -> dict[str, Any]:
        is_complete = self._sent is not None and self._sent.is_complete
        return {"is_complete": is_complete, "parts": [_describe(part, self.redactor) for part in multipart.parts]}

    def _check_upload(self) -> None:
        """The file that was sent must be the payload that the intent names; anything else is our bug.

        A server may refuse before it has taken the whole body: then there is nothing to compare.
        """
        if self._multipart is None or self._payload is None or self._sent is None or not self._sent.is_complete:
            return
        sent = [part.digest.digest() for part in self._multipart.parts if part.file_name is not None]
        if sent != [self._payload.sha256]:
            raise RuntimeError("the uploaded file is not the payload that its intent names")


def _describe(part: Part, redactor: Redactor) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": part.name,
        "bytes": part.size,
        "sha256": part.digest.hexdigest(),
    }
    if part.file_name is None:
        described["text"] = redactor.redact(part.text).decode("utf-8", "replace")
    else:
        described["file_name"] = redactor.redact_text(part.file_name)
    return described


class _WatchedStream(httpx2.SyncByteStream):
    """Hands a request's bytes on and shows them to ``watch``."""

    def __init__(self, inner: Any, watch: Callable[[bytes], None]) -> None:
        self._inner = inner
        self._watch = watch
        self.is_complete = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._watch(chunk)
            yield chunk
        self.is_complete = True


class _RecordedStream(httpx2.SyncByteStream):
    """Hands a response's bytes on and keeps them; the attempt is recorded at their end."""

    def __init__(self, inner: Any, sink: BodySink, attempt: _Attempt, unread: dict[int, _RecordedStream]) -> None:
        self._unread = unread
        self._unread[id(self)] = self
        self._inner = inner
        self._sink = sink
        self._attempt = attempt
        self._redactor: StreamRedactor = attempt.redactor.stream()
        self._wire = hashlib.sha256()
        self._size = 0
        self._excerpt = b""
        self._is_recorded = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._inner:
                self._wire.update(chunk)
                self._size += len(chunk)
                self._keep(self._redactor.feed(chunk))
                yield chunk
        except httpx2.TransportError as error:
            self._finish(error)
            raise
        self._finish(None)

    def close(self) -> None:
        """Closes the connection's stream; an answer that nobody read to its end is recorded as such."""
        self._inner.close()
        if not self._is_recorded:
            self._finish(httpx2.StreamError("the answer was not read to its end"))

    def _keep(self, data: bytes) -> None:
        self._sink.write(data)
        if len(self._excerpt) < _EXCERPT_BYTES:
            self._excerpt += data[: _EXCERPT_BYTES - len(self._excerpt)]

    def _finish(self, error: Exception | None) -> None:
        if self._is_recorded:
            return
        self._is_recorded = True
        self._unread.pop(id(self), None)
        self._keep(self._redactor.finish())
        wire = {"sha256": self._wire.hexdigest(), "bytes": self._size, "redacted": self._redactor.has_replaced}
        self._attempt.finish(self._sink.close(), self._excerpt, wire, error)
