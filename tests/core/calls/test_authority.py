"""An authority is asked through the machine's proxies, waits are bounded, and no message shows a secret."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.core.calls.conftest import Server
from tests.e2e.authority import AuthorityServer

from elspeth.contracts import TimestampError, UsageError
from elspeth.core.calls.authority import MOST_ANSWER_BYTES, ask_authority


def test_a_query_is_posted_as_the_rfc_says() -> None:
    with AuthorityServer(lambda query: b"answer to " + query) as server:
        assert b"answer to query" == ask_authority(server.url, b"query")

    ((path, headers, body),) = server.requests
    assert ("/stamp", b"query") == (path, body)
    assert ("application/timestamp-query", "application/timestamp-reply", "identity") == (
        headers["content-type"],
        headers["accept"],
        headers["accept-encoding"],
    )


def test_credentials_of_the_url_are_sent_and_not_told() -> None:
    with AuthorityServer(lambda _: (401, b"hunter2-hunter2 is wrong")) as server:
        url = server.url.replace("http://", "http://me:hunter2-hunter2@") + "?token=tok-0123456789"
        with pytest.raises(TimestampError) as refused:
            ask_authority(url, b"query")

    ((path, headers, _),) = server.requests
    assert ("/stamp?token=tok-0123456789", True) == (path, headers["authorization"].startswith("Basic "))
    assert f"{server.url.removesuffix('/stamp')} refused: it answered 401" == refused.value.message
    assert "hunter2" not in f"{refused.value.message} {refused.value.hint}"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as proxy:
        proxy.answer = b"from the proxy"
        monkeypatch.setenv("HTTP_PROXY", proxy.url)

        assert b"from the proxy" == ask_authority("http://tsa.example/stamp", b"query")
        assert ["http://tsa.example/stamp"] == [seen.target for seen in proxy.seen]


def test_a_redirection_is_not_followed() -> None:
    with AuthorityServer(lambda _: (302, b"")) as server, pytest.raises(TimestampError, match="answered 302"):
        ask_authority(server.url, b"query")
    assert 1 == len(server.requests)


def test_an_answer_that_does_not_end_is_not_read_to_its_end() -> None:
    with AuthorityServer(lambda _: bytes(MOST_ANSWER_BYTES)) as server:
        assert MOST_ANSWER_BYTES == len(ask_authority(server.url, b"query"))
    with AuthorityServer(lambda _: bytes(MOST_ANSWER_BYTES + 1)) as server:
        with pytest.raises(TimestampError, match="more than 1,048,576 bytes"):
            ask_authority(server.url, b"query")


@contextmanager
def trickle(first: bytes) -> Iterator[str]:
    """A server that sends something, and then a byte every few hundredths of a second for as long as it is listened to.

    Without a first something it sends nothing at all.
    """
    is_over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(first)
            while not is_over.wait(0.03):
                if first:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        is_over.set()
        thread.join()


def test_an_answer_that_trickles_in_is_given_up() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with trickle(head) as url, pytest.raises(TimestampError, match="takes too long"):
        ask_authority(url, b"query", patience_s=0.4)


def test_one_who_says_nothing_is_given_up() -> None:
    with trickle(b"") as url, pytest.raises(TimestampError, match="cannot be asked: timed out"):
        ask_authority(url, b"query", patience_s=0.4)


def test_one_who_is_not_there_cannot_be_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(TimestampError, match=f"{place} cannot be asked: .*refused") as refused:
        ask_authority(f"{place}/a-long-secret-path", b"query")
    assert "secret" not in refused.value.message
    assert "ask another authority" in str(refused.value.hint)


@pytest.mark.parametrize(
    "url", ["", "tsa.example", "ftp://tsa.example/", "https://", "file:///etc/passwd", "http://a:port/"]
)
def test_what_is_no_url_of_http_is_a_mistake_of_the_caller(url: str) -> None:
    with pytest.raises(UsageError, match="begins with https:// or http://"):
        ask_authority(url, b"query")
