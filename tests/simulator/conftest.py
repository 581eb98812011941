"""One way to start a simulator and to talk to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.simulator.client import OPENAI, WireClient

from elspeth.simulator import Settings, Simulator

Simulate = Callable[..., tuple[Simulator, WireClient]]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Starts one with these settings, without latency unless told; gives it and a client of it."""
    with ExitStack() as stack:

        def start(prefix: str = OPENAI, **settings: Any) -> tuple[Simulator, WireClient]:
            simulator = stack.enter_context(Simulator(Settings(**{"latency_s": 0.0, **settings})))
            return simulator, stack.enter_context(WireClient(simulator.url, prefix))

        yield start
