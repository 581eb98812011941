"""Durations on the command line."""

from __future__ import annotations

import pytest

from elspeth.cli.durations import parse_duration_s
from elspeth.contracts import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("8s", 8), ("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("1h30m", 5_400), ("0.5s", 0.5)]
)
def test_a_duration_is_a_number_of_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "s", "8 s", "-8s", "8w", "8s or so", "1e3s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration_s(text)
    assert "30m" in (caught.value.hint or "")
