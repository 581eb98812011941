"""The replaying transport answers from recorded calls, and lets nothing out."""

from __future__ import annotations

import socket
from typing import Any

import httpx2
import pytest

from elspeth.contracts import NotRecordedError, UnrecordedCallError
from elspeth.core.calls import MARK, NetworkGuard, Redactor, allowed
from elspeth.core.calls.replaying import RecordedCall, match_key, replaying_client
from elspeth.core.canonical import sha256

URL = "https://service.invalid/v1/ask?n=1"


class Calls:
    """Recorded calls by key, each given once."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, RecordedCall]] = []
        self.refused: list[str] = []

    def add(self, method: str, url: str, payload: bytes, content_type: str = "", **call: Any) -> None:
        key = match_key(method, url, payload, stored_sha256=sha256(payload), content_type=content_type)
        self.calls.append((key, RecordedCall(**call)))

    def next_call(self, key: bytes) -> RecordedCall | None:
        at = next((at for at, (known, _) in enumerate(self.calls) if known == key), None)
        return None if at is None else self.calls.pop(at)[1]

    def refuse(self, request: str) -> None:
        self.refused.append(request)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def client(calls: Calls) -> httpx2.Client:
    return replaying_client(calls, Redactor([MARK.decode()]))


def test_each_recorded_answer_is_given_once_and_in_order(calls: Calls, client: httpx2.Client) -> None:
    for body in (b"first", b"second"):
        calls.add("GET", URL, b"GET /v1/ask?n=1", status=200, headers=[("x-request-id", "r")], body=body)
    answers = [client.get(URL, headers={"authorization": "Bearer other"}) for _ in range(2)]
    assert [("first", "r"), ("second", "r")] == [(answer.text, answer.headers["x-request-id"]) for answer in answers]
    with pytest.raises(NotRecordedError, match=r"no answer to GET https://service\.invalid/v1/ask\?n=1"):
        client.get(URL)
    assert [f"GET {URL}"] == calls.refused


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [("POST", URL, b"{}"), ("PUT", URL, b"{ }"), ("PUT", f"{URL}2", b"{}"), ("PUT", URL.replace("ask", "tell"), b"{}")],
)
def test_method_path_query_and_body_tell_requests_apart(
    calls: Calls, client: httpx2.Client, method: str, url: str, body: bytes
) -> None:
    calls.add("PUT", URL, b"{}", status=200)
    with pytest.raises(NotRecordedError):
        client.request(method, url, content=body)
    assert 200 == client.put(URL, content=b"{}").status_code


def test_the_host_and_the_boundary_do_not_count(calls: Calls, client: httpx2.Client) -> None:
    body = (
        b'--abc\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--abc\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\ncontent\r\n--abc--\r\n"
    )
    calls.add("POST", "https://elsewhere.invalid/files", body, "multipart/form-data; boundary=abc", status=201)
    with pytest.raises(NotRecordedError):
        client.post("https://service.invalid/files", data={"purpose": "batch"}, files={"file": ("a.txt", b"other")})
    answer = client.post(
        "https://service.invalid/files", data={"purpose": "batch"}, files={"file": ("a.txt", b"content")}
    )
    assert 201 == answer.status_code


def test_a_secret_in_a_request_is_the_mark_on_both_sides(calls: Calls, client: httpx2.Client) -> None:
    calls.add("POST", "https://service.invalid/?key=[REDACTED]", b'{"key": "[REDACTED]"}', status=200)
    assert 200 == client.post("https://service.invalid/?key=other", content=b'{"key": "[REDACTED]"}').status_code


@pytest.mark.parametrize(("kind", "raised"), [("ConnectTimeout", httpx2.ConnectTimeout), ("Odd", httpx2.ReadError)])
def test_a_recorded_failure_is_raised_again(
    calls: Calls, client: httpx2.Client, kind: str, raised: type[httpx2.TransportError]
) -> None:
    calls.add("GET", URL, b"GET /v1/ask?n=1", status=None, error={"type": kind, "message": "it broke"})
    with pytest.raises(raised, match="it broke"):
        client.get(URL)


def test_an_answer_that_broke_off_breaks_off_again(calls: Calls, client: httpx2.Client) -> None:
    error = {"type": "RemoteProtocolError", "message": "closed", "http_status": 200}
    calls.add("GET", URL, b"GET /v1/ask?n=1", status=200, body=b"part", error=error)
    with client.stream("GET", URL) as answer:
        pieces = answer.iter_bytes()
        assert b"part" == next(pieces)
        with pytest.raises(httpx2.RemoteProtocolError):
            next(pieces)


def test_a_total_guard_lets_nobody_out() -> None:
    with NetworkGuard(is_total=True) as guard, socket.socket() as plug:
        with pytest.raises(UnrecordedCallError), allowed():
            plug.connect(("127.0.0.1", 9))
        with pytest.raises(UnrecordedCallError):
            guard.check()
    with NetworkGuard() as guard, socket.socket() as plug:
        with pytest.raises(ConnectionRefusedError), allowed():
            plug.connect(("127.0.0.1", 9))
        guard.check()
