"""Sinks that take several kinds of rows at once, and rows whose fields change their type on the way."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.contracts import PipelineError, RunStatus

SCHEMA = """
schema: {text: str, x: date, code: date?}
on_invalid: done
"""


@pytest.fixture
def mixed(bench: Project, serve: Serve) -> Project:
    """One sink takes finished rows (x is text by then), failed and routed ones (x is a date), and rejected ones."""
    simulator = serve(row_faults={"row-1-0": "content_filter"})
    bench.rows(
        [
            {"text": "one", "x": "2026-01-01", "code": "2026-02-02"},
            {"text": "two", "x": "2026-01-02", "code": None},
            {"text": "go", "x": "2026-01-03", "code": None},
            {"text": "bad", "x": "no date", "code": None},
        ]
    )
    gate = "- {name: gate, gate: \"row['text'] == 'go'\", routes: {true: done, false: next}}\n"
    bench.pipeline(
        gate + ask(simulator, response_field="x", overwrite=True, on_error="done", poll_interval_seconds=0.05),
        source=SCHEMA,
    )
    return bench


def test_one_sink_of_lines_takes_rows_of_every_kind_and_type(mixed: Project) -> None:
    assert mixed.run().status is RunStatus.COMPLETED
    done = mixed.lines("done")
    assert [line.get("text") for line in done] == ["one", "two", "go", None]
    assert (done[0]["x"][:4], done[0]["code"]) == ("echo", "2026-02-02")
    assert (done[1]["x"], done[1]["_error"]["code"]) == ("2026-01-02", "content_filter")
    assert done[2] == {"text": "go", "x": "2026-01-03", "code": None}
    assert (done[3]["code"], json.loads(done[3]["raw"])["text"]) == ("type", "bad")


def test_a_lost_part_of_such_a_sink_is_made_again_with_the_same_bytes(mixed: Project) -> None:
    mixed.run()
    (whole,) = mixed.outputs().values()
    (mixed.folder / "out" / "done.jsonl").unlink()
    mixed.query("SELECT 1")
    result = mixed.run(new=True)
    assert result.status is RunStatus.COMPLETED
    assert list(mixed.outputs().values()) == [whole]


def test_a_field_that_the_reason_of_a_failure_would_replace_is_refused(bench: Project, serve: Serve) -> None:
    bench.rows([{"text": "one", "_error": "mine"}])
    bench.pipeline(ask(serve()), source="schema: {text: str, _error: str}", sinks=("done", "failed"))
    with pytest.raises(PipelineError) as caught:
        bench.run()
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["FIELD_EXISTS"]
