"""The short way of the usual line, and of the usual reply, says what the long way says."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings, strategies
from tests.plugins.llm.conftest import LABEL_SCHEMA, load

from elspeth.contracts import AnswerLine, FileRole
from elspeth.core.canonical import decode_json
from elspeth.plugins.llm.answers import AnswerReader, AnswerShape
from elspeth.plugins.llm.usual_lines import usual_line, usual_reply

TEXT = AnswerReader(AnswerShape(text_field="reply", schema=None, prefix="", metadata_prefix="m"))
LABELS = AnswerReader(AnswerShape(text_field="reply", schema=LABEL_SCHEMA, prefix="p_", metadata_prefix=None))


def usual() -> dict[str, Any]:
    message = {"role": "assistant", "content": '{"label": "a"}', "refusal": None, "annotations": []}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None, "content_filter_results": {}}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 0}}
    body = {"id": "c", "object": "o", "created": 1.5, "model": "m", "choices": [choice], "usage": usage}
    body |= {"system_fingerprint": None, "service_tier": "batch", "prompt_filter_results": [1e3]}
    return {
        "id": "b",
        "custom_id": "row-1-0",
        "response": {"status_code": 200, "request_id": "r", "body": body},
        "error": None,
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in members for place in places(item, (*path, key)))]


PLACES = places(usual())
SCALARS = strategies.sampled_from(
    [None, True, False, 0, -1, 1.0, 7, 10**12, 10**30, float("inf"), "", "stop", "length", "tool_calls", "x", "é\ud800"]
)
JUNK = SCALARS | strategies.sampled_from(
    [[], {}, [{}], {"a": 1}, {"a": {"b": 1, "c": None}}, {"code": "x"}, '{"label": "a", "label": "b"}']
)
EDITS = strategies.lists(
    strategies.tuples(strategies.sampled_from(PLACES), strategies.sampled_from(["set", "drop", "add", "twice"]), JUNK),
    max_size=3,
)
BYTES = strategies.none() | strategies.tuples(strategies.integers(0, 600), strategies.binary(max_size=3))

NUMBERS = (
    "0 -0 -0.0 7 01 1. .5 - 1e5 1E-7 1.0E+2 1e400 -1e400 1e-400 5e-324 1e23 2.2250738585072011e-308 "
    "1.7976931348623159e308 9007199254740993 9007199254740993.0 18446744073709551616 -9223372036854775809 "
    "NaN Infinity -Infinity true null nul"
)
TEXTS = [
    '""',
    '"a"',
    '"a:b"',
    '"{["',
    r'"\""',
    r'"\u003a"',
    r'"\ud800"',
    r'"\ud83d\ude00"',
    '"\ud800"',
    '"é\x7f"',
    '"\t"',
    '"a',
]
LEAVES = strategies.sampled_from([*NUMBERS.split(), "1" * 400, "1" * 5000, "0." + "1" * 400, *TEXTS])
SPACES = strategies.sampled_from(["", " ", "\n\t\r ", "\x0b", "\u00a0", "\ufeff"])
KEYS = strategies.sampled_from(['"a"', '"b"', r'"\u0061"', '"a:"', '""', "a", "1"])


def arrays(items: strategies.SearchStrategy[str]) -> strategies.SearchStrategy[str]:
    return strategies.lists(items, max_size=3).map(lambda found: f"[{','.join(found)}]")


def objects(items: strategies.SearchStrategy[str]) -> strategies.SearchStrategy[str]:
    member = strategies.tuples(KEYS, SPACES, items).map(lambda found: f"{found[0]}{found[1]}:{found[2]}")
    return strategies.lists(member, max_size=3).map(lambda found: "{" + ",".join(found) + "}")


REPLIES = objects(strategies.recursive(LEAVES, lambda items: arrays(items) | objects(items), max_leaves=6))
DEEP = strategies.tuples(strategies.integers(0, 3), strategies.integers(0, 140)).map(
    lambda depths: '{"a":' + "[" * depths[0] + "[" * depths[1] + "{}" + "]" * depths[1] + "]" * depths[0] + "}"
)


def edited(edits: list[tuple[tuple[Any, ...], str, Any]], damage: tuple[int, bytes] | None) -> bytes:
    value: Any = usual()
    for path, how, one in edits:
        junk = deepcopy(one)  # or an edit of an edit would change the next example, too
        try:
            if not path:
                value = {**value, "more": junk} if how == "add" else value
                continue
            owner = value
            for key in path[:-1]:
                owner = owner[key]
            if how == "drop":
                del owner[path[-1]]
            elif how == "set":
                owner[path[-1]] = junk
            elif how == "add":
                owner[path[-1]]["more"] = junk
            else:
                owner[path[-1]].append(junk)
        except (AttributeError, IndexError, KeyError, TypeError):
            continue
    line = json.dumps(value).encode() + b"\n"
    if damage is not None:
        at, data = damage
        line = line[:at] + data + line[at + len(data) :]
    return line


def shown(answer: AnswerLine) -> tuple[Any, ...]:
    verdict = answer.verdict
    failure = verdict.failure
    said = None if failure is None else (failure.code, failure.message, failure.detail)
    fields = None if verdict.answer is None else repr(list(verdict.answer.items()))
    return (answer.custom_id, fields, said, verdict.is_retryable, repr(verdict.usage), verdict.model)


@settings(deadline=None)
@given(EDITS, BYTES)
def test_a_line_means_the_same_either_way(
    edits: list[tuple[tuple[Any, ...], str, Any]], damage: tuple[int, bytes] | None
) -> None:
    line = edited(edits, damage)
    for reader in (TEXT, LABELS):
        for role in (FileRole.OUTPUT, FileRole.ERROR):
            assert shown(reader.read(line, role)) == shown(reader.read_any(line, role))


@pytest.mark.parametrize("case", load("result_lines.json"), ids=lambda case: str(case["case"]))
def test_every_line_of_the_wire_means_the_same_either_way(case: dict[str, Any]) -> None:
    line = case["line"].encode()
    assert shown(LABELS.read(line, FileRole.OUTPUT)) == shown(LABELS.read_any(line, FileRole.OUTPUT))


def test_a_good_line_is_usual() -> None:
    line = json.dumps(usual()).encode()
    assert usual_line(line) is not None
    assert LABELS.read(line, FileRole.OUTPUT).verdict.answer == {"p_label": "a"}


def test_what_is_skipped_by_others_is_read_here() -> None:
    """A typed decoder does not look into members that it does not know: these must not be accepted by it."""
    good = json.dumps(usual()).encode()
    for member in (b'"x": "\xff"', b'"x": 1e999', b'"x": ' + b"1" * 5000):
        assert usual_line(good[:-1] + b", " + member + b"}") is None
        assert usual_line(good.replace(b'"id": "b"', member.replace(b'"x"', b'"id"'))) is None


@settings(deadline=None, max_examples=500)
@given(REPLIES | DEEP, SPACES, SPACES)
def test_a_usual_reply_is_read_as_strictly_as_any(reply: str, before: str, after: str) -> None:
    text = before + reply + after
    value = usual_reply(text)
    if value is not None:
        assert repr(decode_json(text)) == repr(value)


@pytest.mark.parametrize(
    ("text", "is_usual"),
    [
        ('{"label": "a", "score": 0.5, "tags": ["x", "y"], "note": null}', True),
        ("{}", True),
        ('{"label": "a", "label": "a"}', False),
        ('{"label": "a: b"}', False),
        ('{"label": {"a": 1}}', False),
        ('["a"]', False),
        ("no JSON", False),
    ],
)
def test_a_usual_reply_is_one_object_without_others(text: str, is_usual: bool) -> None:
    assert is_usual == (usual_reply(text) is not None)
