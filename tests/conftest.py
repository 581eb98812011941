"""What the tests of the engine, of the use cases and of crashes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engine.workbench import HurriedClock, Project

from elspeth.simulator import Settings, Simulator

Serve = Callable[..., Simulator]


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, nor a process that one starts, reads or writes the configuration and the keys of who runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.delenv("ELSPETH_SIGNING_KEY", raising=False)
        yield


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a simulator in this process, without latency unless told."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Simulator:
            return stack.enter_context(Simulator(Settings(**{"latency_s": 0.0, **settings})))

        yield start


@pytest.fixture
def bench(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> HurriedClock:
    """Runs go by a clock on which waiting takes no time."""
    clock = HurriedClock()
    monkeypatch.setattr("elspeth.app.runs.SystemClock", lambda stop=None: clock)
    return clock


@pytest.fixture
def odd_plugins(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the transforms of `tests.engine.odd_plugins`, by entry points as any other package would."""
    from tests.engine.odd_plugins import TRANSFORMS

    folder = tmp_path_factory.mktemp("site")
    info = folder / "odd_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugins\nVersion: 1.0\n")
    entries = "".join(f"transform.{name} = tests.engine.odd_plugins:{kind}\n" for name, kind in TRANSFORMS.items())
    (info / "entry_points.txt").write_text(f"[elspeth.plugins]\n{entries}")
    monkeypatch.syspath_prepend(folder)
