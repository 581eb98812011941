"""The recording client obeys the machine's proxies and certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import trustme
from tests.core.calls.conftest import Connect, Log, Server


@pytest.fixture
def proxy() -> Iterator[Server]:
    """A plain HTTP proxy gets the absolute URL; this one answers by itself."""
    with Server() as running:
        running.answer = b"from the proxy"
        yield running


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    name: str, proxy: Server, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy.url)
    assert "from the proxy" == connect().get("http://example.invalid/v1/files").text

    assert ["http://example.invalid/v1/files"] == [seen.target for seen in proxy.seen]
    assert ("http://example.invalid/v1/files", b"GET /v1/files") == (log.calls[0].url, log.data(log.calls[0].request))


def test_a_proxy_without_a_scheme_is_an_http_proxy(
    proxy: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.removeprefix("http://"))

    assert "from the proxy" == connect().get("http://example.invalid/").text


def test_https_goes_through_its_proxy_by_a_tunnel(
    proxy: Server, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(httpx2.ProxyError):
        connect().get("https://example.invalid/")

    assert 1 == len(log.calls)


@pytest.mark.parametrize("exempt", ["example.invalid", ".invalid", "*", "other, example.invalid:80"])
def test_a_host_can_be_exempt(
    exempt: str, proxy: Server, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    with pytest.raises(httpx2.ConnectError):
        connect().get("http://example.invalid/")

    assert ([], 1) == (proxy.seen, len(log.calls))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_the_loopback_never_goes_through_a_proxy(
    host: str, server: Server, proxy: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with suppress(httpx2.ConnectError):
        connect().get(server.url.replace("127.0.0.1", host))

    assert [] == proxy.seen


def test_certificates_of_the_environment_are_trusted(
    tmp_path: Path, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server(context) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
            connect().get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

        assert "fine" == connect().get(url).text
    assert [None, 200] == [call.http_status for call in log.calls]
