"""The effects of a run on the world, and a process that dies at one of them, without a word.

    python runner.py        one order a line: {"folder", "what", "fatal"}

``what`` is run, reuse (a run that takes the last one's answers), resume or purge, ``fatal`` is [KIND, NUMBER] or
null. An effect is a file synced, a transaction committed, a name given to a file, or a request; for a purge also a
file deleted. A run has moments before and after each, and three for a request: `Kind`. The n-th moment of a kind is
the same one in every run: the clock goes by what the program does, and the effects of a kind follow one another.

Each order is carried out by a process of its own, forked from this one so that nobody waits for imports. When it
lives to the end it says what moments it had; the line after that has its exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2

from elspeth.app import purge_plan, retention, runs
from elspeth.app.state import State
from elspeth.core.calls.client import EnvironmentTransport
from elspeth.core.calls.operations import operation_of
from elspeth.core.landscape import LandscapeReader
from elspeth.engine import frontier, harvest, orchestrator, rebuild

WARM = (
    "elspeth.plugins.llm.openai_batch",
    "elspeth.plugins.llm.sandbox",
    "elspeth.plugins.sinks.csv",
    "elspeth.plugins.sinks.jsonl",
    "elspeth.plugins.sources.jsonl",
    "httpcore2",
    "openai.resources.batches",
    "openai.resources.files",
    "rfc8785",
)
"""What a run imports on its way, imported once for every process to come."""

SMALL = {
    (orchestrator, "_ROWS_A_MICRO_BATCH"): 4,
    (orchestrator, "_ROWS_A_COMMIT"): 8,
    (orchestrator, "_COMMIT_EVERY_US"): 1 << 60,
    (frontier, "_ROWS_AT_ONCE"): 7,
    (harvest, "_ROWS_AT_ONCE"): 3,
    (rebuild, "_ROWS_AT_ONCE"): 5,
}


class Kind(StrEnum):
    """Kinds of moments at which a process can die."""

    UNSYNCED = "before fsync"
    SYNCED = "after fsync"
    UNCOMMITTED = "before commit"
    COMMITTED = "after commit"
    UNNAMED = "before rename"
    NAMED = "after rename"
    UNSENT = "request: before"
    ACTED = "request: acted"
    ANSWERED = "request: answered"


class Removal(StrEnum):
    """Kinds of moments that only a purge has."""

    PRESENT = "before unlink"
    GONE = "after unlink"


class Watch:
    """Counts moments; the ``fatal`` one (kind and number, from 1) is the last thing that this process sees."""

    def __init__(self, fatal: tuple[str, int] | None) -> None:
        self.seen: list[tuple[str, str]] = []
        self._fatal = fatal
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def strike(self, kind: Kind | Removal, subject: str = "", last_act: Callable[[], object] = int) -> None:
        with self._lock:
            self._counts[kind] += 1
            self.seen.append((kind, subject))
            if self._fatal == (kind, self._counts[kind]):
                last_act()
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, effect: Callable[..., Any], before: Kind | Removal, after: Kind | Removal) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.strike(before)
            result = effect(*args, **kwargs)
            self.strike(after)
            return result

        return watched

    def send(self, request: httpx2.Request, send: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.Response:
        """A request on the network itself, below everything that records it.

        A process that dies when the server has acted has the whole answer in its hands, so the server is done
        with it, and nobody has looked at it. Where the connection is lost instead, it dies at the loss.
        """
        subject = operation_of(request.method, request.url.path)
        self.strike(Kind.UNSENT, subject)
        try:
            response = send(request)
        except httpx2.TransportError:
            self.strike(Kind.ACTED, subject)
            raise
        self.strike(Kind.ACTED, subject, last_act=response.read)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Answer(response.stream, lambda: self.strike(Kind.ANSWERED, subject))
        return response

    def install(self, *, with_removals: bool) -> None:
        """Puts itself around every effect of this process."""

        class Connection(sqlite3.Connection):
            def execute(connection, sql: str, *args: Any) -> sqlite3.Cursor:  # noqa: N805
                execute = super().execute
                if sql != "COMMIT":
                    return execute(sql, *args)
                watched = self.around(execute, Kind.UNCOMMITTED, Kind.COMMITTED)
                cursor: sqlite3.Cursor = watched(sql)
                return cursor

        real = EnvironmentTransport.handle_request
        sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
        os.fsync = self.around(os.fsync, Kind.UNSYNCED, Kind.SYNCED)
        for name in ("rename", "replace", "link"):
            setattr(os, name, self.around(getattr(os, name), Kind.UNNAMED, Kind.NAMED))
        if with_removals:
            os.unlink = self.around(os.unlink, Removal.PRESENT, Removal.GONE)
        EnvironmentTransport.handle_request = (  # type: ignore[method-assign]
            lambda transport, request: self.send(request, partial(real, transport))
        )


class _Answer(httpx2.SyncByteStream):
    """An answer's bytes; says when the last one has been read."""

    def __init__(self, inner: httpx2.SyncByteStream, at_end: Callable[[], None]) -> None:
        self._inner = inner
        self._at_end = at_end

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner
        self._at_end()

    def close(self) -> None:
        self._inner.close()


