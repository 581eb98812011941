"""Manners of the command line: help, streams, exit codes, pipes."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import ELSPETH, Project, ended, tickets
from tests.e2e.small_run import SmallRun

COMMANDS = ["init", "demo", "validate", "plan", "graph", "run", "resume", "status", "runs", "explain", "diff", "calls",
            "call", "payload", "export", "plugins", "schema", "simulate", "keys", "verify", "replay",
            "timestamp", "hold", "purge"]  # fmt: skip


def test_help_lists_every_command(project: Project) -> None:
    text = project("--help").out
    listed = re.findall(r"^  ([a-z]+)  ", text.partition("Commands:")[2], re.MULTILINE)
    assert sorted(COMMANDS) == sorted(listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_that_needs_no_project(project: Project, command: str) -> None:
    done = project(command, "--help")
    assert "usage" in done.out.lower()
    assert f"elspeth {command}" in done.out
    assert "" == done.err
    assert [] == list(project.folder.iterdir())


def test_help_imports_nothing_heavy(project: Project) -> None:
    script = (
        "import sys; sys.argv = ['elspeth', '--help']\n"
        "from elspeth.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'openai', 'starlette', 'httpx2', 'jinja2', 'uvicorn', 'rich', 'jsonschema_rs',\n"
        "  'cryptography'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=project.environment(), capture_output=True, check=True)
    assert b"" == done.stderr
    assert b"Usage: elspeth" in done.stdout


def test_what_a_run_without_calls_starts_with_has_no_http_client(project: Project) -> None:
    script = "import sys, elspeth.app.runs; print(sorted({'httpx2', 'urllib.request', 'openai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], env=project.environment(), capture_output=True, check=True)
    assert b"[]" == done.stdout.strip()


def test_what_a_run_starts_with_makes_few_dataclasses(project: Project) -> None:
    """Each is compiled anew at each start; records outside of the vocabulary are structs (docs/adr/0012-speed.md)."""
    script = (
        "import sys, elspeth.app.runs\n"
        "found = [v for m in list(sys.modules.values()) for v in vars(m).values() if isinstance(v, type)]\n"
        "made = {v for v in found if hasattr(v, '__dataclass_fields__') and v.__module__.startswith('elspeth.')}\n"
        "print(*sorted(v.__name__ for v in made if not v.__module__.startswith('elspeth.contracts')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=project.environment(), capture_output=True, check=True)
    assert len(done.stdout.split()) <= 10, done.stdout


def test_help_is_quick(project: Project) -> None:
    def seconds() -> float:
        started = time.process_time(), os.times()
        project("--help")
        after = os.times()
        return after.children_user + after.children_system - started[1].children_user - started[1].children_system

    assert min(seconds() for _ in range(3)) < 0.6


def test_the_version(project: Project) -> None:
    assert re.fullmatch(r"elspeth \d+\.\d+\.\d+\n", project("--version").out)


@pytest.mark.parametrize("arguments", [
    ["nosuchcommand"], ["run"], ["run", "--nosuchoption", "x"], ["explain", "--row", "-1"], ["explain", "--row", "x"],
    ["run", "missing.yaml"], ["validate", "missing.yaml"], ["plan", "missing.yaml"], ["graph", "missing.yaml"],
    ["resume"], ["resume", "latest", "--all"], ["run", "--limit", "0", "missing.yaml"],
    ["graph", "--format", "picture", "x.yaml"], ["simulate", "--latency", "soon"],
])  # fmt: skip
def test_bad_usage_ends_with_2_and_says_why_on_stderr(project: Project, arguments: list[str]) -> None:
    done = project(*arguments, code=2)
    assert "" == done.out
    assert done.err
    assert [] == list(project.folder.iterdir())


def test_an_unknown_progress_is_refused(project: Project, simulate: Simulate) -> None:
    project.write("tickets.csv", tickets(2))
    project.write_pipeline(simulate().url)
    assert "hint: auto, rich, plain or none" in project("run", "pipeline.yaml", "--progress", "loud", code=2).err


def test_stdout_carries_results_only(project: Project, simulate: Simulate) -> None:
    project.write("tickets.csv", tickets(2))
    project.write_pipeline(simulate().url)
    for progress in ("plain", "none", "rich", "auto"):
        done = project("run", "pipeline.yaml", "--progress", progress, "--new")
        assert done.out.startswith("complete: ")
        assert 1 == len(done.out.splitlines())
        assert "run 01" in done.err
    found = project("run", "pipeline.yaml", "--new", "--json")
    assert (1, 0, "completed") == tuple(found.json()[name] for name in ("schema_version", "exit_code", "status"))


def test_json_is_one_object_with_a_schema_version(small: SmallRun) -> None:
    for arguments in (["status"], ["runs"], ["explain", "--row", "0"], ["calls"], ["plugins"]):
        done = small.project(*arguments, "--json")
        assert 1 == json.loads(done.out)["schema_version"]
        assert "" == done.err
    for arguments in (["validate", "pipeline.yaml", "--format", "json"], ["plan", "pipeline.yaml", "--json"]):
        assert 1 == json.loads(small.project(*arguments).out)["schema_version"]
    graph = json.loads(small.project("graph", "pipeline.yaml", "--format", "json").out)
    assert 1 == graph["schema_version"]


def test_nothing_is_truncated_off_a_terminal(small: SmallRun) -> None:
    for line in small.project("calls", env={"COLUMNS": "20"}).out.splitlines():
        columns = line.split("\t")
        assert 7 == len(columns)
        assert 64 == len(columns[5])
    assert "…" not in small.project("explain", "--row", "0", env={"COLUMNS": "20"}).out
    assert "\x1b[" not in small.project("explain", "--row", "0").out + small.project("status").out


def test_calls_can_be_filtered(small: SmallRun) -> None:
    whole = small.calls
    creates = small.project.calls("latest", "--operation", "batches.create")
    assert [call for call in whole if call["operation"] == "batches.create"] == creates
    second = small.project.calls("latest", "--batch", "2", "--step", "classify", "--status", "success")
    assert [call for call in whole if call["batch"] == 2] == second
    assert [] == small.project.calls("latest", "--status", "error")
    assert "success or error" in small.project("calls", "--status", "odd", code=2).err


def test_a_closed_pipe_is_no_traceback(small: SmallRun) -> None:
    for arguments in (["explain", "--row", "0"], ["calls", "--json"], ["schema"], ["--help"]):
        process = small.project.start(*arguments)
        with ended(process):
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            err = process.stderr.read()
            process.wait(timeout=20)
        assert b"Traceback" not in err, (arguments, err)
        assert b"Exception ignored" not in err, (arguments, err)


def test_plan_sends_nothing_and_shows_the_exact_lines(small: SmallRun) -> None:
    before = len(small.journal)
    done = small.project("plan", "pipeline.yaml", "--show", "3")
    lines = done.stdout.splitlines(keepends=True)
    assert [small.explain(row)["steps"][1]["attempts"][0]["request"]["line"].encode() for row in (0, 1, 2)] == lines
    found = small.project("plan", "pipeline.yaml", "--json").json()
    (step,) = found["steps"]
    assert (13, 10, 2) == (found["rows"], step["requests"], step["files"])
    sent = small.project.query("SELECT SUM(bytes) AS n FROM v_batches")[0]["n"]
    assert sent == step["bytes"]
    assert before == len(small.journal)


def test_init_makes_a_pipeline_that_runs_offline(project: Project) -> None:
    project("init", "mine", env={"AZURE_OPENAI_API_KEY": None})
    folder = project.folder / "mine"
    project("validate", "pipeline.yaml", cwd=folder, env={"AZURE_OPENAI_API_KEY": None})
    done = project("run", "pipeline.yaml", cwd=folder, env={"AZURE_OPENAI_API_KEY": None}, timeout=30)
    assert "SIMULATED ANSWERS" in done.out
    assert "every hash" in project("explain", "latest", "--row", "0", cwd=folder).out
    again = project("init", "mine", code=2)
    assert "nothing was written" in again.err


def test_the_built_in_simulator_leaves_no_process_behind(project: Project) -> None:
    project("init", ".")
    text = project.text("pipeline.yaml")
    assert "endpoint: simulator" in text
    project("run", "pipeline.yaml", "--wait", "0s", code=None)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(project.folder) not in listed


def test_python_m_elspeth_is_the_same_program(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "elspeth", "--version"], env=project.environment(), capture_output=True, check=True
    )
    assert project("--version").stdout == done.stdout
    assert ELSPETH.is_file()
