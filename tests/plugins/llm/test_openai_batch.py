from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import BatchTransform
from elspeth.plugins.llm.strict_schema import OPENAI


def test_it_differs_from_azure_in_where_and_how_much(openai: Any) -> None:
    transform = openai()
    assert isinstance(transform, BatchTransform)
    assert transform.limits.max_requests == 50_000
    assert transform.options.strict_profile is OPENAI
    assert transform.options.job_endpoint == "/v1/chat/completions"
    assert json.loads(transform.request_line({"text": "x"}, "a"))["body"]["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("changes", [{"api_key": None}, {"base_url": "http://example.com/v1"}, {"model": None}])
def test_values_that_cannot_be_meant_are_refused(openai: Any, changes: Any) -> None:
    with pytest.raises(ValidationError):
        openai(**changes)


def test_the_simulator_needs_no_key(openai: Any) -> None:
    assert openai(base_url="simulator", api_key=None).uses_simulator
