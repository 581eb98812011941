"""Multipart uploads: the file part is the payload."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from tests.core.calls.conftest import Connect, Log, Seen, Server, Trail

from elspeth.contracts import BodyRef, CallScope, CallStatus
from elspeth.core.calls.multipart import boundary_of
from elspeth.core.payloads import SegmentStream

FILE = b'{"custom_id":"0"}\r\n--\r\n\n' * 20_000


def scope_of(data: bytes) -> CallScope:
    return CallScope(request_body=BodyRef(1, 0, len(data), hashlib.sha256(data).digest()))


def upload(client: httpx2.Client, url: str, data: bytes) -> httpx2.Response:
    stream = SegmentStream(lambda: iter([data[:70_000], data[70_000:]]), size=len(data))
    return client.post(f"{url}/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", stream)})


@pytest.mark.parametrize("data", [FILE, b"", b"\r\n", b"--"])
def test_the_file_part_is_hashed_as_it_passes(data: bytes, server: Server, connect: Connect, log: Log) -> None:
    scope = scope_of(data)
    upload(connect(scope=scope), server.url, data)

    (call,) = log.calls
    (intent,) = log.intents
    assert (scope.request_body, scope.request_body) == (call.request, intent.request)
    assert str(len(server.seen[0].body)) == server.seen[0].headers["content-length"]
    assert data in server.seen[0].body
    purpose, file = hashlib.sha256(b"batch").hexdigest(), hashlib.sha256(data).hexdigest()
    assert {
        "is_complete": True,
        "parts": [
            {"name": "purpose", "bytes": 5, "sha256": purpose, "text": "batch"},
            {"name": "file", "bytes": len(data), "sha256": file, "file_name": "in.jsonl"},
        ],
    } == log.envelope(call)["request"]["wire"]


def test_another_file_than_the_intent_names_is_our_bug_and_recorded(server: Server, connect: Connect, log: Log) -> None:
    client = connect(scope=scope_of(b"intended"))

    with pytest.raises(RuntimeError, match="is not the payload that its intent names"):
        upload(client, server.url, b"sent")
    assert 1 == len(log.calls)


def test_an_upload_that_is_no_form_is_our_bug_and_not_sent(server: Server, connect: Connect, log: Log) -> None:
    with pytest.raises(RuntimeError, match="otherwise than as multipart"):
        connect(scope=scope_of(b"x")).post(f"{server.url}/files", content=b"x")

    assert ([], []) == (log.intents, server.seen)


def test_a_server_that_refuses_before_it_has_read_the_file_is_no_bug_of_ours(connect: Connect, log: Log) -> None:
    """The connection is broken while the body is sent, and the answer is read all the same."""

    class Inner(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            assert isinstance(request.stream, httpx2.SyncByteStream)
            next(iter(request.stream))
            return httpx2.Response(413, content=b"too large")

    client = connect(scope=scope_of(FILE))
    client._transport._inner = Inner()  # type: ignore[attr-defined]

    assert 413 == upload(client, "http://127.0.0.1:1", FILE).status_code
    (call,) = log.calls
    assert (CallStatus.ERROR, False) == (call.status, log.envelope(call)["request"]["wire"]["is_complete"])


def test_an_early_refusal_by_a_real_server_is_an_answer_or_a_lost_connection(
    server: Server, connect: Connect, log: Log
) -> None:
    files = {"file": ("in.jsonl", io.BytesIO(FILE * 40))}
    with suppress(httpx2.TransportError):
        assert 413 == connect().post(f"{server.url}/early", files=files).status_code

    assert [CallStatus.ERROR] == [call.status for call in log.calls]


def test_the_intent_of_an_upload_and_its_file_are_durable_before_it_is_sent(
    server: Server, connect: Connect, trail: Trail
) -> None:
    body = trail.recorder.calls.store_body(b"lines\n")
    found: list[tuple[Any, ...]] = []

    def look(_seen: Seen) -> None:
        connection = sqlite3.connect(f"file:{trail.database}?mode=ro", uri=True)
        found.extend(connection.execute("SELECT operation, request_hash, request_ref FROM call_intents").fetchall())
        connection.close()

    server.on_request = look
    upload(connect(into=trail.recorder.calls, scope=CallScope(request_body=body)), server.url, b"lines\n")

    assert [("files.create", hashlib.sha256(b"lines\n").digest(), str(body))] == found
    assert b"lines\n" == trail.payloads.body(body)


def test_an_upload_without_a_declared_file_is_stored_as_it_is(server: Server, connect: Connect, log: Log) -> None:
    connect().post(f"{server.url}/files", files={"file": ("a", b"content")})

    assert server.seen[0].body == log.data(log.calls[0].request)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data", None),
        ("application/json; boundary=abc", None),
        ("", None),
    ],
)
def test_the_boundary_is_that_of_a_form(content_type: str, boundary: bytes | None) -> None:
    assert boundary == boundary_of(content_type)
