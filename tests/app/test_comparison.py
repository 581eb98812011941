"""The comparison of two runs beyond single rows: outputs, code, money, answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.comparison import Comparison, compare_runs
from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"label": {"type": "string", "enum": ["a", "b", "c", "d", "e", "f"]}},
    "required": ["label"],
}


def compared(bench: Project, a: int = 1, b: int = 2, *, keep: int = 20) -> tuple[Comparison, list[dict[str, Any]]]:
    with LandscapeReader(bench.database) as reader:
        found = compare_runs(reader, reader.run_numbered(a), reader.run_numbered(b), keep=keep)
        return found, list(found.differing())


def run(bench: Project) -> None:
    assert bench.run(new=True).status is RunStatus.COMPLETED


def test_the_same_rows_in_another_order_are_other_outputs(bench: Project) -> None:
    bench.pipeline(source="key: id")
    for ids in ([1, 2], [2, 1]):
        bench.rows([{"id": n} for n in ids])
        run(bench)
    found, differing = compared(bench)
    assert (2, 2, []) == (found.content["rows"]["all"], found.content["rows"]["same"], differing)
    assert [("done", False)] == [(output["sink"], output["same"]) for output in found.content["outputs"]]
    assert not found.is_same
    assert not found.content["same"]


def test_an_output_that_only_one_run_has_is_a_difference(bench: Project) -> None:
    bench.rows([{"id": 1}])
    gate = "- {name: never, gate: 'False', routes: {true: more, false: next}, on_error: discard}"
    for steps, sinks in (("", ("done",)), (gate, ("done", "more"))):
        bench.pipeline(steps, sinks=sinks)
        run(bench)
    found, _ = compared(bench)
    outputs = {output["sink"]: output for output in found.content["outputs"]}
    assert (True, False) == (outputs["done"]["same"], outputs["more"]["same"])
    assert outputs["more"]["a"] is None
    assert 0 == outputs["more"]["b"]["records"]
    assert not found.is_same
    routes = [entry for entry in found.content["rows"]["differ_in"] if entry["what"] == "route"]
    assert [{"what": "route", "name": "never", "rows": 1}] == routes


@pytest.fixture
def asked_twice(bench: Project, serve: Serve) -> Project:
    """Two servers, so other answers to the same requests; the third run has another template and fewer rows."""
    for seed, rows, template in (("1", 12, "Say"), ("2", 12, "Say"), ("2", 10, "Shout")):
        bench.rows([{"text": f"number {n}"} for n in range(rows)])
        options: dict[str, Any] = {"template": template + " {{ row.text }}", "response_schema": SCHEMA}
        options["price"] = {"input_per_mtok": 1, "output_per_mtok": 2}
        bench.pipeline(ask(serve(seed=seed), poll_interval_seconds=0.05, **options), sinks=("done", "failed"))
        run(bench)
        (bench.folder / "out" / "done.jsonl").rename(bench.folder / f"done-{len(bench.query('SELECT 1 FROM runs'))}")
    return bench


def written(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_other_answers_to_the_same_request_are_told_from_answers_to_another(asked_twice: Project) -> None:
    found, differing = compared(asked_twice)
    lines = [written(asked_twice.folder / f"done-{n}") for n in (1, 2)]
    expected = [n for n, (one, other) in enumerate(zip(*lines, strict=True)) if one != other]
    assert len(expected) > 3
    assert expected == [row["a"]["row"] for row in differing]
    assert len(expected) == found.content["rows"]["differ"]
    for row in differing:
        (answer,) = row["answers"]
        assert ("ask", "identical") == (answer["step"], answer["request"])
        assert {"label": row["fields"]["label"]["a"]} == answer["a"]
        assert {"label": row["fields"]["label"]["b"]} == answer["b"]
        assert [{"what": "field", "name": "label"}] == row["differs"]
    found, differing = compared(asked_twice, 2, 3)
    assert differing
    assert {"other"} == {answer["request"] for row in differing for answer in row["answers"]}
    assert (2, 0) == (found.content["rows"]["only_a"], found.content["rows"]["only_b"])
    settings = {entry["setting"] for entry in found.content["configuration"]["settings"]}
    assert {"steps.ask.options.template", "steps.ask.options.base_url"} == settings


def test_cost_and_usage_stand_beside_each_other(asked_twice: Project) -> None:
    content = compared(asked_twice, 2, 3)[0].content
    for side, rows in (("a", 12), ("b", 10)):
        (counts,) = content[side]["usage"].values()
        assert rows == counts["rows"]
        cost = (counts["prompt_tokens"] + 2 * counts["completion_tokens"]) / 1e6
        assert cost == pytest.approx(content[side]["money"]["spent_usd"], abs=1e-6)
        assert content[side]["simulated"]
        assert 1 == len(content[side]["code_versions"])


def test_no_more_rows_are_kept_than_wanted(asked_twice: Project) -> None:
    found, differing = compared(asked_twice, 2, 3, keep=1)
    assert 1 == len(differing)
    assert {"differ": 1, "only_a": 1, "only_b": 0} == found.shown
    with LandscapeReader(asked_twice.database) as reader:
        again = compare_runs(reader, reader.run_numbered(2), reader.run_numbered(3), keep=5)
        assert [10, 11] == [row["row"] for row in again.only_a()]
        back = compare_runs(reader, reader.run_numbered(3), reader.run_numbered(2), keep=5)
        assert [("completed", "done")] * 2 == [(row["outcome"], row["sink"]) for row in back.only_b()]


def test_a_run_is_the_same_as_itself(asked_twice: Project) -> None:
    found, differing = compared(asked_twice, 1, 1)
    assert found.is_same
    assert [] == differing
    assert {"settings": [], "files": []} == found.content["configuration"]
