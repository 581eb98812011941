from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

import elspeth
from elspeth.app.purge_plan import Wanted, plan_purge
from elspeth.app.retention import Keeper, carry_out
from elspeth.contracts import PayloadClass
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import LandscapeReader


def test_a_run_and_its_trail_from_python(bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    simulator = serve(row_faults={"row-1-0": "refusal"})
    bench.rows([{"text": "a"}, {"text": "b"}])
    bench.pipeline(ask(simulator, poll_interval_seconds=0.1), source="schema: {text: str}", sinks=["done", "failed"])
    run = elspeth.run("pipeline.yaml", environ=bench.environ)
    assert (run.status, run.exit_code, run.error, run.counts) == ("completed", 0, None, {"done": 1, "failed": 1})
    assert "refusal" in str(run.explain(row=1))
    assert elspeth.resume("latest", environ=bench.environ).id == run.id
    with elspeth.open(bench.database) as trail:
        assert [found["id"] for found in trail.runs()] == [run.id]
        assert [row["outcome"] for row in trail.rows(run)] == ["completed", "failed"]
        assert [batch["status"] for batch in trail.batches(run)] == ["harvested"]
        assert list(trail.calls(run, status="error")) == []
        assert trail.explain(run, row=0).to_dict() == run.explain(row=0).to_dict()
        for call in trail.calls(run):
            for name in ("request_hash", "response_hash"):
                assert sha256(trail.payload(call[name])).hexdigest() == call[name]


def _run_of(bench: Project, rows: list[dict[str, Any]], *, schema: str) -> elspeth.Run:
    bench.rows(rows)
    bench.pipeline("- {name: keep, plugin: passthrough}", source=f"schema: {schema}")
    return elspeth.run(bench.folder / "pipeline.yaml", db=str(bench.database), environ=bench.environ)


def _purge_rows(bench: Project, run: elspeth.Run) -> None:
    wanted = Wanted(runs=(run.id,), classes=(PayloadClass.ROWS,))
    with LandscapeReader(bench.database) as reader:
        plan = plan_purge(reader, wanted, now_us=SystemClock().now_us())
        keeper = Keeper(reader, environ=bench.environ, clock=SystemClock())
        carry_out(plan, wanted, keeper=lambda: keeper, why="90 days")


def test_an_open_trail_explains_what_became_of_a_run_meanwhile(bench: Project) -> None:
    run = _run_of(bench, [{"text": "a"}, {"text": "b"}], schema="{text: str}")
    with elspeth.open(bench.database) as trail:
        before = trail.explain(run, row=0).to_dict()
        assert {"text": "b"} == trail.explain(run, row=1).to_dict()["row"]["data"]
        _purge_rows(bench, run)
        after = trail.explain(run, row=0).to_dict()

    assert ([], {"text": "a"}) == (before["purged"], before["row"]["data"])
    assert ("90 days", None) == (after["row"]["purged"]["why"], after["row"]["data"])


def test_rows_may_be_explained_while_they_are_listed_and_purged(bench: Project) -> None:
    run = _run_of(bench, [{"n": n} for n in range(600)], schema="{n: int}")
    found = []
    with elspeth.open(bench.database) as trail:
        for row in trail.rows(run):
            if len(found) == 300:
                _purge_rows(bench, run)
            found.append(trail.explain(run, row=row["row_index"]).to_dict()["row"])

    assert [{"n": n} for n in range(300)] == [row["data"] for row in found[:300]]
    assert ["90 days"] * 300 == [row["purged"]["why"] for row in found[300:]]


def test_threads_may_share_an_open_trail_and_each_answer_is_of_one_moment(bench: Project) -> None:
    run = _run_of(bench, [{"n": n} for n in range(40)], schema="{n: int}")
    moments: list[str] = []
    with elspeth.open(bench.database) as trail, ThreadPoolExecutor(4) as threads:
        trail._explaining.connection.set_trace_callback(moments.append)
        found = list(threads.map(lambda row: trail.explain(run, row=row).to_dict(), range(40)))

    assert [{"n": n} for n in range(40)] == [one["row"]["data"] for one in found]
    assert ["BEGIN", "COMMIT"] * 40 == [said for said in moments if said in {"BEGIN", "COMMIT"}]
