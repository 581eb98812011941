"""A key in every run of a trail: what became of it, and whether a model was asked again."""

from __future__ import annotations

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.appearances import Appearances, explain_key
from elspeth.contracts import MissingTrailError, RunStatus
from elspeth.core.landscape import LandscapeReader

PRICE = {"input_per_mtok": 1, "output_per_mtok": 2}


def run(bench: Project, rows: list[str], step: str) -> None:
    bench.rows([{"id": key, "text": f"text of {key}"} for key in rows])
    bench.pipeline(step, source="key: id", sinks=("done", "failed"))
    assert bench.run(new=True).status is RunStatus.COMPLETED


def explained(bench: Project, key: str) -> Appearances:
    with LandscapeReader(bench.database) as reader:
        return explain_key(reader, key)


def test_a_request_that_was_made_before_is_found_whatever_its_row_is_called(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "429"})
    step = ask(simulator, poll_interval_seconds=0.05, price=PRICE)
    run(bench, ["x", "a"], step)
    run(bench, ["a"], step)
    run(bench, ["y", "a"], step.replace("Say", "Shout"))
    run(bench, ["b", "x", "a"], step)
    found = explained(bench, "a").to_dict()
    ids = [run_id for (run_id,) in bench.query("SELECT run_id FROM runs ORDER BY run_no")]
    assert ids == [one["run"] for one in found["runs"]]
    assert [1, 0, 1, 2] == [one["row"] for one in found["runs"]]
    before = [request["asked_before"] for one in found["runs"] for request in one["asked"]]
    first = {"run": ids[0], "batch": 1, "attempt": 0}
    again = {**first, "likeness": "identical_but_for_custom_id"}
    third = {"run": ids[2], "batch": 1, "attempt": 0, "likeness": "identical_but_for_custom_id"}
    assert [None, again, again, None, third, again] == before
    assert (6, 4) == (found["asked"], found["asked_before"])
    answers = [request["answer"] for one in found["runs"] for request in one["asked"]]
    assert [True, False] * 2 == [answers[n] is None for n in (0, 1, 3, 4)]
    for _ in range(2):
        run(bench, ["a"], step)
        last = explained(bench, "a").to_dict()["runs"][-1]["asked"]
        assert [{"run": ids[1], "batch": 1, "attempt": 0, "likeness": "identical"}] == [
            request["asked_before"] for request in last
        ]


def test_costs_are_those_of_the_replies_and_add_up(bench: Project, serve: Serve) -> None:
    for _ in range(2):
        run(bench, ["a"], ask(serve(), poll_interval_seconds=0.05, price=PRICE))
    found = explained(bench, "a").to_dict()
    spent = [request["cost_usd"] for one in found["runs"] for request in one["asked"]]
    assert 2 == len(spent)
    assert min(spent) > 0
    assert found["cost_usd"] == pytest.approx(sum(spent))
    run(bench, ["a"], ask(serve(), poll_interval_seconds=0.05))
    assert explained(bench, "a").to_dict()["cost_usd"] is None
    assert "cost unknown" in str(explained(bench, "a"))


def test_runs_without_the_key_or_without_keys_are_left_out(bench: Project) -> None:
    bench.rows([{"id": "a"}])
    for source in ("key: id", ""):
        bench.pipeline(source=source)
        assert bench.run(new=True).status is RunStatus.COMPLETED
    found = explained(bench, "a")
    assert 1 == len(found.to_dict()["runs"])
    assert "no model was asked" in str(found)
    assert str(found).startswith("key a  in 1 run  asked 0 times\n")
    with pytest.raises(MissingTrailError, match="no run in"):
        explained(bench, "b")


def test_a_pending_run_says_what_is_open(bench: Project, serve: Serve) -> None:
    bench.rows([{"id": "a", "text": "one"}])
    bench.pipeline(ask(serve(latency_s=60)), source="key: id", sinks=("done", "failed"))
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    found = explained(bench, "a")
    (request,) = found.to_dict()["runs"][0]["asked"]
    assert (None, None, None) == (request["reply_sha256"], request["answer"], request["cost_usd"])
    assert "  outcome: none yet\n" in str(found)
    assert "    no answer was taken from it\n" in str(found)
