"""A simulator and a project for each test that asks for one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.project import Project
from tests.e2e.small_run import SmallRun, small_run

from elspeth.simulator import Settings, Simulator

Simulate = Callable[..., Simulator]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Starts a simulator in this process, without latency unless told."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Simulator:
            return stack.enter_context(Simulator(Settings(**{"latency_s": 0.0, **settings})))

        yield start


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRun]:
    """A completed run that has everything; tests only read it."""
    with small_run(tmp_path_factory.mktemp("small")) as run:
        yield run
