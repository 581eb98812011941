"""One trail a session, a copy of it for each attempt, and the count of the attempts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engine.workbench import Project
from tests.tamper.trail import Copy, make

MUTATIONS = "mutations"
CopyTrail = Callable[..., Copy]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The trail; its outputs are the ones that all copies tell of."""
    return make(tmp_path_factory.mktemp("original"))


@pytest.fixture
def copy_trail(original: Copy, tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[CopyTrail]:
    """Makes a copy; its payloads are the original's own unless ``with_payloads``. Counts one mutation for each."""
    copies: list[Path] = []

    def copy(*, with_payloads: bool = False) -> Copy:
        state = tmp_path / f"copy{len(copies)}" / ".elspeth"
        copies.append(state)
        shutil.copytree(original.database.parent, state, ignore=shutil.ignore_patterns("payloads", "locks"))
        payloads = original.database.parent / "payloads"
        if with_payloads:
            shutil.copytree(payloads, state / "payloads")
        else:
            (state / "payloads").symlink_to(payloads)
        return Copy(Project(state.parent))

    yield copy
    record_property(MUTATIONS, len(copies))
    for state in copies:
        shutil.rmtree(state.parent)


@pytest.fixture
def trail(copy_trail: CopyTrail) -> Copy:
    """One copy whose payloads may be changed."""
    return copy_trail(with_payloads=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many mutations there were; they come with the reports, so workers may have made them."""
    reports = terminalreporter.getreports("passed")
    mutations = sum(value for report in reports for name, value in report.user_properties if name == MUTATIONS)
    if mutations:
        terminalreporter.write_line(f"mutations of the trail that were found: {mutations}")
