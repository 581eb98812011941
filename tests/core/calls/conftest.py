"""A server on the loopback that does what real ones do, wrong things included."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from elspeth.contracts import BodyRef, BodySink, CallIntent, CallRecord, CallScope
from elspeth.core.calls import Redactor
from elspeth.core.calls.client import recording_client
from elspeth.core.landscape import (
    LandscapeReader,
    LandscapeRecorder,
    NewRun,
    Payloads,
    Signing,
    create_database,
    create_run,
    open_journal,
)
from elspeth.testing import FakeClock

PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class Seen:
    """A request as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """Does what the last part of the path says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        word = self.path.partition("?")[0].rpartition("/")[2]
        if word == "early":
            self._answer(413, b"too large", close=True)
            return
        self.server.seen.append(
            Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self._body())
        )
        if self.server.on_request is not None:
            self.server.on_request(self.server.seen[-1])
        if not self._break(word):
            self._answer_as(word)

    def do_GET(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def _break(self, word: str) -> bool:
        """Gives no whole answer, if that is what is asked for."""
        match word:
            case "reset":
                self._reset()
            case "reset-after-headers":
                self._head(200, 100)
                self.wfile.flush()
                self._reset()
            case "truncated":
                self._head(200, 100)
                self.wfile.write(b"partial")
                self.wfile.flush()
                self.close_connection = True
            case "stall":
                self.server.released.wait(10)
                self.close_connection = True
            case _:
                return False
        return True

    def _answer_as(self, word: str) -> None:
        match word:
            case "echo":
                self._answer(200, json.dumps(self.server.seen[-1].headers).encode())
            case "large":
                self._answer(200, b"x" * 300_000)
            case "redirect":
                self._answer(302, b"", Location="/ok?sig=0123456789")
            case "empty":
                self._answer(204, b"")
            case word if word.isdigit():
                self._answer(int(word), b"status " + word.encode())
            case _:
                self._answer(200, self.server.answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**self.server.headers, **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, body: bytes, *, close: bool = False, **headers: str) -> None:
        self._head(status, len(body), **headers)
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = self.close_connection or close

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        raise ConnectionResetError


class Server(ThreadingHTTPServer):
    """Keeps what it got in ``seen``; ``headers`` and ``answer`` are what it gives."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.headers: dict[str, str] = {}
        self.answer = b"fine"
        self.on_request: Callable[[Seen], None] | None = None
        self.released = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def handle_error(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


class Body:
    """A `BodySink` in memory."""

    def __init__(self, log: Log, scope: CallScope) -> None:
        self.log = log
        self.scope = scope
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> BodyRef:
        self.log.bodies.append(self.data)
        return BodyRef(len(self.log.bodies) - 1, 0, len(self.data), hashlib.sha256(self.data).digest())


@dataclass
class Log:
    """A `CallLog` in memory."""

    bodies: list[bytes] = field(default_factory=list)
    intents: list[CallIntent] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)

    def open_body(self, scope: CallScope) -> BodySink:
        return Body(self, scope)

    def intend(self, intent: CallIntent) -> int:
        self.intents.append(intent)
        return len(self.intents) - 1

    def add_call(self, call: CallRecord) -> str:
        self.calls.append(call)
        return str(len(self.calls))

    def data(self, ref: BodyRef | None) -> bytes:
        assert ref is not None
        return self.bodies[ref.segment_no]

    def envelope(self, call: CallRecord) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.data(call.envelope))
        return loaded


@pytest.fixture
def log() -> Log:
    return Log()


Connect = Callable[..., httpx2.Client]


@pytest.fixture
def connect(log: Log) -> Iterator[Connect]:
    """Makes recording clients on ``log``."""
    clients: list[httpx2.Client] = []

    def make(*, secrets: Sequence[str] = (), scope: CallScope | None = None, into: Any = None) -> httpx2.Client:
        client = recording_client(
            log=into or log, scope=lambda: scope or CallScope(), redactor=Redactor(secrets), clock=FakeClock()
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@dataclass
class Trail:
    """A real Landscape with one run."""

    database: Path
    recorder: LandscapeRecorder
    reader: LandscapeReader
    payloads: Payloads

    def everything(self) -> bytes:
        """Every byte at rest: the database, and all that its segments hold."""
        self.recorder.journal.commit_durably()
        folder = self.database.parent
        stored = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
        for (number,) in self.reader.query("SELECT segment_no FROM segments"):
            stored += b"".join(self.payloads.segment(number).chunks())
        return stored


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    database = tmp_path / "audit.db"
    create_database(database)
    new = NewRun(
        pipeline="p", mode="run", folder=tmp_path, config_json="{}", payloads=tmp_path / "payloads", code_version="0",
        row_limit=None,
    )  # fmt: skip
    run_no = create_run(database, new, clock=FakeClock())
    with LandscapeReader(database) as reader:
        run = reader.run_numbered(run_no)
        journal = open_journal(reader, run, clock=FakeClock(), signing=Signing.throwaway(database))
        recorder = LandscapeRecorder(journal, run_id=run.run_id, started_at=run.started_at, code_version="0")
        yield Trail(database, recorder, reader, Payloads(reader, run))
        journal.close()
