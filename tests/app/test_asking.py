"""What was asked for a row, how like two requests are, and what an answer cost."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from elspeth.app.asking import Likeness, asked, likeness, request_body
from elspeth.contracts import Price
from elspeth.core.canonical import sha256

PRICE = {"ask": Price(input_per_mtok=Decimal("1.25"), output_per_mtok=Decimal(5), origin="test")}


def request(custom_id: str = "row-0-0", **body: Any) -> dict[str, Any]:
    line = json.dumps({"custom_id": custom_id, "method": "POST", "body": body}) + "\n"
    return {"line": line, "sha256": sha256(line.encode()).hex()}


def reply(usage: dict[str, int] | None, status: int = 200) -> dict[str, Any]:
    body = {"model": "m"} if usage is None else {"model": "m", "usage": usage}
    line = json.dumps({"custom_id": "row-0-0", "response": {"status_code": status, "body": body}, "error": None})
    return {"line": line, "sha256": "00"}


def step(*replies: dict[str, Any] | None, output: dict[str, Any] | None) -> dict[str, Any]:
    attempts = [
        {"batch": number + 1, "attempt": number, "request": request(f"row-0-{number}"), "reply": one}
        for number, one in enumerate(replies)
    ]
    shown = {"name": "ask", "input": {"a": 1, "b": 1}, "output": output, "attempts": attempts}
    return shown if output is not None else {**shown, "error": {"code": "schema"}}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (request(x=1), request(x=1), Likeness.IDENTICAL),
        (request(x=1), request("row-7-1", x=1), Likeness.RENAMED),
        (request(x=1), request(x=2), Likeness.OTHER),
        (request(x=1), request("row-7-1", x=1.0), Likeness.OTHER),
        (request(x=1), None, Likeness.OTHER),
        (None, None, Likeness.OTHER),
        ({"line": "base64:eA==", "sha256": "1"}, {"line": "base64:eA==", "sha256": "2"}, Likeness.OTHER),
        ({"line": None, "sha256": "1"}, {"line": None, "sha256": "1"}, Likeness.IDENTICAL),
        ({"line": None, "sha256": "1"}, request(x=1), Likeness.UNKNOWN),
    ],
)
def test_how_like_two_requests_are(one: Any, other: Any, expected: Likeness) -> None:
    assert expected is likeness(one, other)
    assert expected is likeness(other, one)


def test_the_body_of_a_line_leaves_out_nothing_but_the_custom_id() -> None:
    assert '{"method":"POST","body":{"x":1}}' == request_body(request(x=1))
    assert request_body({"line": '["custom_id"]'}) is None
    assert request_body({"line": '{"x": 1}'}) is None
    assert request_body({"line": None}) is None


def test_of_purged_bytes_neither_answer_nor_cost_is_known() -> None:
    mark = {"at": "2031-05-07T00:00:00.000000Z", "by": "ana@host", "why": "90 days", "class": "rows"}
    answered = {**step(reply({"prompt_tokens": 1, "completion_tokens": 1}), output=None), "purged": mark}
    answered |= {"output_hash": "aa"}
    del answered["error"]
    (one,) = asked([answered], PRICE)
    assert (None, mark) == (one.answer, one.purged)
    assert one.cost_usd is not None, "the reply is still there"
    (two,) = asked([{**answered, "attempts": [{**answered["attempts"][0], "reply": reply(None)}]}], PRICE)
    assert two.cost_usd is None, "an answer without usage is not free"
    gone = {**answered["attempts"][0], "reply": {"line": None, "sha256": "00"}}
    (three,) = asked([{**answered, "attempts": [gone]}], PRICE)
    assert three.cost_usd is None
    failed = {**step(reply(None), output=None), "purged": mark, "output_hash": None}
    (four,) = asked([failed], PRICE)
    assert (None, "schema") == (four.purged, (four.error or {})["code"])


def test_an_answer_is_what_the_step_gave_the_row() -> None:
    (found,) = asked([step(reply({}), output={"a": 1, "b": 1.0, "c": None})], PRICE)
    assert {"b": 1.0, "c": None} == found.answer
    assert found.error is None


def test_only_the_last_attempt_has_the_answer_or_the_error() -> None:
    first, last = asked([step(reply(None, 429), reply({}), output={"a": 2})], PRICE)
    assert (None, {"a": 2}) == (first.answer, last.answer)
    first, last = asked([step(reply(None, 429), reply({}), output=None)], PRICE)
    assert (None, {"code": "schema"}) == (first.error, last.error)
    assert [] == list(asked([{"name": "tidy", "input": {}, "output": {}}], PRICE))


@pytest.mark.parametrize(
    ("given", "output", "prices", "expected"),
    [
        (reply({"prompt_tokens": 100, "completion_tokens": 10}), {}, PRICE, Decimal("0.000175")),
        (reply({"input_tokens": 100, "output_tokens": 10}), {}, PRICE, Decimal("0.000175")),
        (reply({"prompt_tokens": 100, "completion_tokens": 10}), None, PRICE, Decimal("0.000175")),
        (reply({"prompt_tokens": 100}), {}, {}, None),
        (reply(None), {}, PRICE, None),
        (reply(None, 429), None, PRICE, Decimal(0)),
        (None, {}, PRICE, None),
        ({"line": "no JSON"}, {}, PRICE, None),
    ],
)
def test_a_request_costs_what_its_reply_used(given: Any, output: Any, prices: Any, expected: Any) -> None:
    (found,) = asked([step(given, output=output)], prices)
    assert expected == found.cost_usd
