"""The explanation of a row is about that row, complete, and true to the files on both ends."""

import csv
import io
import json
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets
from tests.e2e.small_run import COUNT, FAILED, LINE_OF_ROW, REJECTED, SOURCE, SmallRun
from tests.e2e.wire import sha256

ROWS = range(COUNT)
GOOD = [n for n in ROWS if n not in REJECTED]


def source_cells() -> list[list[str]]:
    text = SOURCE.decode("utf-8-sig", "replace")
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


def step_named(explanation: dict[str, Any], name: str) -> dict[str, Any]:
    (step,) = [step for step in explanation["steps"] if step["name"] == name]
    return step


@pytest.mark.parametrize("row", ROWS)
def test_an_explanation_has_the_shape_that_is_promised(small: SmallRun, row: int) -> None:
    found = small.explain(row)
    assert {"schema_version", "run", "row", "steps", "outcomes"} <= set(found)
    assert 1 == found["schema_version"]
    assert small.status["run"] == found["run"]
    assert {"index", "line", "key", "data", "hash"} <= set(found["row"])
    for step in found["steps"]:
        assert {"name", "plugin", "status", "input", "output"} <= set(step)
        if "gate" in step:
            assert {"expression", "values", "route"} == set(step["gate"])
        for attempt in step.get("attempts", []):
            assert {"batch", "request", "reply", "call_ids", "error"} <= set(attempt)
            for part in ("request", "reply"):
                assert attempt[part] is None or {"sha256", "line"} <= set(attempt[part])
    for outcome in found["outcomes"]:
        assert {"token", "outcome", "sink", "path", "line"} <= set(outcome)
    assert 1 == len(found["outcomes"])


@pytest.mark.parametrize("row", ROWS)
def test_the_source_line_is_the_true_line_in_the_file(small: SmallRun, row: int) -> None:
    found = small.explain(row)["row"]
    assert (row, LINE_OF_ROW[row]) == (found["index"], found["line"])
    first_cell = source_cells()[row][0]
    line = SOURCE.split(b"\n")[found["line"] - 1]
    assert line.startswith(first_cell.encode())
    if row in REJECTED:
        assert found["data"] is None
    else:
        assert int(first_cell) == found["data"]["id"]
        assert first_cell == found["key"]


@pytest.mark.parametrize("row", GOOD)
def test_prompt_and_reply_belong_to_that_very_row(small: SmallRun, row: int) -> None:
    cells = source_cells()[row]
    (attempt,) = step_named(small.explain(row), "classify")["attempts"]
    request, reply = attempt["request"], attempt["reply"]
    assert f"row-{row}-0" == json.loads(request["line"])["custom_id"] == json.loads(reply["line"])["custom_id"]
    (message,) = json.loads(request["line"])["body"]["messages"]
    assert f"Classify this ticket.\nTitle: {cells[1]}\nBody: {cells[2]}" == message["content"]
    for part in (request, reply):
        assert part["sha256"] == sha256(part["line"].encode()) == sha256(small.payload(part["sha256"]))
    operations = {call["call_id"]: call["operation"] for call in small.calls}
    assert {"files.create", "batches.create", "files.content"} == {operations[c] for c in attempt["call_ids"]}
    assert attempt["batch"] == (1 if row < 6 else 2)


def test_the_line_of_a_request_is_that_line_of_the_uploaded_file(small: SmallRun) -> None:
    calls = {call["call_id"]: call for call in small.calls}
    for row in (0, 6, 12):
        (attempt,) = step_named(small.explain(row), "classify")["attempts"]
        files = [calls[c] for c in attempt["call_ids"]]
        (upload,) = [call for call in files if call["operation"] == "files.create"]
        lines = small.payload(upload["request_hash"]).splitlines(keepends=True)
        assert attempt["request"]["line"].encode() in lines
        contents = [small.payload(call["response_hash"]) for call in files if call["operation"] == "files.content"]
        assert any(attempt["reply"]["line"].encode() in content.splitlines(keepends=True) for content in contents)


@pytest.mark.parametrize("row", ROWS)
def test_the_sink_line_is_the_true_line_in_the_output_file(small: SmallRun, row: int) -> None:
    found = small.explain(row)
    (outcome,) = found["outcomes"]
    assert str(row) == outcome["token"]
    output = small.project.path(outcome["path"])
    assert output.is_file()
    text = output.read_bytes().decode("utf-8")
    line = text.split("\n")[outcome["line"] - 1]
    if row in REJECTED:
        assert ("quarantined", "rejected") == (outcome["outcome"], outcome["sink"])
        assert row == json.loads(line)["row"]
    elif row in FAILED:
        assert ("failed", "failed") == (outcome["outcome"], outcome["sink"])
        assert found["row"]["data"]["id"] == json.loads(line)["id"]
    elif outcome["sink"] == "urgent":
        assert "routed" == outcome["outcome"]
        assert step_named(found, "risk")["output"] == json.loads(line)
    else:
        assert ("completed", "triaged") == (outcome["outcome"], outcome["sink"])
        assert line.startswith(f"{found['row']['data']['id']},")


