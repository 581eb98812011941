"""The simulator as a thing to start and stop, in a thread of this process.

It runs its own event loop around uvicorn's HTTP protocol instead of
uvicorn's server, whose shutdown waits for requests: here some are meant to
hang for ever, and stopping must cut them off at once.
"""

import asyncio
import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import uvicorn
from uvicorn.server import ServerState

from elspeth.simulator.app import App
from elspeth.simulator.connection import ExposedProtocol
from elspeth.simulator.faults import FaultPlan, parse_fault
from elspeth.simulator.journal import Journal
from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.settings import Settings
from elspeth.simulator.store import Store
from elspeth.simulator.worker import Worker

KEEP_ALIVE_S = 75
BACKLOG = 256
# How long a stop waits for what was cut off to end.
GRACE_S = 0.3

logger = logging.getLogger("elspeth.simulator")


class Simulator:
    """`with Simulator(Settings(...)) as sim:` serves at `sim.url` until the block ends.

    Raises ValueError for a fault that can't be read or a state folder in
    use, OSError for a port that is taken. Without a state folder everything
    goes to a temporary one, which the end of the block removes.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        for fault in self.settings.faults:
            parse_fault(fault)
        self.url = ""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Simulator":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        settings = self.settings
        listener = _listener(settings.host, settings.port)
        host, port = listener.getsockname()[:2]
        self._temporary = None if settings.state_dir else Path(tempfile.mkdtemp(prefix="elspeth-simulator-"))
        try:
            self._open(settings.state_dir or self._temporary or Path())
        except BaseException:
            listener.close()
            self._remove_temporary()
            raise
        self.url = f"http://{host}:{port}"
        self._worker.start()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(listener),), name="simulator-server", daemon=True
        )
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Cuts off every connection; jobs under way go on at the next start on the same state folder."""
        if self._thread is None or self._loop is None or self._ending is None:
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._thread = None
        self._worker.stop(timeout_s=GRACE_S)
        self._journal.close()
        self._store.close()
        self._remove_temporary()

    def journal(self) -> list[JsonObject]:
        return self._journal.entries()

    def add_faults(self, faults: Iterable[Json]) -> None:
        """All or none. Raises ValueError."""
        self._plan.add(list(faults))

    def clear_faults(self) -> None:
        self._plan.clear()

    def _open(self, folder: Path) -> None:
        self._store = Store(folder)
        self._journal = Journal(folder / "journal.ndjson")
        self._plan = FaultPlan(self._store, self.settings.faults)
        self._worker = Worker(self._store, self.settings)

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    async def _serve(self, listener: socket.socket) -> None:
        app = App(self.settings, store=self._store, worker=self._worker, plan=self._plan, journal=self._journal)
        config = uvicorn.Config(
            app,
            http=ExposedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        self._loop, self._ending = loop, asyncio.Event()
        server = await loop.create_server(
            lambda: ExposedProtocol(config=config, server_state=state, app_state={}, _loop=loop),
            sock=listener,
        )
        self._ready.set()
        await self._ending.wait()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=GRACE_S)


def _listener(host: str, port: int) -> socket.socket:
    """Answers leave at once, in two writes: with Nagle's algorithm each would wait for the client's ACK."""
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
