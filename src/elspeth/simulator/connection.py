"""HTTP by uvicorn's h11 protocol, with the TCP connection within reach of the application.

A simulated network fault is a fact of the connection, which ASGI hides. The
protocol here puts its transport into the scope of each request; the
functions below break it the way networks do.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from uvicorn.protocols.http.h11_impl import H11Protocol

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_KEY = "elspeth.simulator.transport"
_LINGER_ON_ZERO_SECONDS = struct.pack("ii", 1, 0)


class ExposedProtocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope[_KEY] = transport
            await app(scope, receive, send)

        self.app = with_transport


def transport_of(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope[_KEY]
    return transport


def reset(transport: asyncio.Transport) -> None:
    """The client gets a RST: with SO_LINGER at zero, closing sends that and drops what is unsent."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ON_ZERO_SECONDS)
    transport.abort()


async def disconnected(receive: Receive) -> None:
    """Returns when the client, or a stopping server, has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
