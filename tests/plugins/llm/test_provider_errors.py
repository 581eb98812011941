from __future__ import annotations

import inspect
import ssl
from typing import Any

import httpx2
import openai
import pytest

from elspeth.contracts import (
    AuthError,
    NotFoundError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TransientError,
)
from elspeth.plugins.llm.provider_errors import Operation, retry_after_s, translate

READ = Operation(name="batches.retrieve")
CANCEL = Operation(name="batches.cancel", is_read=False)
CREATE = Operation(name="batches.create", is_repeatable=False, is_read=False, not_found_hint="the deployment")
REQUEST = httpx2.Request("POST", "https://example.com/v1/batches")

# status, code: what it is for a read, for a cancel, for a create
STATUSES: list[tuple[int, str | None, type, type, type]] = [
    (302, None, RefusedError, RefusedError, RefusedError),
    (400, "invalid_request", RefusedError, RefusedError, RefusedError),
    (400, "token_limit_exceeded", QuotaError, QuotaError, QuotaError),
    (403, "token_limit_exceeded", QuotaError, QuotaError, QuotaError),
    (401, None, AuthError, AuthError, AuthError),
    (403, None, AuthError, RefusedError, AuthError),
    (404, None, NotFoundError, NotFoundError, NotFoundError),
    (408, None, TransientError, TransientError, OutcomeUnknownError),
    (409, None, TransientError, RefusedError, OutcomeUnknownError),
    (413, None, RefusedError, RefusedError, RefusedError),
    (422, None, RefusedError, RefusedError, RefusedError),
    (429, None, RateLimitedError, RateLimitedError, RateLimitedError),
    (429, "token_limit_exceeded", RateLimitedError, RateLimitedError, RateLimitedError),
    (500, None, TransientError, TransientError, OutcomeUnknownError),
    (502, None, TransientError, TransientError, OutcomeUnknownError),
    (503, None, TransientError, TransientError, OutcomeUnknownError),
    (504, None, TransientError, TransientError, OutcomeUnknownError),
]


def status_error(status: int, body: Any = None, **headers: str) -> openai.APIStatusError:
    """The exception that the SDK raises for an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = openai.OpenAI(api_key="k", max_retries=0)
    response = httpx2.Response(status, request=REQUEST, json=body, headers=named)
    return client._make_status_error_from_response(response)


@pytest.mark.parametrize(("status", "code", "read", "cancel", "create"), STATUSES)
def test_a_status_means_what_it_did(status: int, code: str | None, read: type, cancel: type, create: type) -> None:
    body = {"error": {"code": code, "message": "words"}}
    for operation, expected in ((READ, read), (CANCEL, cancel), (CREATE, create)):
        problem = translate(status_error(status, body), operation)
        assert type(problem) is expected
        assert problem.http_status == status
        assert problem.code == code
        assert operation.name in problem.message
        assert "words" in problem.message


def wrapped(cause: Exception) -> openai.APIConnectionError:
    """The exception as the SDK raises it: from its cause."""
    kind = openai.APITimeoutError if isinstance(cause, httpx2.TimeoutException) else openai.APIConnectionError
    error = kind(request=REQUEST)
    error.__cause__ = cause
    return error


NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
TRANSPORT = [
    kind
    for _, kind in inspect.getmembers(httpx2, inspect.isclass)
    if issubclass(kind, httpx2.RequestError | httpx2.StreamError)
]
TAKES_MESSAGE = [kind for kind in TRANSPORT if not issubclass(kind, httpx2.StreamError) or kind is httpx2.StreamError]


@pytest.mark.parametrize("kind", TAKES_MESSAGE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("as_sdk_raises_it", [True, False])
def test_every_failed_connection_is_told_apart(kind: Any, as_sdk_raises_it: bool) -> None:
    cause = kind("lost")
    error = wrapped(cause) if as_sdk_raises_it else cause
    assert type(translate(error, READ)) is TransientError
    assert type(translate(error, CANCEL)) is TransientError
    sent = kind.__name__ not in NEVER_SENT
    assert type(translate(error, CREATE)) is (OutcomeUnknownError if sent else TransientError)


def test_the_classes_are_those_of_the_library() -> None:
    assert NEVER_SENT.issubset(kind.__name__ for kind in TRANSPORT)
    assert len(TRANSPORT) > 15


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError("bad record"),
        openai.OpenAIError("?"),
        openai.APIError("?", REQUEST, body=None),
        openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None),
        openai.APIConnectionError(request=REQUEST),
        httpx2.ResponseNotRead(),
    ],
)
def test_whatever_else_comes_is_no_answer(error: Exception) -> None:
    assert type(translate(error, READ)) is TransientError
    assert type(translate(error, CREATE)) is OutcomeUnknownError


def test_every_status_error_of_the_sdk_is_in_the_table() -> None:
    kinds = {
        kind
        for _, kind in inspect.getmembers(openai, inspect.isclass)
        if issubclass(kind, openai.APIStatusError) and kind not in (openai.APIStatusError, openai.OAuthError)
    }
    assert kinds == {type(status_error(status)) for status, *_ in STATUSES} - {openai.APIStatusError}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "30"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "30"}, 30.0),
        ({"retry-after": "1e999"}, 1e9),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        (
            {"retry-after": "Mon, 23 Nov 2026 12:01:30 GMT", "date": "Mon, 23 Nov 2026 12:00:00 GMT"},
            90.0,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT", "date": "Mon, 23 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:30 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:30 -0000", "date": "Mon, 23 Nov 2026 12:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_honoured_however_long(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
    names = {name.replace("-", "_"): value for name, value in headers.items()}
    problem = translate(status_error(429, None, **names), CREATE)
    assert isinstance(problem, RateLimitedError)
    assert problem.retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"error": {"code": "c", "message": "m"}}, "c", "c: m"),
        ({"code": "c", "message": "m"}, "c", "c: m"),
        ({"error": {"code": None, "type": "t", "message": "m"}}, "t", "t: m"),
        ({"error": {"code": 404, "message": "m"}}, "404", "404: m"),
        ({"error": "plain"}, None, "plain"),
        ({"error": {"code": "BadRequest", "innererror": {"code": "token_limit_exceeded"}}}, "token_limit_exceeded", ""),
        (["odd"], None, "odd"),
        (None, None, "HTTP 400"),
        ({"error": {"code": [1], "message": {"x": 1}}}, None, "x"),
    ],
)
def test_an_error_body_of_any_shape_gives_its_words(body: Any, code: str | None, words: str) -> None:
    problem = translate(status_error(400, body), READ)
    assert problem.code == code
    assert words in problem.message


def test_the_providers_request_id_is_in_the_message() -> None:
    azure = status_error(400, None, apim_request_id="apim-1", x_request_id="x-1")
    assert "(request apim-1)" in translate(azure, READ).message
    assert "(request x-1)" in translate(status_error(400, None, x_request_id="x-1"), READ).message


def test_an_echoed_key_stays_out_of_the_message() -> None:
    body = {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided: sk-secret-123"}}
    problem = translate(status_error(401, body), READ, conceal="sk-secret-123")
    assert "sk-secret-123" not in problem.message
    assert "***" in problem.message


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "the key"), (403, "permission"), (404, "deployment"), (413, "max_bytes")]
)
def test_hints_say_what_to_do(status: int, hint: str) -> None:
    assert hint in (translate(status_error(status), CREATE).hint or "")
