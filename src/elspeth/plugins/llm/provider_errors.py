"""What a vendor's exception means: the one place where they are translated.

The question behind every line is whether the request took effect. A request
that may be repeated (a GET; a cancel; a delete) is simply tried again. An upload
or a create is only `TransientError` when it never left this machine or was
refused before anything was done; else its outcome is unknown until somebody looks.

| what came back | repeatable | upload, create |
|---|---|---|
| no connection was made | TransientError | TransientError |
| connection lost, timeout | TransientError | OutcomeUnknownError |
| 408, 409, 5xx | TransientError (409 to a cancel or delete: RefusedError) | OutcomeUnknownError |
| 429 | RateLimitedError | RateLimitedError |
| 401, 403 | AuthError (403 to a cancel or delete: RefusedError) | AuthError |
| 404 | NotFoundError | NotFoundError |
| `token_limit_exceeded` | QuotaError | QuotaError |
| any other status | RefusedError | RefusedError |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import httpx2
from msgspec import Struct

from elspeth.contracts import (
    AuthError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TransientError,
)

__all__ = ["MISMATCH_CODE", "Operation", "retry_after_s", "translate"]

NEVER_CONNECTED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
QUOTA_CODE = "token_limit_exceeded"
MISMATCH_CODE = "url_mismatch"
MAX_RETRY_AFTER_S = 1e9


class Operation(Struct, frozen=True, kw_only=True):
    """One kind of request: its name in the trail, and what sending it twice would do.

    ``urls`` are the two settings that a ``url_mismatch`` is about, for its message.
    """

    name: str
    is_repeatable: bool = True
    is_read: bool = True
    not_found_hint: str | None = None
    urls: str = ""


class _Answer(Struct, frozen=True, kw_only=True):
    """An error answer, as far as it can be read."""

    status: int
    code: str | None
    text: str
    headers: Mapping[str, str]


def translate(
    error: Exception, operation: Operation, *, conceal: str = "", credential: str = "the key"
) -> ProviderError:
    """The `ProviderError` for an exception of the SDK or of httpx2.

    ``conceal`` is the key itself: providers echo keys, and an error's text goes to logs. ``credential`` says
    where it comes from.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        return _of_status(_answer(error, conceal), operation, credential)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    what = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    what = _concealed(what, conceal)
    if isinstance(cause, NEVER_CONNECTED):
        hint = "check the endpoint, the proxy settings and the network"
        return TransientError(f"{operation.name}: no connection ({what})", code="no_connection", hint=hint)
    if operation.is_repeatable:
        return TransientError(f"{operation.name}: the connection failed ({what})", code="connection_lost")
    message = f"{operation.name}: the request was sent and no answer came back ({what})"
    return OutcomeUnknownError(message, code="connection_lost")


def _of_status(answer: _Answer, operation: Operation, credential: str) -> ProviderError:
    status, code = answer.status, answer.code
    message = _message(answer, operation)
    if status == 429:
        wait = retry_after_s(answer.headers)
        hint = "the account is out of credit" if code == "insufficient_quota" else None
        return RateLimitedError(message, retry_after_s=wait, code=code, http_status=status, hint=hint)
    if code == QUOTA_CODE:
        hint = "the deployment's queue of tokens is full; the batch is sent when others have ended"
        return QuotaError(message, code=code, http_status=status, hint=hint)
    if status in (403, 409) and operation.is_repeatable and not operation.is_read:
        return RefusedError(message, code=code, http_status=status)
    if status in (408, 409) or status >= 500:
        kind = TransientError if operation.is_repeatable else OutcomeUnknownError
        return kind(message, code=code, http_status=status)
    if status == 401:
        hint = f"{credential} is wrong, expired, or of another resource"
        return AuthError(message, code=code, http_status=status, hint=hint)
    if status == 403:
        return AuthError(message, code=code, http_status=status, hint=_FORBIDDEN_HINT)
    if status == 404:
        return NotFoundError(message, code=code, http_status=status, hint=operation.not_found_hint)
    hint = _REFUSED_HINTS.get(code or "") or _REFUSED_HINTS.get(str(status))
    return RefusedError(message, code=code, http_status=status, hint=hint)


_FORBIDDEN_HINT = "the identity lacks permission (Azure: Cognitive Services OpenAI User), or the network is not allowed"
_REFUSED_HINTS = {
    "413": "the file is too large for the provider: lower `max_bytes`",
    "model_not_found": "check `deployment_name` (or `model`): batches need a deployment of a batch SKU",
    MISMATCH_CODE: "set `url` and `batch_endpoint` to what the provider expects; both stand in the message",
}


def _answer(error: Exception, conceal: str) -> _Answer:
    response = getattr(error, "response", None)
    body = getattr(error, "body", None)
    fault = body.get("error", body) if isinstance(body, dict) else body
    code, text = None, ""
    if isinstance(fault, dict):
        inner = fault.get("innererror")
        is_quota = isinstance(inner, dict) and inner.get("code") == QUOTA_CODE
        words = (QUOTA_CODE if is_quota else fault.get("code"), fault.get("type"))
        code = next((str(word) for word in words if isinstance(word, str | int) and word != ""), None)
        text = str(fault.get("message") or "")
    elif fault:
        text = str(fault)
    headers = {} if response is None else {name.lower(): value for name, value in response.headers.items()}
    status = int(getattr(error, "status_code", 0))
    return _Answer(status=status, code=code, text=_concealed(text, conceal), headers=headers)


def _message(answer: _Answer, operation: Operation) -> str:
    """What, HTTP status, the provider's words and its request id (the SDK knows only OpenAI's header)."""
    words = ": ".join(word for word in (answer.code, " ".join(answer.text.split())[:500]) if word)
    request_id = answer.headers.get("apim-request-id") or answer.headers.get("x-request-id")
    tail = f" (request {request_id})" if request_id else ""
    tail += f" ({operation.urls})" if answer.code == MISMATCH_CODE and operation.urls else ""
    return f"{operation.name}: HTTP {answer.status}{' ' + words if words else ''}{tail}"


def _concealed(text: str, secret: str) -> str:
    return text.replace(secret, "***") if len(secret) >= 8 else text


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The provider's wish in seconds, however long (RFC 9110, 10.2.3); None when it gave none that can be read.

    A date counts from the answer's own ``Date``, so neither a skewed clock nor a replay changes it.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            number = float(headers[name])
        except (KeyError, ValueError):
            continue
        if not math.isnan(number):
            return min(max(number * unit, 0.0), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(headers["retry-after"])
        since = parsedate_to_datetime(headers["date"])
        return min(max((until - since).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    except (KeyError, ValueError, TypeError):
        return None
