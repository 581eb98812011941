"""What a run would send, against what a run does send."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from elspeth.app.composition import build_plan, secrets_of
from elspeth.app.forecast import Ending, Forecast, forecast
from elspeth.app.runs import Conditions, start_run
from elspeth.app.state import State
from elspeth.contracts import NodeKind, Outcome, SourceError, Transform, UsageError
from elspeth.core.config import load_pipeline
from elspeth.core.landscape import LandscapeReader
from elspeth.engine.batch import fold_batches
from elspeth.engine.plan import Plan
from elspeth.plugins.registry import Registry
from elspeth.plugins.transforms.passthrough import PassthroughTransform

PIPELINE = """\
name: triage
source: {{plugin: csv, options: {{path: rows.csv}}, schema: {{id: int, text: str}}, key: id, on_invalid: bad}}
steps:
  - {{name: long, gate: "len(row['text']) == 37", routes: {{true: skipped, false: next}}, on_error: bad}}
  - name: ask
    plugin: azure_batch_llm
    options:
      endpoint: simulator
      deployment_name: d
      poll_interval_seconds: 0.1
      template: "Say {{{{ row.text }}}}"
      {options}
    on_error: bad
{more}
sinks:
  done: {{plugin: jsonl, options: {{path: out/done.jsonl}}}}
  skipped: {{plugin: jsonl, options: {{path: out/skipped.jsonl}}}}
  bad: {{plugin: jsonl, options: {{path: out/bad.jsonl}}}}
output: done
"""

AGAIN = """\
  - name: again
    plugin: azure_batch_llm
    options:
      {endpoint: simulator, deployment_name: d, template: "{{ row.llm_response }}", response_field: second}
