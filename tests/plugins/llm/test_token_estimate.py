from __future__ import annotations

import json
from typing import Any

import pytest

from elspeth.contracts import Bounds
from elspeth.plugins.llm.openai_batch import OpenAIBatchLLMTransform, OpenAIBatchOptions
from elspeth.plugins.llm.token_estimate import TokenRule

ENGLISH = (
    "The quick brown fox jumps over the lazy dog while the committee considers whether the annual report, "
    "which was delayed twice, may now be published without another round of comments from the ministry."
)
ENGLISH_TOKENS = 43
"""As o200k_base counts it, give or take two, and seven for the frame of a chat."""


def transform(**options: Any) -> OpenAIBatchLLMTransform:
    given = {"base_url": "simulator", "model": "gpt-4o-mini", "template": "{{ row.text }}", **options}
    return OpenAIBatchLLMTransform(OpenAIBatchOptions(**given), step="ask")


def estimated(one: OpenAIBatchLLMTransform, text: str) -> Any:
    line = one.request_line({"text": text}, "row-12345-0")
    assert isinstance(line, bytes)
    return one.estimate(requests=1, size_bytes=len(line))


def test_english_is_estimated_well() -> None:
    found = estimated(transform(), ENGLISH).input
    assert found.low <= ENGLISH_TOKENS <= found.ceiling
    assert abs(found.likely - ENGLISH_TOKENS) <= 20


def test_what_is_in_every_line_and_tells_the_model_nothing_does_not_count() -> None:
    """Id, URL and the names of fields: an empty prompt has the tokens of a chat's frame alone."""
    found = estimated(transform(temperature=0.5, body={"user": "x" * 400}), "").input
    assert found.likely <= 12


def test_a_system_prompt_and_a_schema_count() -> None:
    properties = {f"field_{n}": {"type": "string"} for n in range(20)}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    with_schema = estimated(transform(response_schema=schema), "").input.likely
    with_system = estimated(transform(system_prompt="s" * 400), "").input.likely
    assert with_schema > len(json.dumps(schema)) // 5
    assert with_system >= 100


def test_estimates_add_up() -> None:
    rule = TokenRule(fixed_bytes=100, max_output_tokens=None, is_reasoning=False)
    one, many = rule.estimate(requests=1, size_bytes=520), rule.estimate(requests=50, size_bytes=26_000)
    assert many.input == Bounds(*(50 * tokens for tokens in one.input))
    assert many.output == Bounds(*(50 * tokens for tokens in one.output))


@pytest.mark.parametrize(
    ("options", "reply", "is_assumed"),
    [
        ({}, Bounds(5, 100, 1_000), True),
        ({"max_completion_tokens": 60}, Bounds(5, 60, 60), False),
        ({"max_tokens": 4_000}, Bounds(5, 100, 4_000), False),
        ({"body": {"max_completion_tokens": 3}}, Bounds(3, 3, 3), False),
        ({"body": {"max_tokens": 16_000}}, Bounds(5, 100, 16_000), False),
        ({"reasoning_effort": "high"}, Bounds(50, 1_000, 8_000), True),
        ({"reasoning_effort": "minimal"}, Bounds(5, 100, 1_000), True),
    ],
)
def test_a_limit_on_the_reply_is_its_ceiling(options: dict[str, Any], reply: Bounds, is_assumed: bool) -> None:
    found = estimated(transform(**options), "x")
    assert (found.output, found.is_assumed) == (reply, is_assumed)


def test_less_than_the_frame_is_no_prompt() -> None:
    rule = TokenRule(fixed_bytes=100, max_output_tokens=1, is_reasoning=False)
    assert rule.estimate(requests=1, size_bytes=10).input.low == 4
