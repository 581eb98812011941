"""The replaying transport: it answers from what was recorded, and refuses every other request.

A request is known by its *match key*, SHA-256 over the canonical JSON of method, path,
query and what stands for its body: the hash of the stored bytes, or of a multipart
upload the parts' names, file names and hashes. Headers and boundaries do not enter:
SDKs draw them at random, and secrets stand in them. Both sides are redacted before they
are hashed; in a replay each secret's value is the mark that stands for it in the trail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import httpx2
from msgspec import Struct

from elspeth.contracts import NotRecordedError
from elspeth.core.calls.envelope import redact_url, stored_request
from elspeth.core.calls.multipart import MultipartReader, boundary_of
from elspeth.core.calls.redaction import Redactor
from elspeth.core.canonical import canonical_json

__all__ = ["CallSource", "RecordedCall", "ReplayingTransport", "match_key", "replaying_client"]

_ERRORS = {
    name: kind
    for name, kind in vars(httpx2).items()
    if isinstance(kind, type) and issubclass(kind, httpx2.TransportError)
}
_LOST = "the connection was lost, as recorded"


class RecordedCall(Struct, frozen=True, kw_only=True):
    """An attempt as recorded. ``status`` is None when there was no answer, ``error`` when there was a whole one."""

    status: int | None
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    error: Mapping[str, Any] | None = None


class CallSource(Protocol):
    """Gives recorded calls, each once, in the order in which they were made."""

    def next_call(self, key: bytes) -> RecordedCall | None:
        """The next recorded call with that match key, for the row that is being worked on; None when there is none."""
        ...

    def refuse(self, request: str) -> None:
        """Told of a request that the trail does not answer."""
        ...


def match_key(method: str, url: str, stored: bytes | None, *, stored_sha256: bytes, content_type: str) -> bytes:
    """The key of a request; ``stored`` is needed for a multipart upload only, of which the parts count."""
    parsed = httpx2.URL(url)
    boundary = boundary_of(content_type)
    body: Any = stored_sha256.hex()
    if boundary is not None and stored is not None:
        reader = MultipartReader(boundary, on_file=lambda _data: None)
        reader.feed(stored)
        body = [[part.name, part.file_name, part.digest.hexdigest()] for part in reader.parts]
    query = parsed.query.decode("ascii", "replace")
    return hashlib.sha256(canonical_json({"call": [method, parsed.path, query, body]})).digest()


def replaying_client(calls: CallSource, redactor: Redactor) -> httpx2.Client:
    """A client that reaches nothing but the trail; otherwise as the recording one."""
    return httpx2.Client(
        transport=ReplayingTransport(calls, redactor), headers={"Accept-Encoding": "identity"}, follow_redirects=False
    )


class ReplayingTransport(httpx2.BaseTransport):
    """Answers requests from ``calls``."""

    def __init__(self, calls: CallSource, redactor: Redactor) -> None:
        self._calls = calls
        self._redactor = redactor

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The recorded answer or the recorded failure; raises `NotRecordedError` for a request that is not there."""
        url = redact_url(request.url, self._redactor)
        _, stored = stored_request(request, self._redactor)
        key = match_key(
            request.method,
            url,
            stored,
            stored_sha256=hashlib.sha256(stored).digest(),
            content_type=request.headers.get("content-type", ""),
        )
        call = self._calls.next_call(key)
        if call is None:
            self._refuse(f"{request.method} {url}")
        if call.status is None:
            raise _error(call.error, request)
        return httpx2.Response(call.status, headers=list(call.headers), stream=_Body(call, request), request=request)

    def _refuse(self, request: str) -> NoReturn:
        self._calls.refuse(request)
        raise NotRecordedError(
            f"the trail has no answer to {request}",
            hint="A replay reaches nothing but the trail: the run never made this request.",
        )


class _Body(httpx2.SyncByteStream):
    """A recorded body, and the failure that cut it off."""

    def __init__(self, call: RecordedCall, request: httpx2.Request) -> None:
        self._call = call
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        yield self._call.body
        if self._call.error is not None:
            raise _error(self._call.error, self._request)


def _error(error: Mapping[str, Any] | None, request: httpx2.Request) -> httpx2.TransportError:
    """The recorded failure; what has no name here was a lost connection to whoever sent the request."""
    detail = error or {}
    kind = _ERRORS.get(str(detail.get("type")), httpx2.ReadError)
    return kind(str(detail.get("message", _LOST)), request=request)