class CountingClock:
    """Begins now, and goes on by what it is asked: the same run has the same times, however slow the machine."""

    def __init__(self) -> None:
        self._now_us = time.time_ns() // 1000

    def now_us(self) -> int:
        self._now_us += 1
        return self._now_us

    def sleep_s(self, seconds: float) -> None:
        self._now_us += round(max(seconds, 0.0) * 1_000_000)


def shrink() -> None:
    """Many small commits instead of few large ones."""
    for (module, name), value in SMALL.items():
        assert hasattr(module, name), name
        setattr(module, name, value)


def work(folder: Path, what: str, fatal: tuple[str, int] | None) -> None:
    """Runs or resumes the pipeline of a folder, and says what moments there were."""
    shrink()
    clock = CountingClock()
    runs.SystemClock = lambda stop=None: clock  # type: ignore[assignment, misc]
    watch = Watch(fatal)
    watch.install(with_removals=what == "purge")
    conditions = runs.Conditions()
    state = State(folder / ".elspeth")
    if what == "purge":
        error = purge(state, clock)
        print(json.dumps({"moments": watch.seen, "error": error}), flush=True)
        return
    if what in {"run", "reuse"}:
        reuse = ("latest",) if what == "reuse" else ()
        result = runs.start_run(folder / "pipeline.yaml", state=state, conditions=conditions, reuse=reuse)
    else:
        result = runs.resume_run("latest", state=state, conditions=conditions)
    print(json.dumps({"moments": watch.seen, "error": str(result.error or "")}), flush=True)


def purge(state: State, clock: CountingClock) -> str:
    """Purges all payloads of the oldest run, and says what could not be done."""
    with LandscapeReader(state.database) as reader:
        wanted = purge_plan.Wanted(runs=(reader.run_numbered(1).run_id,))
        plan = purge_plan.plan_purge(reader, wanted, now_us=clock.now_us())
        outcome = retention.carry_out(
            plan, wanted, keeper=lambda: retention.Keeper(reader, environ=os.environ, clock=clock), why="90 days"
        )
        faults = [fault for one in outcome.taken for fault in one.faults] + [error for _, error in outcome.failed]
        return "; ".join(fault.message for fault in faults)


def obey(order: dict[str, Any]) -> None:
    """Carries out one order in a process of its own and reports how that ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(Path(order["folder"]), order["what"], None if order["fatal"] is None else tuple(order["fatal"]))
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it was, this process must not go on as the one that forks
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    platform.platform()  # asks the system by a subprocess, once
    for module in WARM:
        import_module(module)
    for line in sys.stdin:
        obey(json.loads(line))
