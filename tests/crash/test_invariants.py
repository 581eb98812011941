"""The checks themselves: what they must find."""

from __future__ import annotations

import pytest
from tests.crash.invariants import Answer, is_cut_only_at_ends


def answers(names: str) -> list[Answer]:
    return [("files.list", "/v1/files", name) for name in names]


@pytest.mark.parametrize(
    ("given", "recorded", "is_right"),
    [
        ("abcd", ["abcd"], True),
        ("abcd", ["ab", "cd"], True),
        ("abcd", ["a", "cd"], True),
        ("abcd", ["", "cd"], True),
        ("aaba", ["a", "ba"], True),
        ("abcd", ["abc"], False),
        ("abcd", ["ab", "d", ""], True),
        ("abcd", ["ac", "d"], False),
        ("abcd", ["ab", "ce"], False),
        ("abcd", ["ab", "cde"], False),
        ("abcd", ["bcd"], False),
    ],
)
def test_answers_may_be_missing_at_the_end_of_a_process_only(given: str, recorded: list[str], is_right: bool) -> None:
    assert is_right == is_cut_only_at_ends(answers(given), [answers(names) for names in recorded])
