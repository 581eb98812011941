"""What ``verify`` says in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.workbench import Project
from tests.tamper.mutations import insider
from typer.testing import CliRunner, Result

from elspeth.cli.app import build_app


@pytest.fixture
def done(bench: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    bench.rows([{"n": number} for number in range(30)])
    bench.pipeline()
    assert bench.run().exit_code == 0
    monkeypatch.chdir(bench.folder)
    return bench


def verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["verify", *map(str, arguments)])


def test_nine_steps_and_a_last_word_about_its_strength(done: Project) -> None:
    result = verify()
    lines = result.stdout.splitlines()

    assert 0 == result.exit_code
    assert lines[0].endswith("  test  completed")
    assert [f"{number}." for number in range(1, 10)] == [line[:2] for line in lines[1:10]]
    assert all(" ok " in line for line in lines[1:10])
    assert lines[-1].startswith("verified, consistent only: nothing contradicts anything else.")


def test_what_differs_is_said_under_its_step_and_again_at_the_end(done: Project) -> None:
    with insider(done.database) as connection:
        connection.execute("UPDATE rows SET line = 7 WHERE row_index = 1")
    result = verify()
    lines = result.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("2. records"))

    assert 1 == result.exit_code
    assert "DIFFERS" in lines[place]
    assert lines[place + 1].startswith("   rows row 1: it is not what was recorded (commit ")
    assert lines[-1].startswith("NOT verified: 1 difference; the first: rows row 1: it is not what was recorded")


def test_of_very_many_differences_the_first_are_said_and_all_counted(done: Project) -> None:
    with insider(done.database) as connection:
        connection.execute("UPDATE rows SET data_hash = zeroblob(32)")
    lines = verify().stdout.splitlines()

    assert "   ... and 10 more" in lines
    assert "NOT verified: 31 differences; the first: rows row 0: " in lines[-1]


def test_a_changed_trail_cannot_write_lines_of_its_own(done: Project) -> None:
    with insider(done.database) as connection:
        connection.execute("UPDATE runs SET pipeline = 'x' || char(10) || 'verified' || char(27) || '[8m'")
    lines = verify().stdout.splitlines()

    assert lines[0].endswith(r"  x\nverified\x1b[8m  completed")
    assert [] == [line for line in lines if line.startswith("verified")]


def test_a_run_and_all_runs_are_not_asked_for_together(done: Project) -> None:
    result = verify("0", "--all")

    assert "verify takes a run or --all, not both" == getattr(result.exception, "message", "")
