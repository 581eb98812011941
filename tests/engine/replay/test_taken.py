"""A replay of rows that took an answer, by the lines that their own run kept."""

from __future__ import annotations

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.replay import ReplayRequest, ReplayResult, replay_run

pytestmark = pytest.mark.usefixtures("hurried")


def replayed(bench: Project) -> ReplayResult:
    return replay_run(ReplayRequest(reference="latest", out=bench.folder / "again"), state=bench.state)


@pytest.fixture
def taker(bench: Project, serve: Serve) -> Project:
    bench.rows([{"text": "a"}, {"text": "b"}])
    bench.pipeline(ask(serve()), source="schema: {text: str}", sinks=["done", "failed"])
    assert bench.run().error is None
    assert bench.run(reuse=["latest"]).error is None
    return bench


def test_a_taken_answer_is_enough(taker: Project) -> None:
    assert replayed(taker).is_identical


def test_rows_whose_lines_are_gone_are_named(taker: Project) -> None:
    (path,) = taker.state.folder.glob("payloads/*/reused.zst")
    path.unlink()
    result = replayed(taker)

    assert not result.is_identical
    assert ["files"] == list(result.content["unreplayable"])


def test_a_line_that_is_not_what_it_was_is_a_difference(taker: Project) -> None:
    (path,) = taker.state.folder.glob("payloads/*/reused.zst")
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)

    assert "answer that was taken" in str(replayed(taker).content["rows"])


def test_an_edited_pipeline_takes_the_answers_of_a_step_that_has_another_name_now(taker: Project) -> None:
    edited = taker.folder / "edited.yaml"
    renamed = (taker.folder / "pipeline.yaml").read_text().replace("name: ask", "name: query")

    def replayed_with(pipeline: str, out: str) -> ReplayResult:
        edited.write_text(pipeline)
        request = ReplayRequest(reference="latest", out=taker.folder / out, edited=edited)
        return replay_run(request, state=taker.state)

    same = replayed_with(renamed, "one").content
    assert ({}, [True, True]) == (same["asked_anew"], [output["is_identical"] for output in same["outputs"]])
    anew = replayed_with(renamed.replace("row.text", "row.text | upper"), "two").content
    assert 2 == anew["asked_anew"]["query"]["rows"]
