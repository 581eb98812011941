"""Answers are a function of the seed and the request, and of nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.client import batch_of, json_lines, request_line
from tests.simulator.conftest import Simulate

from elspeth.simulator.completions import completion


def body(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return dict(request_line("x", text, **fields)["body"])


def content(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def chosen(text: str, options: list[Any], *, seed: str = "0") -> Any:
    schema = {"type": "object", "properties": {"label": {"enum": options}}, "required": ["label"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    return json.loads(content(completion(body(text, response_format=wanted), seed=seed)))["label"]


def test_without_a_schema_the_last_user_message_is_echoed() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": [{"type": "text", "text": "third"}, {"type": "image_url"}]},
    ]
    assert content(completion({"model": "m", "messages": messages}, seed="0")) == "echo: third"


def test_json_object_gives_a_json_object() -> None:
    wanted = {"type": "json_object"}
    assert json.loads(content(completion(body(response_format=wanted), seed="0"))) == {"echo": "hello"}


def test_an_answer_names_the_deployment_or_the_model_of_the_settings() -> None:
    assert completion(body(), seed="0")["model"] == "gpt-4o"
    assert completion(body(), seed="0", model_name="gpt-4o-2024-08-06")["model"] == "gpt-4o-2024-08-06"


def test_an_answer_says_that_it_is_simulated_and_what_it_used() -> None:
    answer = completion(body("12345678"), seed="0")
    assert (answer["system_fingerprint"], answer["choices"][0]["finish_reason"]) == ("simulated", "stop")
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3 + 1 + 2 + 3 + 1 + 2, 1 + 14 // 4)


def test_as_many_choices_as_are_asked_for() -> None:
    assert [choice["index"] for choice in completion(body(n=3), seed="0")["choices"]] == [0, 1, 2]


@given(st.text(), st.text())
def test_the_same_request_has_the_same_answer(text: str, seed: str) -> None:
    assert completion(body(text), seed=seed) == completion(body(text), seed=seed)


@pytest.mark.parametrize(("text", "expected"), [
    ("My BUG report about a bug", "bug_report"),
    ("I want a new feature; the feature request was made in May", "feature request"),
    ("billing!", "Billing"),
    ("debugging is not what the options say, billing is", "Billing"),
])  # fmt: skip
def test_the_option_whose_words_the_prompt_uses_most_is_chosen(text: str, expected: str) -> None:
    assert expected == chosen(text, ["Billing", "bug_report", "feature request"])


def test_the_system_message_does_not_count_for_an_option() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["brief", "hello"]}}}
    assert content(completion(body("hello", response_format=wanted), seed="0")) == '"hello"'


def test_ties_and_no_match_go_by_the_prompt_and_the_seed() -> None:
    options = ["a", "b", "c", "d"]
    assert {"a", "b", "c", "d"} == {chosen(f"text {n}", options) for n in range(50)}
    assert {"a", "b", "c", "d"} == {chosen("text", options, seed=str(n)) for n in range(50)}
    assert {"a", "b"} == {chosen(f"a b text {n}", options) for n in range(50)}
    assert chosen("text", options) == chosen("text", options)


def test_the_answers_of_two_servers_with_one_seed_are_the_same_whatever_the_order(simulate: Simulate) -> None:
    (_, one), (_, two), (_, other) = simulate(seed="s"), simulate(seed="s"), simulate(seed="t")
    rows = [request_line(f"row-{n}", f"text {n}") for n in range(5)]

    def bodies(client: Any, data: bytes) -> dict[str, Any]:
        lines = client.lines(client.run(data)["output_file_id"])
        return {line["custom_id"]: line["response"]["body"] for line in lines}

    first = bodies(one, json_lines(rows))
    assert first == bodies(two, json_lines(rows[::-1]))
    assert first != bodies(other, json_lines(rows))


def test_a_broken_schema_is_an_error_of_its_row_alone(simulate: Simulate) -> None:
    broken = {"type": "json_schema", "json_schema": {"schema": {"type": "array", "minItems": "two"}}}
    _, client = simulate()
    batch = client.run(json_lines([request_line("bad", response_format=broken)]) + batch_of(1))
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert client.lines(batch["error_file_id"])[0]["response"]["status_code"] == 400


def test_the_model_name_of_the_settings_reaches_the_answers(simulate: Simulate) -> None:
    _, client = simulate(model_name="gpt-x")
    batch = client.run(batch_of(1))
    assert client.lines(batch["output_file_id"])[0]["response"]["body"]["model"] == "gpt-x"
