"""What a job's validation finds, and on which line."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.client import AZURE, ENDPOINT, WireClient, batch_of, json_lines, request_line
from tests.simulator.conftest import Simulate

from elspeth.simulator import Settings, Simulator
from elspeth.simulator.store import Store
from elspeth.simulator.validation import MAX_ERRORS, Rules, validate

RULES = Rules(endpoint=ENDPOINT, max_requests=10)


def found(data: bytes, rules: Rules = RULES) -> list[tuple[str, int | None]]:
    return [(error["code"], error["line"]) for error in validate(data.splitlines(keepends=True), rules).errors]


def changed(**changes: Any) -> dict[str, Any]:
    row = {**request_line("b"), **changes}
    return {key: value for key, value in row.items() if value is not None}


def with_body(**changes: Any) -> dict[str, Any]:
    body = {**request_line("b")["body"], **changes}
    return changed(body={key: value for key, value in body.items() if value is not None})


def test_a_good_file_has_no_errors_and_its_requests_are_counted() -> None:
    verdict = validate(batch_of(3).splitlines(keepends=True), RULES)
    assert (verdict.errors, verdict.requests) == ([], 3)


def test_the_last_line_needs_no_newline() -> None:
    assert found(batch_of(2).rstrip()) == []


@pytest.mark.parametrize("line", [
    b"{",
    b"[1]",
    b'"text"',
    b"\xef\xbb\xbf{}",
    b'{"custom_id": "\xff"}',
    json.dumps(request_line("b")).replace('"hello"', "NaN").encode(),
    b"   ",
])  # fmt: skip
def test_a_line_that_is_not_a_json_object_is_an_invalid_json_line(line: bytes) -> None:
    data = json_lines([request_line("a")]) + line + b"\n" + json_lines([request_line("c")])
    assert found(data) == [("invalid_json_line", 2)]


@pytest.mark.parametrize(("row", "code", "param"), [
    (changed(custom_id="a"), "duplicate_custom_id", "custom_id"),
    (changed(custom_id=None), "invalid_request", "custom_id"),
    (changed(custom_id=7), "invalid_request", "custom_id"),
    (changed(custom_id="x" * 65), "invalid_request", "custom_id"),
    (changed(method="GET"), "invalid_request", "method"),
    (changed(url="/chat/completions"), "url_mismatch", "url"),
    (changed(url=ENDPOINT + "/"), "url_mismatch", "url"),
    (changed(body=None), "invalid_request", "body"),
    (changed(body=[]), "invalid_request", "body"),
    (with_body(messages=None), "invalid_request", "body.messages"),
    (with_body(messages=[]), "invalid_request", "body.messages"),
    (with_body(messages=["text"]), "invalid_request", "body.messages"),
    (with_body(stream=True), "invalid_request", "body.stream"),
    (with_body(model=None), "invalid_request", "body.model"),
    (with_body(model="other"), "model_mismatch", "body.model"),
])  # fmt: skip
def test_a_faulty_request_is_named_with_its_line(row: dict[str, Any], code: str, param: str) -> None:
    errors = validate(json_lines([request_line("a"), row]).splitlines(keepends=True), RULES).errors
    assert [(code, param, 2)] == [(error["code"], error["param"], error["line"]) for error in errors]
    assert errors[0]["message"]


def test_a_custom_id_of_64_characters_is_good() -> None:
    assert found(json_lines([request_line("x" * 64)])) == []


def test_a_url_mismatch_says_which_two_values_met() -> None:
    rows = json_lines([request_line("a", url="/chat/completions")])
    message = validate([rows], RULES).errors[0]["message"]
    assert "'/chat/completions'" in message
    assert f"'{ENDPOINT}'" in message


def test_several_faults_are_all_reported() -> None:
    data = b"{\n" + json_lines([request_line("a"), request_line("a", url="/x")])
    expected = [("invalid_json_line", 1), ("duplicate_custom_id", 3), ("url_mismatch", 3)]
    assert expected == found(data)


def test_the_report_ends_after_a_hundred_faults() -> None:
    rules = Rules(endpoint=ENDPOINT, max_requests=1000)
    assert len(found(b"{\n" * 500, rules)) == MAX_ERRORS


def test_files_without_requests() -> None:
    assert found(b"") == [("empty_file", None)]
    assert found(b"\n\n") == [("empty_batch", None)]


def test_too_many_requests() -> None:
    assert found(batch_of(10)) == []
    assert found(batch_of(11)) == [("too_many_tasks", None)]


def test_only_deployments_that_exist() -> None:
    rules = Rules(endpoint=ENDPOINT, max_requests=10, deployments=frozenset({"gpt-4o-mini"}))
    assert found(batch_of(1), rules) == [("model_not_found", 1)]


def test_a_job_whose_file_is_faulty_fails_with_the_errors(simulate: Simulate) -> None:
    _, client = simulate(latency_s=2.0, deployments=["gpt-4o"])
    batch_id = client.create(client.processed(b"{\n" + batch_of(1))).json()["id"]
    assert client.batch(batch_id)["status"] == "validating"
    batch = client.ended(batch_id)
    assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("failed", None, None)
    assert batch["errors"]["object"] == "list"
    error = batch["errors"]["data"][0]
    assert (error["code"], error["line"], error["param"]) == ("invalid_json_line", 1, None)
    assert batch["failed_at"] is not None


@pytest.mark.parametrize(("settings", "code"), [
    ({"max_requests": 1}, "too_many_tasks"),
    ({"deployments": ["other"]}, "model_not_found"),
])  # fmt: skip
def test_limits_of_the_settings_reach_the_validation(simulate: Simulate, settings: dict[str, Any], code: str) -> None:
    _, client = simulate(**settings)
    assert code == client.run(batch_of(2))["errors"]["data"][0]["code"]


def test_azure_takes_either_endpoint_and_lines_must_match_it(simulate: Simulate) -> None:
    _, client = simulate(AZURE)
    short = json_lines([request_line("a", url="/chat/completions")])
    assert client.run(short, endpoint="/chat/completions")["status"] == "completed"
    assert client.run(short)["errors"]["data"][0]["code"] == "url_mismatch"


def test_a_job_whose_input_file_was_deleted_first_fails(simulate: Simulate, tmp_path: Path) -> None:
    with Simulator(Settings(state_dir=tmp_path)) as simulator, WireClient(simulator.url) as client:
        file_id = client.upload(batch_of(1)).json()["id"]
    store = Store(tmp_path)
    job = store.add_job(
        profile="openai",
        endpoint=ENDPOINT,
        input_file_id=file_id,
        input_bytes=1,
        completion_window="24h",
        metadata=None,
        created_at=0.0,
        latency_s=0.0,
    )
    store.body_path(file_id).unlink()
    store.close()
    _, client = simulate(state_dir=tmp_path)
    assert client.ended(job.id)["errors"]["data"][0]["code"] == "input_modified"


def test_over_the_quota_a_create_is_refused_until_a_job_ends(simulate: Simulate) -> None:
    data = batch_of(3)
    _, client = simulate(latency_s=0.5, enqueued_token_limit=len(data) // 4 + 10)
    file_id = client.processed(data)
    first = client.create(file_id).json()["id"]
    refused = client.create(file_id)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "token_limit_exceeded")
    client.ended(first)
    assert client.create(file_id).status_code == 200


def test_over_the_quota_a_job_may_fail_instead(simulate: Simulate) -> None:
    data = batch_of(3)
    _, client = simulate(latency_s=0.5, enqueued_token_limit=len(data) // 4 + 10, quota_style="job")
    file_id = client.processed(data)
    first = client.create(file_id).json()["id"]
    refused = client.create(file_id).json()["id"]
    assert client.ended(refused)["errors"]["data"][0]["code"] == "token_limit_exceeded"
    assert client.ended(first)["status"] == "completed"
