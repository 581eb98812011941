"""A key is found nowhere in what a run leaves behind or says, whatever the provider sends back."""

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import zstandard
from tests.e2e.conftest import Simulate
from tests.e2e.project import Done, Project, tickets

SECRET = "s3\"cr\\et/+&=%<>'#~sentinel-42"
FORMS = {
    form.encode()
    for form in (
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET).replace("/", "\\/")[1:-1],
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        html.escape(SECRET),
        "sentinel-42",
    )
}


def pieces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte below a folder, compressed files as well as they are and as they unfold."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".env":
            data = path.read_bytes()
            yield str(path), data
            if path.suffix == ".zst":
                with path.open("rb") as file:
                    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                    yield f"{path} (decompressed)", reader.read()


def check_clean(project: Project, *dones: Done) -> None:
    found = [*pieces(project.folder), *((f"output {n}", d.stdout + d.stderr) for n, d in enumerate(dones))]
    assert len(found) > 5
    for name, data in found:
        for form in FORMS:
            assert form not in data, f"{name} holds {form!r}"


def ask_everything(project: Project) -> list[Done]:
    """What the reading commands say, each of which might tell a secret."""
    calls = project.calls()
    asked = [project("status"), project("status", "--json"), project("calls", "--json")]
    asked += [project("call", call["call_id"]) for call in calls if call["status"] == "error"][:2]
    if project.query("SELECT 1 FROM v_rows"):
        asked += [project("explain", "--row", "0"), project("explain", "--row", "0", "--json")]
    asked += [project("payload", calls[-1]["response_hash"])] if calls and calls[-1]["response_hash"] else []
    return asked


ECHO_BODIES: dict[str, Any] = {
    "in JSON": {"error": {"code": "invalid_api_key", "message": f"Incorrect API key provided: {SECRET}."}},
    "raw": "Access denied for {api_key}, go away",
    "in a URL": {"error": {"message": f"see https://x.test/?key={quote(SECRET, safe='')}&k={quote_plus(SECRET)}"}},
    "in HTML": f"<html><body>{html.escape(SECRET)}</body></html>",
    "twice encoded": {"error": {"message": json.dumps({"key": SECRET})}},
}


@pytest.fixture(params=["environment", "dotenv"])
def keyed(request: pytest.FixtureRequest, project: Project) -> Project:
    """A project whose key comes from the environment, or from .env beside the pipeline file."""
    if request.param == "environment":
        project.env["AZURE_OPENAI_API_KEY"] = SECRET
    else:
        del project.env["AZURE_OPENAI_API_KEY"]
        escaped = SECRET.replace("\\", "\\\\").replace('"', '\\"')
        project.write(".env", f'# keys\nAZURE_OPENAI_API_KEY="{escaped}"\n')
    project.write("tickets.csv", tickets(4))
    return project


def test_a_good_run_keeps_no_key(keyed: Project, simulate: Simulate) -> None:
    simulator = simulate(api_key=SECRET)
    keyed.write_pipeline(simulator.url)
    done = keyed("run", "pipeline.yaml")
    check_clean(keyed, done, *ask_everything(keyed))


@pytest.mark.parametrize("how", ECHO_BODIES)
@pytest.mark.parametrize("operation", ["files.create", "batches.retrieve"])
def test_a_key_that_an_error_echoes_is_not_kept(project: Project, simulate: Simulate, operation: str, how: str) -> None:
    action = {"status": 401, "body": ECHO_BODIES[how], "headers": {"x-echo": SECRET, "www-authenticate": SECRET}}
    simulator = simulate(faults=[{"operation": operation, "occurrence": "every", "action": action}])
    project.env["AZURE_OPENAI_API_KEY"] = SECRET
    project.write("tickets.csv", tickets(4))
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml", code=4)
    error = project.calls("latest", "--status", "error")[-1]
    assert b"[REDACTED]" in project.payload(error["response_hash"])
    check_clean(project, done, *ask_everything(project))


def test_a_refused_key_from_dotenv_is_not_kept(keyed: Project, simulate: Simulate) -> None:
    action = {"status": 403, "body": ECHO_BODIES["in JSON"]}
    simulator = simulate(faults=[{"operation": "*", "occurrence": "every", "action": action}])
    keyed.write_pipeline(simulator.url)
    done = keyed("run", "pipeline.yaml", code=4)
    check_clean(keyed, done, *ask_everything(keyed))


def answer_line(row: int, content: str) -> str:
    message = {"role": "assistant", "content": content, "refusal": None}
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"custom_id": f"row-{row}-0", "response": response, "error": None}) + "\n"


def test_a_key_in_a_result_file_is_not_kept(project: Project, simulate: Simulate) -> None:
    lines = [
        answer_line(0, json.dumps({"category": "bug"})),
        answer_line(1, f"your key is {SECRET}"),
        answer_line(2, json.dumps({"category": SECRET})),
        json.dumps(
            {
                "custom_id": "row-3-0",
                "response": {"status_code": 400, "body": {"error": {"code": "bad", "message": f"key {SECRET}"}}},
                "error": None,
            }
        )
        + "\n",
    ]
    action = {"status": 200, "body": "".join(lines)}
    simulator = simulate(faults=[{"operation": "files.content", "occurrence": "every", "action": action}])
    project.env["AZURE_OPENAI_API_KEY"] = SECRET
    project.write("tickets.csv", tickets(4))
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml")
    assert "1 triaged" in done.out or "1 urgent" in done.out
    assert "3 failed" in done.out or "failed (" in done.out
    asked = [project("explain", "--row", str(n)) for n in range(4)]
    check_clean(project, done, *asked, *ask_everything(project))


def test_a_source_row_that_holds_the_key_is_quarantined_without_it(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.env["AZURE_OPENAI_API_KEY"] = SECRET
    elsewhere = project.folder.parent / "elsewhere.csv"
    quoted = SECRET.replace('"', '""')
    elsewhere.write_text(tickets(2) + f'3,"{quoted}",body,1\n' + f'x,"{quoted}",the id is no number,1\n')
    path = project.write_pipeline(simulator.url)
    path.write_text(path.read_text().replace("path: tickets.csv", f"path: {elsewhere}"))
    done = project("run", "pipeline.yaml")
    assert "1 quarantined (secret)" in done.out
    rejected = project.lines(f"out/{project.run_id()}/rejected.jsonl")
    assert [2, 3] == [row["row"] for row in rejected]
    check_clean(project, done, project("explain", "--row", "2"), project("explain", "--row", "3", "--json"))


def test_a_literal_key_in_the_pipeline_file_is_an_error_that_does_not_repeat_it(
    project: Project, simulate: Simulate
) -> None:
    project.write("tickets.csv", tickets(1))
    path = project.write_pipeline(simulate().url)
    path.write_text(path.read_text().replace("${AZURE_OPENAI_API_KEY}", "sentinel-42-literal"))
    for command in ("validate", "run", "plan"):
        done = project(command, "pipeline.yaml", code=2)
        assert "pipeline.yaml:" in done.err
        assert "sentinel-42" not in done.out + done.err
    assert not project.path(".elspeth").exists()


def test_a_missing_key_ends_with_4_or_2_before_anything_is_sent(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(1))
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml", env={"AZURE_OPENAI_API_KEY": None}, code=4)
    assert "AZURE_OPENAI_API_KEY" in done.err
    assert [] == simulator.journal()
