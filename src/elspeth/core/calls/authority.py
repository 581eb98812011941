"""Asking a time-stamping authority over HTTP, as RFC 3161 section 3.4 says.

It is asked after a run, about a seal of it, so nothing of this is a call of the run. The answer is
bounded in size and in time, and no message shows more of the URL than where it leads.
"""

from __future__ import annotations

import time
from typing import Final

import httpx2

from elspeth.contracts import TimestampError, UsageError
from elspeth.core.calls.client import EnvironmentTransport
from elspeth.core.calls.redaction import Redactor

__all__ = ["MOST_ANSWER_BYTES", "ask_authority"]

MOST_ANSWER_BYTES: Final = 1 << 20
"""More than a hundred times what an answer with its certificates takes."""

_HEADERS: Final = {
    "Content-Type": "application/timestamp-query",
    "Accept": "application/timestamp-reply",
    "Accept-Encoding": "identity",
}
_PATIENCE_S: Final = 60.0
_HINT: Final = "Try again later, look at the URL, or ask another authority."


def ask_authority(url: str, query: bytes, *, patience_s: float = _PATIENCE_S) -> bytes:
    """The body of the answer to a query in DER; raises `TimestampError` when none comes that is worth reading.

    No single wait is longer than half of ``patience_s``, and an answer that trickles in is given up after all
    of it. Raises `UsageError` for what is no URL of HTTP.
    """
    target = _parsed(url)
    place = f"{target.scheme}://{target.netloc.decode()}"
    redactor = Redactor([target.password, target.path, target.query.decode()])
    deadline = time.monotonic() + patience_s
    client = httpx2.Client(
        transport=EnvironmentTransport(), headers=_HEADERS, timeout=patience_s / 2, follow_redirects=False
    )
    try:
        with client, client.stream("POST", target, content=query) as response:
            if response.status_code != httpx2.codes.OK:
                raise TimestampError(f"{place} refused: it answered {response.status_code}", hint=_HINT)
            return _body(response, place, deadline)
    except httpx2.TransportError as error:
        words = redactor.redact_text(str(error)) or type(error).__name__
        raise TimestampError(f"{place} cannot be asked: {words}", hint=_HINT) from error


def _parsed(url: str) -> httpx2.URL:
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL:
        target = httpx2.URL("")
    if target.scheme not in {"http", "https"} or not target.host:
        raise UsageError(
            "the URL of a time-stamping authority begins with https:// or http://, and names a host",
            hint="Timestamps are signed, so plain HTTP is usual for them.",
        )
    return target


def _body(response: httpx2.Response, place: str, deadline: float) -> bytes:
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > MOST_ANSWER_BYTES:
            raise TimestampError(f"{place} answered with more than {MOST_ANSWER_BYTES:,} bytes", hint=_HINT)
        if time.monotonic() > deadline:
            raise TimestampError(f"{place} takes too long to answer", hint=_HINT)
    return bytes(body)
