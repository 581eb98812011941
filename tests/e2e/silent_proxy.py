"""A way to the provider on which answers get lost after the provider has done what it was asked."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class SilentProxy:
    """Hands every byte on, but not the answer to a request that begins with ``lost``; `is_lost` tells when one came."""

    def __init__(self, url: str, *, lost: bytes) -> None:
        split = urlsplit(url)
        self._upstream = (split.hostname or "", split.port or 0)
        self._lost = lost
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_lost = threading.Event()

    def __enter__(self) -> "SilentProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):  # its other end has gone already
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def mend(self) -> None:
        """From now on every answer arrives."""
        self._lost = b""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            self._sockets += [client, server]
            is_mute = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, is_mute), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, is_mute), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, is_mute: threading.Event) -> None:
        while data := _received(client):
            if self._lost and data.startswith(self._lost):
                is_mute.set()
            server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, is_mute: threading.Event) -> None:
        while data := _received(server):
            if is_mute.is_set():
                self.is_lost.set()
            else:
                client.sendall(data)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65_536)
    except OSError:
        return b""
