"""One process that forks the doomed ones, the run that nobody kills, and the count of kill points."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.crash.invariants import Aftermath, outputs
from tests.crash.scene import ROWS, Moment, Runner, prepare, served, started_runner

from elspeth.app.keys import signing_key

KILLED_AT = "killed at"


@dataclass(frozen=True)
class Unkilled:
    """A run that lives to its end: what it leaves and the moments that it had."""

    outputs: dict[str, bytes]
    moments: list[Moment]


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """The first run would have to make a key, and so have more effects than those that are killed."""
    signing_key(os.environ)
    with started_runner() as started:
        yield started


@pytest.fixture(scope="session")
def unkilled(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Unkilled:
    with served() as simulator:
        project = prepare(tmp_path_factory.mktemp("unkilled"), simulator)
        moments = runner.go_on(project)
        Aftermath(project.database, simulator).check(rows=ROWS, deaths=0)
        return Unkilled(outputs(project.folder / "out"), moments)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many kill points there were of each kind; they come with the reports, so workers may have made them."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.getreports(key)]
    points = Counter(value for report in reports for name, value in report.user_properties if name == KILLED_AT)
    if points:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(points.items()))
        terminalreporter.write_line(f"kill points: {points.total()} ({kinds})")
