"""Checks that say what was expected; pytest rewrites asserts in test files only, and these are none."""

from __future__ import annotations

__all__ = ["expect", "expect_equal"]

_SHOWN_CHARACTERS = 500


def expect(holds: bool, sentence: str) -> None:
    """Raises AssertionError with the sentence that does not hold."""
    if not holds:
        raise AssertionError(sentence)


def expect_equal(actual: object, expected: object, sentence: str) -> None:
    """Raises AssertionError with the sentence and both values when they differ."""
    if actual != expected:
        raise AssertionError(f"{sentence}\n  actual:   {_shown(actual)}\n  expected: {_shown(expected)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"
