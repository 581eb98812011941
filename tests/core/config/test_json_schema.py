"""The JSON Schema for editors accepts what the loader accepts and catches what it can."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from elspeth.core.config import pipeline_schema

GOOD: dict[str, Any] = {
    "name": "demo",
    "source": {"plugin": "csv", "options": {"path": "in.csv"}, "schema": {"id": "int", "x": "str?"}},
    "steps": [
        {"name": "a", "plugin": "rename"},
        {
            "name": "b",
            "plugin": "model",
            "options": {"api_key": "${KEY}", "max_requests": "${N:-5}", "mode": "${M}", "price": {"model": "x"}},
        },
        {"name": "g", "gate": "row['a'] > 1", "routes": {"true": "out", "false": "next"}},
    ],
    "sinks": {"out": {"plugin": "csv", "options": {"path": "out.csv"}}},
    "limits": {"max_error_rate": 0.5},
}


@pytest.fixture
def validator(folder: Any) -> Any:
    return jsonschema_rs.validator_for(pipeline_schema(folder.catalog))


def test_a_good_file_is_valid(validator: Any) -> None:
    assert [e.message for e in validator.iter_errors(GOOD)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"name": "a b"},
        {"source": {"plugin": "cvs", "options": {"path": "x"}}},
        {"source": {"plugin": "csv"}},
        {"source": {"plugin": "csv", "options": {"path": "x"}, "schema": {"id": "itn"}}},
        {"steps": [{"name": "b", "plugin": "model", "options": {"api_key": "sk-live-abc"}}]},
        {"steps": [{"name": "b", "plugin": "model", "options": {"max_requests": "five"}}]},
        {"steps": [{"name": "b", "plugin": "model", "options": {"mode": "fsat"}}]},
        {"steps": [{"name": "b", "plugin": "rename", "gate": "x"}]},
        {"steps": [{"name": "g", "gate": "x"}]},
        {"sinks": {}},
        {"limits": {"max_error_rate": 2}},
        {"limits": {"max_cost_usd": 0}},
    ],
)
def test_mistakes_are_seen_while_typing(validator: Any, change: dict[str, Any]) -> None:
    assert not validator.is_valid({**GOOD, **change})


def test_definitions_of_plugins_do_not_collide(folder: Any) -> None:
    assert {"transform.model.Price", "transform.model.ExactPrice"} <= pipeline_schema(folder.catalog)["$defs"].keys()
