"""Rows that take an answer of another run (`other_runs`): which are good enough, and what happens to the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import KEY, Project, ask, created

from elspeth.contracts import BatchTransform, FileRole, UsageError
from elspeth.core.calls import Redactor
from elspeth.core.canonical import sha256
from elspeth.engine.known_answers import KnownAnswer, Line
from elspeth.engine.plan import Step
from elspeth.engine.reuse import take
from elspeth.plugins.llm.openai_batch import OpenAIBatchLLMTransform

pytestmark = pytest.mark.usefixtures("hurried")

SCHEMA = "schema: {text: str}"


def prepared(bench: Project, texts: Sequence[str], *steps: str) -> None:
    bench.rows([{"text": text} for text in texts])
    bench.pipeline("".join(steps), source=SCHEMA, sinks=["done", "failed"])


def ran(bench: Project, **conditions: Any) -> None:
    result = bench.run(**conditions)
    assert result.error is None


def taken(bench: Project) -> list[tuple[Any, ...]]:
    """Step and row of each taken answer of the last run."""
    return bench.query(
        "SELECT step, row_index FROM v_reuses WHERE run_id = (SELECT MAX(run_id) FROM runs) ORDER BY step, row_index"
    )


def test_a_row_goes_on_to_the_next_step_and_takes_its_answer_there(bench: Project, serve: Serve) -> None:
    simulator = serve()
    steps = ask(simulator), ask(simulator, name="again", template="Then {{ row.text }}", response_field="then")
    prepared(bench, ["a", "b"], *steps)
    ran(bench)
    before, jobs = bench.outputs(), len(created(simulator))
    ran(bench, reuse=["latest"])

    assert before == bench.outputs()
    assert jobs == len(created(simulator))
    assert [("again", 0), ("again", 1), ("ask", 0), ("ask", 1)] == taken(bench)


def test_an_answer_that_came_at_a_later_attempt_is_taken(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "429"})
    prepared(bench, ["a", "b"], ask(simulator))
    ran(bench)
    ran(bench, reuse=["latest"])

    assert [(0, 1, 0), (1, 2, 1)] == bench.query(
        "SELECT row_index, from_batch, from_attempt FROM v_reuses ORDER BY row_index"
    )


def test_an_answer_is_taken_by_another_row_with_the_same_request(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepared(bench, ["a", "b"], ask(simulator))
    ran(bench)
    prepared(bench, ["b", "new", "a", "b"], ask(simulator))
    ran(bench, reuse=["latest"])

    assert [(0, 1), (2, 0), (3, 1)] == bench.query("SELECT row_index, from_row FROM v_reuses ORDER BY row_index")
    assert [f"echo: Say {text}" for text in ("b", "new", "a", "b")] == [r["llm_response"] for r in bench.lines("done")]
    refs = dict(bench.query("SELECT row_index, request_ref || ' ' || reply_ref FROM reuses"))
    assert refs[0] == refs[3], "equal lines are kept once"


def test_what_is_taken_and_what_is_shared_go_together(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepared(bench, ["a"], ask(simulator))
    ran(bench)
    prepared(bench, ["b", "a", "b", "a"], ask(simulator, dedupe=True))
    ran(bench, reuse=["latest"])

    assert [("ask", 1), ("ask", 3)] == taken(bench)
    assert [(1,), (1,)] == bench.query("SELECT requests FROM v_batches")


def broken(payloads: Path, name: str) -> None:
    (path,) = payloads.glob(f"*/*{name}*")
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["-request", "-output"])
def test_a_line_that_is_not_what_it_was_is_not_taken(name: str, bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepared(bench, ["a", "b"], ask(simulator))
    ran(bench)
    before = bench.outputs()
    broken(bench.state.folder / "payloads", name)
    ran(bench, reuse=["latest"])

    assert [] == taken(bench)
    assert 2 == len(created(simulator))
    assert before == bench.outputs()


def test_the_first_run_that_is_named_goes_first(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepared(bench, ["a"], ask(simulator))
    ran(bench)
    ran(bench)
    (old,), (new,) = bench.query("SELECT run_id FROM runs ORDER BY run_no")
    ran(bench, reuse=[old, "all"])
    ran(bench, reuse=[new, old])
    ran(bench, reuse=["all"])

    third, fourth, last = bench.query("SELECT run_id, reuse_json FROM runs WHERE run_no > 2 ORDER BY run_no")
    assert [[old, new], [new, old], [fourth[0], third[0], new, old]] == [
        json.loads(choice) for _, choice in (third, fourth, last)
    ]
    assert [(third[0], old), (fourth[0], new), (last[0], new)] == bench.query(
        "SELECT run_id, from_run FROM v_reuses ORDER BY run_id"
    )


def test_a_run_that_is_not_there_cannot_be_named(bench: Project, serve: Serve) -> None:
    prepared(bench, ["a"], ask(serve()))
    ran(bench)
    before = bench.query("SELECT COUNT(*) FROM runs")
    bench.file.write_text(bench.file.read_text().replace("name: test", "name: other"))

    with pytest.raises(UsageError, match="no run of the pipeline 'other' is complete"):
        bench.run(reuse=["latest"])
    assert before == bench.query("SELECT COUNT(*) FROM runs")


# What a step of this run makes of the lines

REQUEST = b'{"custom_id":"row-7-0","method":"POST","url":"/v1/chat/completions","body":{}}\n'


def reply(content: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    body = {"model": "gpt-test", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}
    line = {"id": "1", "custom_id": "row-7-0", "response": {"status_code": 200, "request_id": "r", "body": body}}
    return json.dumps({**line, "error": None}).encode() + b"\n"


def known(line: bytes) -> KnownAnswer:
    return KnownAnswer(
        from_run="01k9x",
        from_row=7,
        from_batch=1,
        from_attempt=0,
        role=FileRole.OUTPUT,
        request=Line(REQUEST, sha256(REQUEST), None),
        reply=Line(line, sha256(line), None),
        is_simulated=False,
    )


@pytest.fixture
def step() -> Step:
    options = OpenAIBatchLLMTransform.options_model.model_validate(
        {
            "base_url": "simulator",
            "model": "gpt-test",
            "template": "x",
            "response_schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"label": {"type": "string"}},
                "required": ["label"],
            },
        }
    )
    batch: BatchTransform = OpenAIBatchLLMTransform(options, step="ask")
    return Step(number=1, name="ask", targets={}, batch=batch)


def test_an_answer_is_taken_as_this_step_reads_it(step: Step) -> None:
    found = take(step, known(reply('{"label": "x"}')), Redactor([]))

    assert found is not None
    assert {"label": "x"} == found.verdict.answer


@pytest.mark.parametrize("line", [reply('{"label": 1}'), reply("no JSON"), reply('{"label": "x"}', choices=[]), b"x\n"])
def test_what_this_step_reads_as_a_failure_is_not_taken(line: bytes, step: Step) -> None:
    assert take(step, known(line), Redactor([])) is None


def test_a_line_that_holds_a_secret_of_this_run_is_not_taken(step: Step) -> None:
    line = reply(json.dumps({"label": KEY}))

    assert take(step, known(line), Redactor([KEY])) is None
    assert take(step, known(line), Redactor(["another-secret"])) is not None
