"""The audit hook: a connection or process that the engine did not open fails the run.

Python raises an audit event before it connects, resolves a name, sends a datagram or
starts a process. While a guard is on, such an event outside an `allowed` block is
refused and remembered, so a plugin that swallows the exception fails the run all the
same. Native code that makes system calls by itself raises no event and is not seen;
docs/architecture.md says so.
"""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from elspeth.contracts import UnrecordedCallError

__all__ = ["NetworkGuard", "allowed", "ask_platform"]

_WATCHED = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.getnameinfo",
        "socket.sendmsg",
        "socket.sendto",
        "subprocess.Popen",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
    }
)


class _Thread(threading.local):
    is_allowed = False


_thread = _Thread()
_guards: list[NetworkGuard] = []
_installed = threading.Event()


@contextmanager
def allowed() -> Iterator[None]:
    """Within the block this thread may reach out: the engine opens the connection itself."""
    before, _thread.is_allowed = _thread.is_allowed, True
    try:
        yield
    finally:
        _thread.is_allowed = before


def ask_platform() -> None:
    """Asks the system once, by a subprocess, what SDKs ask again later: `platform` keeps the answer.

    Only for who may come to use one, since it takes as long as a hundredth of a small run's start.
    """
    with allowed():
        platform.platform()


class NetworkGuard:
    """On while its ``with`` block runs; `check` raises what plugins did behind the engine's back.

    An ``is_total`` guard lets nobody out, the engine itself included.
    """

    def __init__(self, *, is_total: bool = False) -> None:
        self.is_total = is_total
        self._violations: list[str] = []

    def __enter__(self) -> NetworkGuard:
        if not _installed.is_set():
            _installed.set()
            sys.addaudithook(_hook)
        if self.is_total:
            ask_platform()  # while that can be done
        _guards.append(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        _guards.remove(self)

    def check(self) -> None:
        """Raises `UnrecordedCallError` for the first violation, swallowed or not."""
        if self._violations:
            raise _error(self._violations[0])

    def note(self, violation: str) -> None:
        """Remembers a violation."""
        self._violations.append(violation)


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _guards or event not in _WATCHED:
        return
    if _thread.is_allowed and not any(guard.is_total for guard in _guards):
        return
    target = next((str(arg) for arg in args if isinstance(arg, tuple | str | list)), "")
    violation = f"{event} {target}".strip()[:200]
    for guard in _guards:
        guard.note(violation)
    raise _error(violation)


def _error(violation: str) -> UnrecordedCallError:
    return UnrecordedCallError(
        f"a plugin reached out by itself: {violation}",
        hint="Use ctx.http(...) or ctx.record_call(...): a call that is not recorded fails the run.",
    )