@pytest.mark.parametrize("row", GOOD)
def test_the_output_of_each_step_is_the_input_of_the_next(small: SmallRun, row: int) -> None:
    found = small.explain(row)
    names = ["tidy", "classify"] + ([] if row in FAILED else ["risk"])
    assert names == [step["name"] for step in found["steps"]]
    value = found["row"]["data"]
    for step in found["steps"]:
        assert value == step["input"]
        value = step["output"]
    if row in FAILED:
        assert "failed" == found["steps"][-1]["status"]
        assert value is None
        assert FAILED[row] == found["steps"][-1]["error"]["code"] == found["outcomes"][0]["reason"]
    else:
        gate = found["steps"][-1]["gate"]
        is_urgent = value["category"] == "billing"
        assert {"category": value["category"]} == gate["values"]
        assert ("true" if is_urgent else "false") == gate["route"]
        assert is_urgent == (found["outcomes"][0]["sink"] == "urgent")


def test_the_values_of_the_row_are_those_of_the_source(small: SmallRun) -> None:
    for row in (1, 4, 5, 10):
        id_, subject, body, priority = source_cells()[row]
        expected = {"id": int(id_), "subject": subject, "body": body, "priority": int(priority) if priority else None}
        assert expected == small.explain(row)["row"]["data"]


@pytest.mark.parametrize("row", sorted(REJECTED))
def test_a_quarantined_row_shows_its_bytes_and_the_reason(small: SmallRun, row: int) -> None:
    found = small.explain(row)
    assert [] == found["steps"]
    stored = small.payload(found["row"]["hash"])
    assert stored in SOURCE
    assert stored.startswith(source_cells()[row][0].encode())
    assert stored.endswith(b"\r\n")
    assert found["row"]["error"]["code"] == found["outcomes"][0]["reason"]


@pytest.mark.parametrize("row", [0, 1, 3, 5, 6, 9, 11, 12])
def test_the_text_says_what_the_json_says(small: SmallRun, row: int) -> None:
    text = small.project("explain", "latest", "--row", str(row)).out
    found = small.explain(row)
    assert f"row {row}  source line {found['row']['line']}" in text
    assert found["row"]["hash"] in text
    for step in found["steps"]:
        assert f"{step['name']} ({step['plugin']})  {step['status']}" in text
        for attempt in step.get("attempts", []):
            assert attempt["request"]["line"].rstrip() in text
            assert attempt["reply"]["line"].rstrip() in text
            assert all(call in text for call in attempt["call_ids"])
    (outcome,) = found["outcomes"]
    assert f"outcome: {outcome['outcome']}" in text
    assert f"sink {outcome['sink']}, line {outcome['line']} of {outcome['path']}" in text
    assert "SIMULATED ANSWERS" in text


def test_a_key_finds_the_same_row_as_its_index(small: SmallRun) -> None:
    for row in (0, 5, 6, 12):
        key = source_cells()[row][0]
        assert small.explain(row) == small.project("explain", "latest", "--key", key, "--json").json()
    err = small.project("explain", "latest", "--key", "four", code=2).err
    assert "no row with the key 'four'" in err
    assert "hint:" in err


def test_a_row_that_does_not_exist_is_refused_with_the_range(small: SmallRun) -> None:
    err = small.project("explain", "latest", "--row", str(COUNT), code=2).err
    assert f"Its rows are 0 to {COUNT - 1}" in err
    assert "--row" in small.project("explain", "latest", code=2).err
    small.project("explain", "latest", "--row", "1", "--key", "1", code=2)


def test_rows_of_a_pending_run_show_what_is_known(project: Project, simulate: Simulate) -> None:
    simulator = simulate(latency_s=600.0, file_latency_s=0.0)
    project.write("tickets.csv", tickets(7) + "x,bad,row,\n")
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    for row in (0, 4, 5, 6):
        found = project.explain(row)
        tidy, classify = found["steps"]
        assert ("completed", "waiting") == (tidy["status"], classify["status"])
        assert tidy["output"] == classify["input"]
        assert classify["output"] is None
        (attempt,) = classify["attempts"]
        assert attempt["reply"] is None
        assert f"row-{row}-0" == json.loads(attempt["request"]["line"])["custom_id"]
        assert [] == found["outcomes"]
    text = project("explain", "latest", "--row", "6").out
    assert "waits for the provider" in text
    assert "outcome: none yet" in text
    rejected = project.explain(7)
    assert "type" == rejected["row"]["error"]["code"]
    assert [] == rejected["outcomes"], "it waits for its turn in the output"


def test_an_explanation_tells_every_attempt(project: Project, simulate: Simulate) -> None:
    simulator = simulate(row_faults={"row-1-0": "429", "row-1-1": "500"})
    project.write("tickets.csv", tickets(4))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    attempts = step_named(project.explain(1), "classify")["attempts"]
    assert [0, 1, 2] == [attempt["attempt"] for attempt in attempts]
    assert ["row-1-0", "row-1-1", "row-1-2"] == [json.loads(a["request"]["line"])["custom_id"] for a in attempts]
    statuses = [json.loads(a["reply"]["line"])["response"]["status_code"] for a in attempts]
    assert [429, 500, 200] == statuses
    assert 1 == len(step_named(project.explain(0), "classify")["attempts"])
