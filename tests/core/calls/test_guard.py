"""Whoever reaches out behind the engine's back fails the run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.core.calls.conftest import Connect, Log, Server

from elspeth.contracts import UnrecordedCallError
from elspeth.core.calls import NetworkGuard, allowed


def connect_to(address: tuple[str, int]) -> None:
    with socket.socket() as plug:
        plug.connect(address)


def send_to() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.sendto(b"x", ("127.0.0.1", 9))


WAYS: dict[str, Callable[[], object]] = {
    "socket.connect": lambda: connect_to(("127.0.0.1", 1)),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("example.invalid", 80),
    "socket.gethostbyname": lambda: socket.gethostbyname("example.invalid"),
    "socket.gethostbyaddr": lambda: socket.gethostbyaddr("127.0.0.1"),
    "socket.getnameinfo": lambda: socket.getnameinfo(("127.0.0.1", 80), 0),
    "socket.sendto": send_to,
    "subprocess.Popen": lambda: subprocess.run([sys.executable, "-V"], check=False),
    "os.system": lambda: os.system("true"),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.fork": lambda: os.fork() or os._exit(0),
    "os.exec": lambda: os.execv("/bin/true", ["true"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_reaching_out_is_refused(way: str) -> None:
    with NetworkGuard() as guard:
        with pytest.raises(UnrecordedCallError, match=f"a plugin reached out by itself: {way}") as error:
            WAYS[way]()
        assert error.value.hint is not None
        with pytest.raises(UnrecordedCallError, match=way):
            guard.check()


@pytest.mark.parametrize("guard", ["NetworkGuard()", "NetworkGuard(is_total=True)"])
def test_an_sdk_may_ask_what_system_this_is(guard: str) -> None:
    script = (
        "import platform; from elspeth.core.calls import NetworkGuard, Redactor\n"
        "from elspeth.core.calls.client import recording_client\n"
        f"with {guard} as guard:\n"
        "    recording_client(log=None, scope=None, redactor=Redactor(()), clock=None)\n"
        "    platform.platform(), platform.processor()\n"
        "    guard.check()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_swallowed_refusal_is_remembered() -> None:
    with NetworkGuard() as guard:
        guard.check()
        with suppress(Exception):
            connect_to(("127.0.0.1", 1))
    with pytest.raises(UnrecordedCallError, match=r"socket\.connect"):
        guard.check()


def test_the_engines_own_calls_pass(server: Server, connect: Connect, log: Log) -> None:
    with NetworkGuard() as guard:
        assert "fine" == connect().get(f"{server.url}/ok").text
        with allowed():
            connect_to(("127.0.0.1", server.server_port))
            with allowed():
                pass
            connect_to(("127.0.0.1", server.server_port))
        with pytest.raises(UnrecordedCallError):
            connect_to(("127.0.0.1", server.server_port))
        with suppress(UnrecordedCallError):
            guard.check()
    assert 1 == len(log.calls)


def test_without_a_guard_nothing_is_refused(server: Server) -> None:
    with NetworkGuard():
        pass

    connect_to(("127.0.0.1", server.server_port))
    assert 0 == subprocess.run([sys.executable, "-c", ""], check=False).returncode


def test_a_thread_of_a_plugin_is_seen_and_the_leave_of_one_thread_is_no_other_ones() -> None:
    errors = []

    def plugin() -> None:
        try:
            connect_to(("127.0.0.1", 1))
        except UnrecordedCallError as error:
            errors.append(type(error))

    with NetworkGuard() as guard, allowed():
        thread = threading.Thread(target=plugin)
        thread.start()
        thread.join()
        with pytest.raises(UnrecordedCallError):
            guard.check()
    assert [UnrecordedCallError] == errors


def test_every_guard_that_is_on_remembers() -> None:
    with NetworkGuard() as outer, NetworkGuard() as inner:
        with suppress(UnrecordedCallError):
            os.system("true")
    for guard in (outer, inner):
        with pytest.raises(UnrecordedCallError):
            guard.check()


def test_ordinary_work_is_no_violation() -> None:
    with NetworkGuard() as guard:
        socket.gethostname()
        left, right = socket.socketpair()
        left.sendall(b"x")
        left.close()
        right.close()
        guard.check()