"""


def write(folder: Path, rows: list[str], *, options: str = "", more: str = "") -> Path:
    (folder / "rows.csv").write_text("id,text\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    path = folder / "pipeline.yaml"
    path.write_text(PIPELINE.format(options=options, more=more))
    return path


def plan_of(path: Path, environ: dict[str, str] | None = None) -> tuple[Plan, list[str]]:
    registry = Registry()
    pipeline = load_pipeline(path, registry, environ=environ or {})
    return build_plan(pipeline, registry), secrets_of(pipeline)


def forecast_of(path: Path, **wishes: Any) -> Forecast:
    plan, secrets = plan_of(path)
    return forecast(plan, secrets=secrets, **wishes)


def test_every_row_is_sent_or_has_an_ending(tmp_path: Path) -> None:
    rows = ["1,one", "2,two", "x,three", "2,again", "5,a text of more than twenty characters", "6,six"]

    result = forecast_of(write(tmp_path, rows))

    assert result.rows == 6
    assert [(step.name, step.requests, step.files) for step in result.steps] == [("ask", 3, 1)]
    assert set(result.endings) == {
        Ending(outcome=Outcome.ROUTED, step="long", code=None, sink="skipped", rows=1),
        Ending(outcome=Outcome.QUARANTINED, step="source", code="type", sink="bad", rows=1),
        Ending(outcome=Outcome.QUARANTINED, step="source", code="duplicate_key", sink="bad", rows=1),
    }


def test_a_row_whose_request_does_not_fit_is_not_sent(tmp_path: Path) -> None:
    result = forecast_of(write(tmp_path, ["1,one", "2,twenty charactersxx"], options="max_bytes: 140"))

    assert [step.requests for step in result.steps] == [1]
    assert result.endings == (Ending(outcome=Outcome.FAILED, step="ask", code="too_large", sink="bad", rows=1),)


@pytest.mark.parametrize("options", ["max_requests: 7", "max_bytes: 600", "canary: 3", "max_enqueued_tokens: 60", ""])
def test_what_is_forecast_is_what_a_run_sends(tmp_path: Path, options: str) -> None:
    path = write(tmp_path, [f"{n},text {n}" for n in range(20)], options=options)

    result = forecast_of(path, show=20)

    state = State(tmp_path / ".elspeth")
    run = start_run(path, state=state, conditions=Conditions(environ={}))
    with LandscapeReader(run.database) as reader:
        sent = reader.query("SELECT requests, bytes FROM v_batches WHERE run_id = ? AND attempt = 0", run.run_id)
        folder = reader.run(run.run_id).payload_folder
        batches = fold_batches(reader, 1)
    (step,) = result.steps
    assert (step.files, step.requests, step.bytes) == (len(sent), sum(n for n, _ in sent), sum(b for _, b in sent))
    estimates = [batch.estimate for batch in batches if batch.estimate]
    assert step.tokens.output.ceiling == sum(estimate.output.ceiling for estimate in estimates)
    rounding = len(estimates)
    assert 0 <= step.tokens.input.likely - sum(estimate.input.likely for estimate in estimates) < rounding
    assert len(result.lines) == 20
    assert sum(len(line) + 1 for line in result.lines) == step.bytes
    assert folder.is_dir()


def test_a_batch_step_behind_another_one_is_named_and_not_counted(tmp_path: Path) -> None:
    result = forecast_of(write(tmp_path, ["1,one"], more=AGAIN))

    assert [(step.name, step.requests, step.waits_for) for step in result.steps] == [
        ("ask", 1, ()),
        ("again", 0, ("ask",)),
    ]


def test_a_limit_counts_rows_of_the_source_as_a_run_does(tmp_path: Path) -> None:
    path = write(tmp_path, ["x,bad", *(f"{n},text" for n in range(500))])

    assert [forecast_of(path, limit=limit).rows for limit in (1, 300, 501, 1000)] == [1, 300, 501, 501]
    assert forecast_of(path, limit=2).steps[0].requests == 1


def test_a_key_is_found_again_however_far_away(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{n},t" for n in (*range(12_000), 0)])

    result = forecast_of(path)

    assert [(ending.code, ending.rows) for ending in result.endings] == [("duplicate_key", 1)]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.app.forecast._ROWS_A_COMMIT", 300)

    def peak(rows: int) -> int:
        path = write(tmp_path, [f"{n},{'t' * 300}" for n in range(rows)])
        tracemalloc.start()
        forecast_of(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(300)  # what is imported on the way stays
    assert peak(12_000) < 1.2 * peak(3_000)  # both more than a block of the source


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    path = write(tmp_path, ["1,one"])

    forecast_of(path)

    assert sorted(found.name for found in tmp_path.iterdir()) == ["pipeline.yaml", "rows.csv"]


def test_a_request_that_would_hold_a_secret_is_counted_as_failed(tmp_path: Path) -> None:
    path = write(tmp_path, ["1,sesame-open-1"], options="api_key: ${KEY}")
    plan, secrets = plan_of(path, {"KEY": "sesame-open-1"})

    result = forecast(plan, secrets=secrets, show=1)

    assert [ending.code for ending in result.endings] == ["secret"]
    assert result.lines == ()


class Caller(PassthroughTransform):
    """Asks somebody else about each row."""

    def process(self, row: Any, ctx: Any) -> Any:
        ctx.http("elsewhere")
        return super().process(row, ctx)


def test_a_step_that_calls_out_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    (tmp_path / "rows.csv").write_text("a\n1\n")
    path.write_text(
        "name: p\nsource: {plugin: csv, options: {path: rows.csv}}\n"
        "steps: [{name: call, plugin: passthrough}]\nsinks: {out: {plugin: jsonl, options: {path: o.jsonl}}}\n"
    )
    plan, _ = plan_of(path)
    transform = plan.steps[1].transform
    assert isinstance(transform, Transform)
    transform.__class__ = Caller

    with pytest.raises(UsageError, match="'call' calls an external system"):
        forecast(plan, secrets=[])


def test_a_source_that_has_gone_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, ["1,one"])
    plan, secrets = plan_of(path)
    (tmp_path / "rows.csv").unlink()

    with pytest.raises(SourceError):
        forecast(plan, secrets=secrets)


def test_a_pipeline_without_a_batch_step_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    (tmp_path / "pipeline.yaml").write_text(
        "name: p\nsource: {plugin: csv, options: {path: rows.csv}}\n"
        "sinks: {out: {plugin: jsonl, options: {path: o.jsonl}}}\n"
    )
    plan, _ = plan_of(tmp_path / "pipeline.yaml")

    result = forecast(plan, secrets=[])

    assert [node.kind for node in plan.graph.nodes] == [NodeKind.SOURCE, NodeKind.SINK]
    assert result.steps == ()
    assert result.endings == (Ending(outcome=Outcome.COMPLETED, step=None, code=None, sink="out", rows=2),)
