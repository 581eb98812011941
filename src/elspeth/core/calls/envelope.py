"""The envelope of a call: everything about an exchange that is not one of its bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

from elspeth.core.calls.redaction import MARK, Redactor
from elspeth.core.canonical import canonical_json

__all__ = [
    "SIMULATOR_HEADER",
    "canonical_request_line",
    "envelope_of",
    "provider_request_id",
    "redact_url",
    "stored_request",
    "without_secret_parts",
]

_SECRET_HEADERS = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
    }
)
_SECRET_PARAMETERS = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "code", "key", "password", "sig", "signature", "token"}
)
_URL_HEADERS = frozenset({"content-location", "location", "operation-location", "referer"})
SIMULATOR_HEADER = "x-elspeth-simulator"
_REQUEST_ID_HEADERS = ("apim-request-id", "x-request-id", "x-ms-request-id", "request-id")


def canonical_request_line(method: str, url: httpx2.URL) -> bytes:
    """What stands for the payload of a request without a body: method and target."""
    return method.encode() + b" " + url.raw_path


def redact_url(url: httpx2.URL, redactor: Redactor) -> str:
    """The URL without user info, secret parameters and registered secrets."""
    return redactor.redact_text(str(without_secret_parts(url)))


def without_secret_parts(url: httpx2.URL) -> httpx2.URL:
    """The URL without user info, and with the values of parameters that are secret by their name replaced."""
    if url.userinfo:
        url = url.copy_with(userinfo=b"")
    for name in url.params:
        if name.lower() in _SECRET_PARAMETERS:
            url = url.copy_set_param(name, MARK.decode())
    return url


def stored_request(request: httpx2.Request, redactor: Redactor) -> tuple[bytes, bytes]:
    """A request's payload as it is sent and as it is kept: its body, or the line that stands for one."""
    body = request.read()
    method, url = request.method, request.url
    wire = body or canonical_request_line(method, url)
    return wire, redactor.redact(body or canonical_request_line(method, without_secret_parts(url)))


def provider_request_id(response: httpx2.Response, redactor: Redactor) -> str | None:
    """The provider's own id of the request, under whichever header it sends it."""
    for name in _REQUEST_ID_HEADERS:
        if name in response.headers:
            return redactor.redact_text(str(response.headers[name]))
    return None


def envelope_of(
    *,
    request: httpx2.Request,
    response: httpx2.Response | None,
    redactor: Redactor,
    request_wire: Mapping[str, Any],
    response_wire: Mapping[str, Any] | None,
    latency_us: int,
    error: Mapping[str, Any] | None,
) -> bytes:
    """Canonical JSON of the exchange. ``*_wire`` hold the hashes of what was really on the wire."""
    envelope: dict[str, Any] = {
        "request": {
            "method": request.method,
            "url": redact_url(request.url, redactor),
            "headers": _headers(request.headers, redactor),
            "wire": dict(request_wire),
        },
        "latency_us": latency_us,
    }
    if response is not None:
        envelope["response"] = {
            "status": response.status_code,
            "headers": _headers(response.headers, redactor),
            "wire": dict(response_wire or {}),
        }
    if error is not None:
        envelope["error"] = dict(error)
    return canonical_json(envelope)


def _headers(headers: httpx2.Headers, redactor: Redactor) -> list[list[str]]:
    return [[name, _header(name.lower(), value, redactor)] for name, value in headers.multi_items()]


def _header(name: str, value: str, redactor: Redactor) -> str:
    if name in _SECRET_HEADERS:
        return MARK.decode()
    if name in _URL_HEADERS:
        try:
            return redact_url(httpx2.URL(value), redactor)
        except httpx2.InvalidURL:
            pass
    return redactor.redact_text(value)
