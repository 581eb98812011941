"""What makes two requests the same one."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.request_lines import asked_by, request_key
from elspeth.engine.batch import custom_id

LINE = b'{"custom_id":"row-7-1","method":"POST","url":"/v1","body":{"q":"row-7-1"}}\n'
rows, attempts = st.integers(0, 10**12), st.integers(0, 99)


def line(row: int, attempt: int, prompt: str) -> bytes:
    request = {"custom_id": custom_id(row, attempt), "method": "POST", "body": {"prompt": prompt}}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@given(rows, attempts, st.text())
def test_a_line_names_its_row_and_attempt(row: int, attempt: int, prompt: str) -> None:
    assert (row, attempt) == asked_by(line(row, attempt, prompt))


@given(rows, rows, attempts, attempts, st.text(), st.text())
def test_requests_are_the_same_when_they_ask_the_same(
    row: int, other_row: int, attempt: int, other_attempt: int, prompt: str, other_prompt: str
) -> None:
    keys = request_key(line(row, attempt, prompt), "a"), request_key(line(other_row, other_attempt, other_prompt), "a")

    assert (prompt == other_prompt) == (keys[0] == keys[1])


def test_it_matters_who_answers() -> None:
    assert request_key(LINE, "one") != request_key(LINE, "another")


def test_an_id_in_the_prompt_is_part_of_the_prompt() -> None:
    other = LINE.replace(b'"custom_id":"row-7-1"', b'"custom_id":"row-8-0"')

    assert request_key(LINE, "a") == request_key(other, "a")
    assert request_key(LINE, "a") != request_key(other.replace(b'"q":"row-7-1"', b'"q":"row-8-0"'), "a")


def test_the_bytes_before_and_behind_the_id_and_who_answers_are_hashed_apart() -> None:
    head, tail = b'{"custom_id":"', b'","method":"POST","url":"/v1","body":{"q":"row-7-1"}}\n'

    assert hashlib.sha256(b"a\0" + head + b"\0" + tail).digest() == request_key(LINE, "a")


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"{}\n",
        b'{"method":"POST","custom_id":"row-7-1"}\n',
        b'{"custom_id": "row-7-1"}\n',
        b'{"custom_id":"mine-7"}\n',
        b'{"custom_id":"row-7"}\n',
        b' {"custom_id":"row-7-1"}\n',
    ],
)
def test_a_line_that_begins_otherwise_is_like_no_other(other: bytes) -> None:
    assert asked_by(other) is None
    assert request_key(other, "a") is None
