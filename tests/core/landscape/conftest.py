from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts import NodeStep, StateStatus
from elspeth.core.landscape import (
    Journal,
    LandscapeReader,
    LandscapeRecorder,
    NewRun,
    RunHeader,
    Signing,
    create_database,
    create_run,
    open_journal,
)
from elspeth.testing import FakeClock

ROOT = Path(__file__).parents[3]


def node_step(
    node_no: int,
    *,
    status: StateStatus = StateStatus.COMPLETED,
    attempt: int = 0,
    route: str | None = None,
    changed: bool = False,
    started_at: int = 0,
    duration_us: int = 1,
) -> NodeStep:
    """A step of tokens; what a test does not care about is left out."""
    return NodeStep(node_no, started_at, duration_us, attempt, status, route, changed)


def failed_step(node_no: int, **columns: Any) -> NodeStep:
    """A step at which a token failed."""
    return node_step(node_no, status=StateStatus.FAILED, **columns)


@dataclass
class Trail:
    """A Landscape in a folder, its clock, and whatever was opened on it."""

    database: Path
    clock: FakeClock = field(default_factory=FakeClock)
    journals: list[Journal] = field(default_factory=list)
    readers: list[LandscapeReader] = field(default_factory=list)

    def new_run(self, *, pipeline: str = "p", config_json: str = "{}", payloads: Path | None = None) -> RunHeader:
        create_database(self.database)
        number = create_run(
            self.database,
            NewRun(
                pipeline=pipeline,
                mode="run",
                folder=self.database.parent,
                config_json=config_json,
                payloads=payloads or self.database.parent / "payloads",
                code_version="0",
                row_limit=None,
            ),
            clock=self.clock,
        )
        return self.reader().run_numbered(number)

    def reader(self) -> LandscapeReader:
        self.readers.append(LandscapeReader(self.database))
        return self.readers[-1]

    def recorder(self, run: RunHeader) -> LandscapeRecorder:
        journal = open_journal(self.reader(), run, clock=self.clock, signing=Signing.throwaway(self.database))
        self.journals.append(journal)
        return LandscapeRecorder(journal, run_id=run.run_id, started_at=run.started_at, code_version="0")

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.reader().query(sql, *parameters)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()
        for reader in self.readers:
            reader.close()


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    opened = Trail(tmp_path / "audit.db")
    yield opened
    opened.close()


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Starts a Python of its own on a script."""

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        )

    return start


def answer_of(process: subprocess.Popen[str]) -> str:
    """What it printed; fails the test with what it complained about."""
    out, err = process.communicate(timeout=30)
    assert (0, "") == (process.returncode, err)
    return out
