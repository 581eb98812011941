"""The use case of a replay, and the pipeline that the trail keeps: replay.py, recorded.py."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.recorded import fields_json, read_fields, recorded_beginning, recorded_pipeline
from elspeth.app.replay import ReplayRequest, ReplayResult, replay_run
from elspeth.contracts import Fields, FieldType, PipelineError, UsageError
from elspeth.core.landscape import LandscapeReader
from elspeth.plugins.registry import Registry


def replay(bench: Project, **request: Any) -> ReplayResult:
    return replay_run(ReplayRequest(**{"reference": "latest", **request}), state=bench.state, environ={})


def prepare(bench: Project, steps: str = "") -> None:
    bench.rows([{"id": n} for n in range(5)])
    bench.pipeline(steps, source="schema: {id: int}")
    bench.run()


def test_the_result_says_what_was_compared(bench: Project) -> None:
    prepare(bench)
    seen: list[int] = []
    done = replay_run(ReplayRequest(reference="latest"), state=bench.state, environ={}, on_progress=seen.append)
    assert done.is_identical
    assert [5] == seen
    ((run_id,),) = bench.query("SELECT run_id FROM runs")
    ((digest,),) = bench.query("SELECT lower(hex(hash)) FROM artifacts")
    path = bench.state.folder / "replays" / run_id / "out" / "done.jsonl"
    assert path.is_file()
    assert {
        "schema_version": 1,
        "run": run_id,
        "pipeline": "test",
        "simulated": False,
        "rows_replayed": 5,
        "is_identical": True,
        "outputs": [
            {
                "sink": "done",
                "path": str(path),
                "sha256": digest,
                "recorded_sha256": digest,
                "rows": 5,
                "recorded_rows": 5,
                "is_identical": True,
            }
        ],
        "differences": {"rows": 0},
        "rows": [],
        "unreplayable": {},
        "asked_anew": {},
        "not_recomputed": {},
    } == done.content


def test_a_replay_changes_no_byte_of_the_trail(bench: Project) -> None:
    prepare(bench)
    before = bench.query("SELECT * FROM run_events"), bench.query("SELECT * FROM commits")
    replay(bench)
    assert before == (bench.query("SELECT * FROM run_events"), bench.query("SELECT * FROM commits"))


def test_a_sink_that_only_one_pipeline_has_has_one_side(bench: Project) -> None:
    prepare(bench)
    edited = bench.write("edited.yaml", bench.file.read_text().replace("done", "other"))
    first, second = replay(bench, edited=edited).content["outputs"]
    assert ("done", None, "other", None) == (
        first["sink"], first["sha256"], second["sink"], second["recorded_sha256"]
    )  # fmt: skip
    assert not first["is_identical"]
    assert not second["is_identical"]


def test_a_cost_limit_of_an_edited_pipeline_needs_a_price_as_in_a_run(bench: Project, serve: Serve) -> None:
    prepare(bench)
    steps = ask(serve(), template="{{ row.id }}", on_error="discard")
    bench.pipeline(steps, source="schema: {id: int}", more="limits: {max_cost_usd: 1}")
    with pytest.raises(PipelineError) as caught:
        replay(bench, edited=bench.file)
    assert ["PRICE_UNKNOWN"] == [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_a_folder_with_other_things_is_refused_before_anything_is_written(bench: Project) -> None:
    prepare(bench)
    with pytest.raises(UsageError, match="holds what no replay has made"):
        replay(bench, out=bench.folder)


def test_what_the_trail_keeps_of_a_pipeline_is_read_back(bench: Project) -> None:
    fields = Fields({"a": FieldType.DECIMAL, "b": None}, is_open=True)
    assert fields == read_fields(fields_json(fields))
    prepare(bench)
    bench.file.unlink()
    with LandscapeReader(bench.database) as reader:
        run = reader.run("latest")
        pipeline = recorded_pipeline(reader, run, Registry(), environ={})
        assert pipeline is not None
        assert ("test", bench.file) == (pipeline.name, pipeline.path)
        assert Fields({"id": FieldType.INT}, is_open=True) == recorded_beginning(reader, run).source_fields
