"""HTTP clients over the recording transport, obeying the machine's proxies and certificates.

Handing a transport to an HTTP client switches off what the client would have read from
the environment, so it is read here: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY,
SSL_CERT_FILE, SSL_CERT_DIR. Loopback addresses never go through a proxy.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Callable

import httpx2

from elspeth.contracts import CallLog, CallScope, Clock
from elspeth.core.calls.guard import ask_platform
from elspeth.core.calls.redaction import Redactor
from elspeth.core.calls.transport import RecordingTransport

__all__ = ["EnvironmentTransport", "recording_client"]

_PORTS = {"http": 80, "https": 443}
_TIMEOUT = httpx2.Timeout(120.0, connect=10.0)


def recording_client(
    *, log: CallLog, scope: Callable[[], CallScope], redactor: Redactor, clock: Clock
) -> httpx2.Client:
    """A client each of whose attempts is recorded. It follows no redirect: a body goes where it was meant to go."""
    ask_platform()
    transport = RecordingTransport(EnvironmentTransport(), log=log, scope=scope, redactor=redactor, clock=clock)
    return httpx2.Client(
        transport=transport, headers={"Accept-Encoding": "identity"}, timeout=_TIMEOUT, follow_redirects=False
    )


class EnvironmentTransport(httpx2.BaseTransport):
    """Sends directly or through the proxy that the environment names for the request's URL."""

    def __init__(self) -> None:
        self._proxies = {
            scheme: url if "://" in url else f"http://{url}" for scheme, url in urllib.request.getproxies().items()
        }
        self._transports: dict[str | None, httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request."""
        proxy = self._proxy_for(request.url)
        if proxy not in self._transports:
            self._transports[proxy] = httpx2.HTTPTransport(proxy=proxy, retries=0)
        return self._transports[proxy].handle_request(request)

    def close(self) -> None:
        """Closes every connection."""
        for transport in self._transports.values():
            transport.close()

    def _proxy_for(self, url: httpx2.URL) -> str | None:
        host = f"{url.host}:{url.port or _PORTS.get(url.scheme, 0)}"
        if _is_loopback(url.host) or urllib.request.proxy_bypass(host):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
