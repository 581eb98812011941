from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies
from tests.plugins.llm.conftest import LABEL_SCHEMA, load

from elspeth.contracts import FileRole
from elspeth.core.canonical import compact_json
from elspeth.plugins.llm.answers import AnswerReader, AnswerShape, line_id

TEXT = AnswerReader(AnswerShape(text_field="reply", schema=None, prefix="", metadata_prefix=None))
LABELS = AnswerReader(AnswerShape(text_field="reply", schema=LABEL_SCHEMA, prefix="", metadata_prefix=None))


def line(body: Any, *, status: Any = 200, error: Any = None, **members: Any) -> bytes:
    response = {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"custom_id": "X", "response": response, "error": error, **members}).encode()


def reply(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}


def code(reader: AnswerReader, text: bytes) -> str:
    verdict = reader.read(text, FileRole.OUTPUT).verdict
    return verdict.failure.code if verdict.failure else str(verdict.answer)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"label": "a"}', "{'label': 'a'}"),
        (' {"label": "a"}\n', "{'label': 'a'}"),
        ('```json\n{"label": "a"}\n```', "schema"),
        ('{"label": "a", "label": "b"}', "schema"),
        ('{"label": "a", "x": 1}', "schema"),
        ('{"label": NaN}', "schema"),
        ('{"label": "\\ud800"}', "schema"),
        ('["label"]', "schema"),
        ("null", "schema"),
        ("", "schema"),
        ("[" * 100_000, "schema"),
    ],
)
def test_only_strict_json_that_matches_is_an_answer(content: str, expected: str) -> None:
    assert code(LABELS, line(reply(content))) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (reply("hi"), "{'reply': 'hi'}"),
        (reply(""), "{'reply': ''}"),
        (reply("hi", None), "{'reply': 'hi'}"),
        (reply("hi", "brand_new"), "{'reply': 'hi'}"),
        (reply("", "tool_calls"), "empty"),
        (reply(None, "tool_calls"), "empty"),
        (reply([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "{'reply': 'ab'}"),
        (reply([{"type": "refusal", "refusal": "no"}]), "refusal"),
        (reply([{"type": "image"}]), "empty"),
        (reply(7), "empty"),
        (reply("half", "length"), "length"),
        (reply("half", "content_filter"), "content_filter"),
        ({"choices": None}, "no_choices"),
        ({"choices": ["x"]}, "no_choices"),
        ({}, "no_choices"),
        ({"choices": [{"index": 0}]}, "empty"),
        (
            {"choices": [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]},
            "{'reply': 'a'}",
        ),
        (None, "provider"),
        ([], "provider"),
        ("not json", "provider"),
    ],
)
def test_a_reply_is_read_for_what_it_is(body: Any, expected: str) -> None:
    assert code(TEXT, line(body)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(reply("hi"), error={}), "{'reply': 'hi'}"),
        (line(reply("hi"), error={"code": "x"}), "provider"),
        (line(reply("hi"), status="200"), "{'reply': 'hi'}"),
        (line(reply("hi"), status=None), "provider"),
        (line(reply("hi"), status=True), "provider"),
        (line(reply("hi"), status=302), "provider"),
        (line({}, status=401), "auth"),
        (line({}, status=404), "not_found"),
        (line({"error": "text"}, status=422), "bad_request"),
        (line('{"error": {"code": "content_filter"}}', status=400), "content_filter"),
        (line(None, status=599), "server_error"),
        (json.dumps({"custom_id": "X", "response": [], "error": None}).encode(), "provider"),
        (json.dumps({"custom_id": "X", "response": None, "error": "x"}).encode(), "provider"),
        (json.dumps({"custom_id": 7, "response": None, "error": None}).encode(), "no_custom_id"),
        (json.dumps({"custom_id": "", "response": None, "error": None}).encode(), "no_custom_id"),
        (b'{"custom_id": "X", "response": null, "error": {"code": 5}}', "provider"),
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"custom_id": "X", "response": {"status_code": 1e400}}', "not_json"),
    ],
)
def test_odd_lines_have_their_reasons(text: bytes, expected: str) -> None:
    assert code(TEXT, text) == expected


def test_usage_keeps_counts_only() -> None:
    body = reply("hi")
    body["usage"] = {"prompt_tokens": 1, "x": "2", "y": -1, "z": True, "details": {"cached": 3, "w": None}}
    assert TEXT.read(line(body), FileRole.OUTPUT).verdict.usage == {"prompt_tokens": 1, "details": {"cached": 3}}


def test_a_paid_failure_keeps_its_usage_and_model() -> None:
    verdict = TEXT.read(line(reply("half", "length")), FileRole.OUTPUT).verdict
    assert (verdict.usage, verdict.model) == ({"prompt_tokens": 1}, "m")


def test_an_error_body_too_deep_for_the_trail_stays_in_the_line() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    failure = TEXT.read(line({"error": deep}, status=400), FileRole.OUTPUT).verdict.failure
    assert failure is not None
    assert failure.detail is not None
    assert "omitted" in failure.detail


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats(allow_nan=False)
    | strategies.text() | strategies.sampled_from([200, 429, "content_filter", "length", "batch_expired"]),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(
        strategies.sampled_from(
            ["custom_id", "response", "error", "status_code", "body", "choices", "message", "content", "index",
             "finish_reason", "refusal", "usage", "model", "code", "innererror", "text"]
        ), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@settings(deadline=None)
@given(JSON, strategies.sampled_from([TEXT, LABELS]))
def test_no_line_of_json_is_ever_too_much(value: Any, reader: AnswerReader) -> None:
    record = {"custom_id": "X", **value} if isinstance(value, dict) else {"custom_id": "X", "response": value}
    answer = reader.read(json.dumps(record).encode(), FileRole.ERROR)
    assert line_id(json.dumps(record).encode()) == answer.custom_id
    failure = answer.verdict.failure
    assert (failure is None) == (answer.verdict.answer is not None)
    if failure is not None:
        compact_json(failure.detail)


@settings(deadline=None)
@given(
    strategies.binary() | strategies.sampled_from([c["line"].encode() for c in load("result_lines.json")]),
    strategies.integers(0, 400),
)
def test_no_bytes_are_ever_too_much(data: bytes, cut: int) -> None:
    assert line_id(data[:cut]) == LABELS.read(data[:cut], FileRole.OUTPUT).custom_id
