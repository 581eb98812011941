"""Result lines have the structure of the wire fixtures, whatever the row came to.

Also for answers.py, results.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.client import batch_of, json_lines, request_line
from tests.simulator.conftest import Simulate

from elspeth.simulator import RowFault
from elspeth.simulator.records import Phase
from elspeth.simulator.rows import fault_of_row
from elspeth.simulator.settings import Settings

FIXTURES = {
    entry["case"]: entry for entry in json.loads((Path(__file__).parent / "fixtures/result_lines.json").read_text())
}

CASES = [
    ("429", "row_429_in_error_file"),
    ("500", "row_500"),
    ("503", "row_503"),
    ("408", "row_408"),
    ("400", "row_400"),
    ("content_filter", "prompt_filtered"),
    ("completion_filtered", "completion_filtered"),
    ("length", "cut_by_length"),
    ("refusal", "refusal"),
    ("not_json", "not_json"),
    ("wrong_schema", "wrong_schema"),
    ("no_choices", "no_choices"),
    ("empty", "tool_call"),
    ("timeout", "timeout"),
    ("unknown_code", "unknown_code"),
    ("null_both", "response_and_error_null"),
    (None, "good_error_null"),
]

LABELS = {"type": "json_schema", "json_schema": {"name": "l", "schema": {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}}}  # fmt: skip


def shape(value: Any) -> Any:
    """Keys and types, at every depth."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def assert_holds(expected: Any, actual: Any, where: str) -> None:
    """All that the fixture has is there, of the same type; more may be there."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), where
        for key, inner in expected.items():
            assert key in actual, f"{where}.{key}"
            assert_holds(inner, actual[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(actual, list), where
        assert len(expected) == len(actual), where
        for place, inner in enumerate(expected):
            assert_holds(inner, actual[place], f"{where}[{place}]")
    else:
        assert expected == actual, where


def test_every_kind_of_row_fault_has_a_fixture() -> None:
    assert sorted(RowFault) == sorted(kind for kind, _ in CASES if kind is not None)


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_row_has_the_structure_of_its_fixture_and_lies_in_the_same_file(
    simulate: Simulate, kind: str | None, case: str
) -> None:
    fixture = FIXTURES[case]
    _, client = simulate(row_faults={"X": kind} if kind else {})
    batch = client.run(json_lines([request_line("X", "is it a or b", response_format=LABELS)]))
    name = f"{fixture['file']}_file_id"
    rows = client.lines(batch[name])
    assert len(rows) == 1
    assert_holds(shape(json.loads(fixture["line"])), shape(rows[0]), case)
    extra = set(rows[0]) - set(json.loads(fixture["line"]))
    assert extra <= {"id"}


def wire_facts(line: dict[str, Any]) -> Any:
    """What a client decides by."""
    response = line["response"]
    if response is None:
        return (line["error"] or {}).get("code")
    body = response["body"]
    if "error" in body:
        return response["status_code"], body["error"]["code"]
    first = body["choices"][0] if body["choices"] else None
    refused = first and first["message"]["refusal"] is not None
    return response["status_code"], first and first["finish_reason"], refused


@pytest.mark.parametrize(("kind", "case"), [pair for pair in CASES if pair[0] is not None])
def test_what_a_client_decides_by_is_that_of_the_fixture(simulate: Simulate, kind: str, case: str) -> None:
    _, client = simulate(row_faults={"X": kind})
    batch = client.run(json_lines([request_line("X", response_format=LABELS)]))
    row = client.lines(batch[f"{FIXTURES[case]['file']}_file_id"])[0]
    assert wire_facts(json.loads(FIXTURES[case]["line"])) == wire_facts(row)


@pytest.mark.parametrize("kind", ["not_json", "wrong_schema", "length", "empty", "completion_filtered"])
def test_a_spoiled_reply_does_not_fit_its_schema(simulate: Simulate, kind: str) -> None:
    _, client = simulate(row_faults={"X": kind})
    batch = client.run(json_lines([request_line("X", response_format=LABELS)]))
    content = client.lines(batch["output_file_id"])[0]["response"]["body"]["choices"][0]["message"]["content"]
    try:
        value = json.loads(content or "")
    except ValueError:
        value = None
    assert not (isinstance(value, dict) and value.get("label") in ("a", "b"))


def test_job_objects_have_all_that_the_fixtures_have(simulate: Simulate) -> None:
    fixtures = json.loads((Path(__file__).parent / "fixtures/batch_objects.json").read_text())
    _, client = simulate()
    batch = client.run(batch_of(1))
    known = {entry["object"]["status"].lower() for entry in fixtures} - {"paused"}
    assert known <= set(Phase)
    for entry in fixtures:
        assert set(entry["object"]) <= set(batch)


def test_all_rows_failed_leaves_only_an_error_file(simulate: Simulate) -> None:
    _, client = simulate(fail_rate=1.0)
    batch = client.run(batch_of(3))
    assert (batch["status"], batch["output_file_id"]) == ("completed", None)
    assert batch["request_counts"] == {"total": 3, "completed": 0, "failed": 3}
    assert len(client.lines(batch["error_file_id"])) == 3


def test_the_fail_rate_picks_its_share_of_rows_and_always_the_same() -> None:
    settings = Settings(fail_rate=0.2, fail_kinds=("429", "500"))
    picked = {n: fault_of_row(f"row-{n}", settings) for n in range(2000)}
    failing = {n: fault for n, fault in picked.items() if fault is not None}
    assert 300 < len(failing) < 500
    assert {RowFault.RATE_LIMITED, RowFault.SERVER_ERROR} == set(failing.values())
    assert picked == {n: fault_of_row(f"row-{n}", settings) for n in range(2000)}
    other = Settings(fail_rate=0.2, seed="1")
    assert set(failing) != {n for n in range(2000) if fault_of_row(f"row-{n}", other)}


def test_faulty_jobs_confines_the_fail_rate_to_the_first(simulate: Simulate) -> None:
    _, client = simulate(fail_rate=1.0, faulty_jobs=1)
    assert [client.run(batch_of(2))["request_counts"]["failed"] for _ in range(2)] == [2, 0]


def test_a_lone_surrogate_does_not_break_the_line(simulate: Simulate) -> None:
    _, client = simulate()
    batch = client.run(json_lines([request_line("X", "\ud800 and \u2028")]))
    row = client.lines(batch["output_file_id"])[0]
    assert row["response"]["body"]["choices"][0]["message"]["content"] == "echo: \ud800 and \u2028"
