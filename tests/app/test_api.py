from __future__ import annotations

from hashlib import sha256

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

import elspeth


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
