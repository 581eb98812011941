"""Every attempt is recorded, however it ends."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from typing import Any

import httpx2
import pytest
from tests.core.calls.conftest import Connect, Log, Seen, Server, Trail

from elspeth.contracts import CallRecord, CallScope, CallStatus, FileRole


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def only(log: Log) -> CallRecord:
    (call,) = log.calls
    return call


def test_a_success_is_recorded_with_both_bodies(server: Server, connect: Connect, log: Log) -> None:
    server.headers = {"apim-request-id": "a-1", "x-request-id": "x-1"}
    scope = CallScope(node_no=3, row_index=9)
    assert b"fine" == connect(scope=scope).get(f"{server.url}/v1/files/f-1?x=1").content

    call = only(log)
    assert (CallStatus.SUCCESS, 200, "files.retrieve", "GET") == (
        call.status, call.http_status, call.operation, call.method
    )  # fmt: skip
    assert (scope, f"{server.url}/v1/files/f-1?x=1", "a-1", None) == (
        call.scope, call.url, call.provider_request_id, call.error
    )  # fmt: skip
    assert b"GET /v1/files/f-1?x=1" == log.data(call.request)
    assert digest(b"GET /v1/files/f-1?x=1") == call.request.sha256
    assert (b"fine", digest(b"fine")) == (log.data(call.response), call.response.sha256 if call.response else None)
    assert {"sha256": hashlib.sha256(b"fine").hexdigest(), "bytes": 4, "redacted": False} == log.envelope(call)[
        "response"
    ]["wire"]


def test_the_request_hash_is_that_of_the_bytes_the_server_received(server: Server, connect: Connect, log: Log) -> None:
    connect().post(f"{server.url}/v1/chat/completions", json={"a": "ü"})
    connect().post(f"{server.url}/v1/chat/completions", content=iter([b"str", b"eam"]))

    assert [digest(seen.body) for seen in server.seen] == [call.request.sha256 for call in log.calls]
    assert [seen.body for seen in server.seen] == [log.data(call.request) for call in log.calls]
    assert b"stream" == server.seen[1].body


def test_only_what_is_not_safe_to_repeat_has_an_intent(server: Server, connect: Connect, log: Log) -> None:
    client = connect()
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        client.request(method, f"{server.url}/batches", content=b"x" if method == "POST" else None)

    assert ["batches.create"] == [intent.operation for intent in log.intents]
    assert [None, None, None, None, 0] == [call.intent_no for call in log.calls]
    assert log.calls[-1].request == log.intents[0].request


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_refusal_is_an_error_with_its_body(status: int, server: Server, connect: Connect, log: Log) -> None:
    assert status == connect().get(f"{server.url}/{status}").status_code

    call = only(log)
    assert (CallStatus.ERROR, status) == (call.status, call.http_status)
    assert {"type": "http_status", "http_status": status, "body": f"status {status}"} == call.error


def test_a_refused_connection_is_recorded(connect: Connect, log: Log) -> None:
    with pytest.raises(httpx2.ConnectError):
        connect().post("http://127.0.0.1:1/batches", content=b"x")

    call = only(log)
    assert (CallStatus.ERROR, None, None, 0) == (call.status, call.http_status, call.response, call.intent_no)
    assert call.error is not None
    assert "ConnectError" == call.error["type"]


@pytest.mark.parametrize(
    ("word", "kind", "status", "body"),
    [
        ("reset", httpx2.TransportError, None, None),
        ("reset-after-headers", httpx2.TransportError, 200, b""),
        ("truncated", httpx2.RemoteProtocolError, 200, b"partial"),
    ],
)
def test_a_broken_answer_is_an_error_that_keeps_what_came(
    word: str,
    kind: type[Exception],
    status: int | None,
    body: bytes | None,
    server: Server,
    connect: Connect,
    log: Log,
) -> None:
    with pytest.raises(kind):
        connect().post(f"{server.url}/{word}", content=b"x")

    call = only(log)
    assert (CallStatus.ERROR, status) == (call.status, call.http_status)
    assert body == (None if call.response is None else log.data(call.response))
    assert call.error is not None
    assert call.error["message"] == log.envelope(call)["error"]["message"]


def test_an_answer_that_does_not_come_is_recorded(server: Server, connect: Connect, log: Log) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        connect().get(f"{server.url}/stall", timeout=0.1)

    assert "ReadTimeout" == (only(log).error or {})["type"]


def test_an_answer_not_read_to_its_end_is_an_error(server: Server, connect: Connect, log: Log) -> None:
    with connect().stream("GET", f"{server.url}/large") as response:
        first = next(response.iter_raw())

    call = only(log)
    assert (CallStatus.ERROR, first) == (call.status, log.data(call.response))
    assert "the answer was not read to its end" == (call.error or {})["message"]


def test_an_answer_nobody_closed_is_recorded_with_the_client(server: Server, connect: Connect, log: Log) -> None:
    client = connect()
    client.send(client.build_request("GET", f"{server.url}/large"), stream=True)
    assert [] == log.calls
    client.close()

    assert CallStatus.ERROR is only(log).status


@pytest.mark.parametrize(("method", "word"), [("GET", "empty"), ("HEAD", "ok"), ("GET", "redirect")])
def test_an_answer_without_a_body_is_recorded(
    method: str, word: str, server: Server, connect: Connect, log: Log
) -> None:
    response = connect().request(method, f"{server.url}/{word}")

    assert (CallStatus.SUCCESS, response.status_code) == (only(log).status, only(log).http_status)
    assert b"" == log.data(only(log).response)
    assert b"0123456789" not in log.data(only(log).envelope)


def test_nothing_is_retried_and_no_redirect_followed(server: Server, connect: Connect, log: Log) -> None:
    client = connect()
    client.get(f"{server.url}/redirect")
    with pytest.raises(httpx2.TransportError):
        client.get(f"{server.url}/reset")

    assert (2, 2) == (len(server.seen), len(log.calls))


def test_compression_is_declined(server: Server, connect: Connect) -> None:
    assert "identity" == connect().get(f"{server.url}/echo").json()["accept-encoding"]


def test_calls_while_an_answer_is_being_read_do_not_disturb_it(server: Server, connect: Connect, trail: Trail) -> None:
    client = connect(into=trail.recorder.calls)
    with client.stream("GET", f"{server.url}/large") as response:
        pieces = response.iter_raw()
        next(pieces)
        assert "fine" == client.get(f"{server.url}/ok").text
        trail.recorder.calls.store_body(b"other")
        for _ in pieces:
            pass
    trail.recorder.journal.commit_durably()

    found = trail.reader.query("SELECT response_ref, response_hash FROM calls ORDER BY call_no")
    assert [b"fine", b"x" * 300_000] == [trail.payloads.body_at(*one) for one in found]


def test_an_intent_and_its_body_are_durable_before_the_server_sees_the_request(
    server: Server, connect: Connect, trail: Trail
) -> None:
    found: list[tuple[Any, ...]] = []

    def look(_seen: Seen) -> None:
        connection = sqlite3.connect(f"file:{trail.database}?mode=ro", uri=True)
        found.extend(connection.execute("SELECT intent_no, operation, request_hash FROM call_intents").fetchall())
        found.extend(connection.execute("SELECT count(*) FROM frames").fetchall())
        connection.close()

    server.on_request = look
    connect(into=trail.recorder.calls).post(f"{server.url}/batches", content=b"paid")

    assert [(0, "batches.create", digest(b"paid")), (1,)] == found
    assert [(0, "success")] == trail.reader.query("SELECT intent_no, 'success' FROM calls WHERE status = 1")


def test_a_named_answer_is_a_file_of_its_own_only_when_it_succeeds(
    server: Server, connect: Connect, trail: Trail
) -> None:
    scope = CallScope(batch_no=1, response_name="o.jsonl", response_role=FileRole.OUTPUT)
    client = connect(into=trail.recorder.calls, scope=scope)
    client.get(f"{server.url}/500")
    client.get(f"{server.url}/content")
    trail.recorder.journal.commit_durably()

    assert [("calls.zst", None), ("000002-o.jsonl.zst", 2)] == trail.reader.query("SELECT name, role FROM segments")
    assert b"fine" == b"".join(trail.payloads.segment(2).chunks())


def test_the_trail_has_no_secret(server: Server, connect: Connect, trail: Trail) -> None:
    secret = 'sk-Sent"inel/9+äé'
    short = "pw12345"
    server.headers = {
        "x-request-id": "sk-ASCII-0123456789",
        "Set-Cookie": "id=cookie-monster",
        "X-Echo": "sk-ASCII-0123456789",
    }
    server.answer = json.dumps({"error": f"bad key {secret}"}).encode() + b"<p>sk-ASCII-0123456789 pw12345"
    client = connect(into=trail.recorder.calls, secrets=[secret, "sk-ASCII-0123456789", short])
    host = server.url.removeprefix("http://")
    client.post(
        f"http://user:sk-ASCII-0123456789@{host}/bot/sk-ASCII-0123456789/ok",
        params={"sig": "unregistered-sig", "q": secret},
        headers={"Authorization": "Bearer other-token", "X-Mine": "sk-ASCII-0123456789"},
        json={"key": secret, "short": short},
    )
    client.get(f"{server.url}/ok", params={"sig": "unregistered-sig"})
    with pytest.raises(httpx2.TransportError):
        client.get("http://127.0.0.1:1/", headers={"api-key": "sk-ASCII-0123456789"})
    trail.recorder.journal.commit_durably()

    stored = trail.everything()
    for needle in (secret, "sk-ASCII-0123456789", "unregistered-sig", "other-token", "cookie-monster", "sk-Sent"):
        assert needle.encode() not in stored
    assert short.encode() in stored
    ((ref, sha),) = trail.reader.query("SELECT envelope_ref, envelope_hash FROM calls WHERE call_no = 0")
    envelope = json.loads(trail.payloads.body_at(ref, sha))
    assert hashlib.sha256(server.seen[0].body).hexdigest() == envelope["request"]["wire"]["sha256"]
    assert hashlib.sha256(server.answer).hexdigest() == envelope["response"]["wire"]["sha256"]
    assert (True, True) == (envelope["request"]["wire"]["redacted"], envelope["response"]["wire"]["redacted"])
    assert ["x-request-id", "[REDACTED]"] in envelope["response"]["headers"]


def test_a_client_serves_threads_one_after_another(server: Server, connect: Connect, log: Log) -> None:
    client = connect()
    for _ in range(3):
        thread = threading.Thread(target=client.get, args=(f"{server.url}/ok",))
        thread.start()
        thread.join()

    assert 3 == len(log.calls)
