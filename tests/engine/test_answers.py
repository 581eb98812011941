"""The lines of result files, by the requests that they answer."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import BatchPhase, FileRole
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.engine.answers import Answers, SetAside, index_answers, lines_of, may_retry, result_of
from elspeth.engine.batch import Batch
from elspeth.plugins.llm.openai_batch import OpenAIBatchLLMTransform

OPTIONS = {"model": "m", "api_key": "${KEY}", "template": "{{ row.text }}", "row_attempts": 2}
TRANSFORM = OpenAIBatchLLMTransform(
    parse_options(OpenAIBatchLLMTransform.options_model, OPTIONS, OptionsContext()), step="ask"
)


def batch(**facts: Any) -> Batch:
    return Batch(number=1, node_no=1, attempt=0, parent_no=None, phase=BatchPhase.ENDED, **facts)


def answer(request_id: str, text: str = "yes") -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"id": "x", "custom_id": request_id, "response": response, "error": None}).encode() + b"\n"


def index(*lines: bytes, expected: set[str]) -> tuple[Answers, list[SetAside]]:
    aside: list[SetAside] = []
    files = [(FileRole.OUTPUT, iter([b"".join(lines)]))]
    return index_answers(TRANSFORM, expected, files, file=io.BytesIO(), on_set_aside=aside.append), aside


def test_a_line_is_found_by_its_request_whatever_the_order() -> None:
    lines = [answer("row-1-0", "one"), answer("row-0-0", "zero")]
    answers, aside = index(*lines, expected={"row-0-0", "row-1-0"})
    places = [answers.place(name) for name in ("row-0-0", "row-1-0", "row-2-0")]
    assert [lines[1], lines[0], None] == [None if place is None else answers.read(place) for place in places]
    assert [] == aside
    verdict, place, line = answers.verdict(TRANSFORM, batch(), "row-0-0")
    assert place is not None
    assert (1, len(lines[0]), len(lines[1]), lines[1]) == (place.position, place.start, place.length, line)
    assert {"llm_response": "zero", "text": "t"} == result_of(TRANSFORM, {"text": "t"}, verdict).rows[0]


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=9), st.lists(st.integers(0, 99), max_size=20))
def test_lines_are_read_in_any_order(sizes: list[int], order: list[int]) -> None:
    ids = [f"row-{row}-0" for row in range(len(sizes))]
    lines = [answer(name, "x" * size) for name, size in zip(ids, sizes, strict=True)]
    answers, _ = index(*lines, expected=set(ids))
    places = [answers.place(name) for name in ids]
    for number in [*range(len(ids)), *(number % len(ids) for number in order)]:
        place = places[number]
        assert place is not None
        assert lines[number] == answers.read(place)


def test_lines_that_answer_no_row_are_set_aside_with_the_reason() -> None:
    twice = answer("row-0-0")
    answers, aside = index(twice, b"{broken\n", twice, answer("row-0-0", "no"), answer("row-9-0"), expected={"row-0-0"})
    assert [(1, "quarantine"), (2, "duplicate"), (3, "conflict"), (4, "alarm")] == [(a.position, a.kind) for a in aside]
    verdict, _, _ = answers.verdict(TRANSFORM, batch(), "row-0-0")
    assert verdict.failure is not None
    assert ("conflicting_answers", False) == (verdict.failure.code, verdict.is_retryable)
    assert verdict.failure == result_of(TRANSFORM, {"text": "t"}, verdict).failure


@pytest.mark.parametrize(("code", "is_retryable"), [("server_error", True), ("model_not_found", False)])
def test_a_row_without_a_line_says_why_and_whether_to_ask_again(code: str, is_retryable: bool) -> None:
    answers, _ = index(expected={"row-0-0"})
    verdict, place, line = answers.verdict(TRANSFORM, batch(faults=[{"code": code, "message": "m"}]), "row-0-0")
    assert (None, None, is_retryable) == (place, line, verdict.is_retryable)
    assert verdict.failure is not None
    assert "batch_failed" == verdict.failure.code


def test_rows_of_a_batch_that_we_cancelled_keep_their_attempts() -> None:
    last = Batch(number=2, node_no=1, attempt=1, parent_no=1)
    assert not may_retry(TRANSFORM, last)
    last.apply(BatchPhase.ENDED, {"cancelled_by": "me"})
    assert may_retry(TRANSFORM, last)
    assert may_retry(TRANSFORM, batch())


@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\n", b"x"))), st.integers(1, 7), st.booleans())
def test_lines_are_the_same_however_the_file_is_cut(lines: list[bytes], size: int, ends_whole: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if ends_whole else b"")
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    found = list(lines_of(pieces))
    assert [line for line in lines if line.strip()] == [line.removesuffix(b"\n") for _, _, line in found]
    assert all(content[start : start + len(line)] == line for _, start, line in found)
    assert [position for position, line in enumerate(lines) if line.strip()] == [at for at, _, _ in found]
