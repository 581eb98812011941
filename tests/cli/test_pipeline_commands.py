"""`validate`, `plan`, `graph`, `plugins` and `schema`, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from elspeth.cli.app import build_app
from elspeth.contracts import PipelineError, UsageError

ELSPETH = Path(sys.executable).with_name("elspeth")
PIPELINE = """\
name: triage
source: {plugin: csv, options: {path: rows.csv}, on_invalid: bad}
steps:
  - name: ask
    plugin: azure_batch_llm
    options: {endpoint: simulator, deployment_name: d, template: "Say {{ row.text }}"}
    on_error: bad
sinks:
  done: {plugin: csv, options: {path: out/done.csv}}
  bad: {plugin: jsonl, options: {path: out/bad.jsonl}}
output: done
"""
TWO_MISTAKES = PIPELINE.replace("row.text", "row.txet").replace("done.csv}", "done.csv, fields: [text, nothing]}")
SECRET = PIPELINE.replace("endpoint: simulator", "endpoint: 'https://a.openai.azure.com', api_key: '${A_KEY}'")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("A_KEY", raising=False)
    (tmp_path / "rows.csv").write_text("id,text\n1,größer\n2,two\n3\n", encoding="utf-8")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), arguments)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ELSPETH, *arguments], cwd=cwd, capture_output=True, encoding="utf-8", check=False)


def test_a_sound_file_is_ok(folder: Path) -> None:
    result = call("validate", "pipeline.yaml")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "pipeline.yaml: ok, 1 step, 2 sinks\n", "")


def test_errors_are_told_on_stderr_and_the_exit_code_is_2(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("row.text", "row.txet"))

    result = run("validate", "pipeline.yaml", cwd=folder)

    assert (result.returncode, result.stdout) == (2, "")
    assert "pipeline.yaml:6:78: error[FIELD_UNKNOWN]" in result.stderr
    assert "did you mean 'text'?" in result.stderr


def test_loading_tells_every_error_at_once(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text("nmae: x\n" + PIPELINE.replace("plugin: jsonl", "plugin: jsnl"))

    result = call("validate", "pipeline.yaml", "--format", "json")

    assert {"UNKNOWN_KEY", "UNKNOWN_PLUGIN"} <= {found["code"] for found in json.loads(result.stdout)["diagnostics"]}


def test_as_json_the_errors_are_the_result(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("row.text", "row.txet"))

    result = call("validate", "pipeline.yaml", "--format", "json")

    report = json.loads(result.stdout)
    assert (result.exit_code, report["schema_version"], report["ok"]) == (2, 1, False)
    first = report["diagnostics"][0]
    assert (first["code"], first["line"], first["file"]) == ("FIELD_UNKNOWN", 6, "pipeline.yaml")


def test_as_json_a_sound_file_has_no_diagnostics(folder: Path) -> None:
    result = call("validate", "pipeline.yaml", "--format", "json")

    assert json.loads(result.stdout) == {
        "schema_version": 1,
        "file": "pipeline.yaml",
        "ok": True,
        "steps": 1,
        "sinks": 2,
        "missing_secrets": [],
        "diagnostics": [],
    }


def test_for_github_each_error_is_an_annotation(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("row.text", "row.txet"))

    result = call("validate", "pipeline.yaml", "--format", "github")

    assert result.exit_code == 2
    assert result.stdout.startswith("::error file=pipeline.yaml,line=6,col=78,title=FIELD_UNKNOWN::")


def test_for_github_a_sound_file_is_silence(folder: Path) -> None:
    result = call("validate", "pipeline.yaml", "--format", "github")

    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_source_that_is_missing_is_an_error_of_the_file(folder: Path, command: str) -> None:
    (folder / "rows.csv").unlink()

    result = call(command, "pipeline.yaml")

    assert isinstance(result.exception, PipelineError)
    (found,) = result.exception.diagnostics
    assert (found.code, found.line, found.column, result.exception.exit_code) == ("SOURCE", 2, 39, 2)


def test_a_secret_that_is_not_set_is_a_note(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(SECRET)

    result = call("validate", "pipeline.yaml")

    assert (result.exit_code, result.stdout) == (0, "pipeline.yaml: ok, 1 step, 2 sinks\n")
    assert "note: the secret A_KEY is not set" in result.stderr
    assert json.loads(call("validate", "pipeline.yaml", "--format", "json").stdout)["missing_secrets"] == ["A_KEY"]


def test_a_secret_in_dotenv_is_set(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(SECRET)
    (folder / ".env").write_text("A_KEY=sesame-open-1\n")

    assert call("validate", "pipeline.yaml").stderr == ""


def test_a_plan_says_what_would_be_sent(folder: Path) -> None:
    result = call("plan", "pipeline.yaml")

    lines = result.stdout.splitlines()
    assert lines[0] == "triage: 3 rows read; nothing is sent"
    assert lines[1].startswith("  ask: 2 requests in 1 file, ")
    assert lines[2].startswith("  ask: tokens in likely ")
    assert lines[2].endswith("out likely 200 (10 to 2,000) (assumed: set max_completion_tokens)")
    assert lines[3:] == [
        "  ask: cost unknown: give the step a `price`",
        "  not sent: 1 row quarantined at source (field_count) -> bad",
    ]
    assert not (folder / ".elspeth").exists()


def test_a_plan_shows_the_exact_lines_and_nothing_else_on_stdout(folder: Path) -> None:
    result = run("plan", "pipeline.yaml", "--show", "5", cwd=folder)

    requests = [json.loads(line) for line in result.stdout.splitlines()]
    assert [request["custom_id"] for request in requests] == ["row-0-0", "row-1-0"]
    assert requests[0]["body"]["messages"][-1]["content"] == "Say größer"
    assert "2 requests in 1 file" in result.stderr


def test_a_plan_as_json_has_the_lines_and_the_counts(folder: Path) -> None:
    plan = json.loads(call("plan", "pipeline.yaml", "--json", "--show", "1").stdout)

    (step,) = plan["steps"]
    assert (plan["schema_version"], plan["pipeline"], plan["rows"]) == (1, "triage", 3)
    assert (step["name"], step["requests"], step["files"], step["waits_for"]) == ("ask", 2, 1, [])
    assert list(step["tokens"]["input"]) == ["low", "likely", "ceiling"]
    assert step["tokens"]["output"] == {"low": 10, "likely": 200, "ceiling": 2_000}
    assert step["cost_usd"] is None
    assert plan["not_sent"] == [
        {"outcome": "quarantined", "step": "source", "code": "field_count", "sink": "bad", "rows": 1}
    ]
    assert [json.loads(line)["custom_id"] for line in plan["lines"]] == ["row-0-0"]


def test_a_plan_stops_at_its_limit(folder: Path) -> None:
    assert json.loads(call("plan", "pipeline.yaml", "--json", "--limit", "1").stdout)["rows"] == 1


def test_a_plan_says_which_step_depends_on_answers(folder: Path) -> None:
    again = '  - {name: more, plugin: openai_batch_llm, options: {base_url: simulator, model: m, template: "x"'
    second = f"{again}, response_field: second}}}}\nsinks:"
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("sinks:", second))

    result = call("plan", "pipeline.yaml")

    assert "  more: not forecast: it takes rows that come home from ask\n" in result.stdout


def test_a_graph_needs_no_data(folder: Path) -> None:
    (folder / "rows.csv").unlink()

    drawn = [call("graph", "pipeline.yaml", "--format", format).stdout for format in ("text", "mermaid", "json")]

    assert drawn[0].startswith("source csv\n  next       -> ask\n")
    assert drawn[1].startswith("flowchart TD\n")
    assert json.loads(drawn[2])["pipeline"] == "triage"


def test_plugins_are_listed_with_kind_name_and_origin(folder: Path) -> None:
    lines = [line.split()[:3] for line in call("plugins").stdout.splitlines()]

    assert ["transform", "azure_batch_llm", "elspeth"] in lines


def test_plugins_as_json_tell_faults_too(folder: Path) -> None:
    listing = json.loads(call("plugins", "--json").stdout)

    assert listing["schema_version"] == 1
    assert set(listing["plugins"][0]) == {"kind", "name", "summary", "origin", "target", "fault"}


def test_the_schema_goes_to_stdout_or_to_a_file(folder: Path) -> None:
    printed = call("schema").stdout

    result = call("schema", "--out", "elspeth.schema.json")

    assert (result.exit_code, result.stdout) == (0, "")
    assert (folder / "elspeth.schema.json").read_text() == printed
    assert json.loads(printed)["$schema"].startswith("https://json-schema.org/")


def test_a_schema_that_cannot_be_written_is_the_users_mistake(folder: Path) -> None:
    assert isinstance(call("schema", "--out", "no/such/folder.json").exception, UsageError)


def test_the_commands_are_imported_only_when_they_are_called() -> None:
    code = "import sys; from elspeth.cli.app import build_app; build_app(); print(*sys.modules)"
    started = time.monotonic()
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert {"pydantic", "ruamel.yaml", "openai", "jinja2", "starlette", "httpx2"}.isdisjoint(loaded)
    assert time.monotonic() - started < 10
