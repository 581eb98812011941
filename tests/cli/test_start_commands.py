"""`init`, `demo` and `simulate`, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from elspeth.cli.app import build_app
from elspeth.contracts import UsageError

ELSPETH = Path(sys.executable).with_name("elspeth")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), arguments)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ELSPETH, *arguments], cwd=cwd, capture_output=True, encoding="utf-8", check=False, timeout=100
    )


def commands_in(text: str) -> list[str]:
    """The lines of a text that begin with the command, without comments."""
    lines = [line.strip().partition("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith("elspeth ")]


def test_init_writes_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = call("init")

    assert result.exit_code == 0
    assert (tmp_path / "pipeline.yaml").is_file()
    assert (tmp_path / ".elspeth").is_dir()
    assert "cd " not in result.stdout


def test_init_into_a_folder_says_how_to_get_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = call("init", "my project")

    assert "  cd 'my project'\n" in result.stdout
    assert (tmp_path / "my project" / "tickets.csv").is_file()


def test_init_replaces_nothing(tmp_path: Path) -> None:
    assert call("init", str(tmp_path)).exit_code == 0

    result = call("init", str(tmp_path))

    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert "pipeline.yaml, tickets.csv" in result.exception.message


def test_every_command_that_init_names_works_in_its_folder(tmp_path: Path) -> None:
    shown = run("init", cwd=tmp_path)
    commands = commands_in(shown.stdout)

    results = [run(*command.split()[1:], cwd=tmp_path) for command in commands]

    assert [command.split()[1] for command in commands] == ["validate", "plan", "run", "explain"]
    assert [(result.returncode, result.stderr if result.returncode else "") for result in results] == [(0, "")] * 4
    assert results[0].stdout == "pipeline.yaml: ok, 3 steps, 4 sinks\n"
    assert results[2].stdout.startswith("complete: 13 in = ")
    assert len((tmp_path / "out" / "rejected.jsonl").read_text().splitlines()) == 2


def test_every_command_in_the_starting_readme_works(tmp_path: Path) -> None:
    run("init", cwd=tmp_path)
    commands = commands_in((tmp_path / "README.md").read_text())

    results = [run(*command.split()[1:], cwd=tmp_path) for command in commands]

    assert len(commands) == 4
    assert [result.returncode for result in results] == [0] * 4


def test_the_demo_tells_the_whole_story_and_can_be_told_again(tmp_path: Path) -> None:
    results = [run("demo", "--rows", rows, cwd=tmp_path) for rows in ("1000", "10")]

    first, second = results
    assert [(result.returncode, result.stderr if result.returncode else "") for result in results] == [(0, "")] * 2
    assert first.stdout.startswith("complete: 1,000 in = ")
    assert second.stdout.startswith("complete: 10 in = ")
    assert "2 batch files in flight" in first.stderr
    assert "row 0  source line 2  key 0ad" in first.stdout
    assert "SIMULATED" in first.stdout
    assert "cd elspeth-demo" in first.stdout


def test_the_demo_keeps_to_its_folder(tmp_path: Path) -> None:
    environment = {"ELSPETH_LANDSCAPE_URL": str(tmp_path / "elsewhere.db"), "AZURE_OPENAI_API_KEY": "sesame-open-1"}

    result = CliRunner(env=environment).invoke(build_app(), ["demo", "--dir", str(tmp_path / "d"), "--rows", "5"])

    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    status = run("status", "latest", "--json", cwd=tmp_path / "d")
    assert json.loads(status.stdout)["simulated"] is True


def test_the_demo_replaces_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    result = call("demo", "--dir", str(tmp_path))

    assert isinstance(result.exception, UsageError)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_simulate_hands_its_options_to_the_simulator() -> None:
    result = run("simulate", "--help", cwd=Path())

    assert result.returncode == 0
    assert result.stdout.startswith("usage: elspeth simulate")
    assert "--enqueued-token-limit" in result.stdout


def test_simulate_refuses_what_the_simulator_does_not_know() -> None:
    result = run("simulate", "--no-such-option", cwd=Path())

    assert result.returncode == 2
    assert "--no-such-option" in result.stderr


def test_simulate_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [ELSPETH, "simulate", "--exit-with-parent", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(timeout=20)

    assert ready["url"].startswith("http://127.0.0.1:")
    assert process.returncode == 0
