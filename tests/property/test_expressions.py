"""Expressions never raise anything but their own errors, and agree with Python."""

from __future__ import annotations

import contextlib
import string
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.core.expressions import Expression, ExpressionError, ExpressionFailure

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from("abc"), VALUES)
WORDS = """row ['a'] ['b'] .get( 'a' ) ( + - * / // % ** == < >= != and or not in if else 1 2.5 len( round( , [ ]
{ } ' " # \\ = && : . lambda f' ü True None min( lower("""
TOKENS = st.sampled_from([*WORDS.split(), " ", "\n", "\0"])

READS = st.sampled_from(["row['a']", "row['b']", "row.get('c')", "row.get('c', 1)", "row['a']['b']", "row['b'][0]"])
CONSTANTS = (
    st.integers(-9, 9).map(lambda n: f"({n})")
    | st.sampled_from(["True", "False", "None", "2.5", "'x'", "'a b'", "''"])
)  # fmt: skip


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    binary = st.sampled_from(
        ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
    )
    return (
        st.tuples(inner, binary, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
        | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} < {t[1]} <= {t[2]})")
        | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} in [{t[1]}, {t[2]}])")
        | st.tuples(st.sampled_from(["len", "abs", "round", "lower", "upper"]), inner).map(lambda t: f"{t[0]}({t[1]})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | inner.map(lambda text: f"(not {text})")
        | inner.map(lambda text: f"(-{text})")
    )


VALID = st.recursive(READS | CONSTANTS, combined, max_leaves=12)


def same(left: object, right: object) -> bool:
    """Equal and of one type (True is not 1 here), or both not a number."""
    return type(left) is type(right) and (left == right or repr(left) == repr(right))


def python_value(text: str, row: dict[str, Any]) -> object:
    """What Python itself makes of the text; an exception's type where it fails."""
    names = {"len": len, "abs": abs, "round": round, "min": min, "max": max, "lower": str.lower, "upper": str.upper}
    try:
        return eval(text, {"__builtins__": {}, **names, "row": row})
    except Exception as error:  # noqa: BLE001 (whatever Python says)
        return error


@given(st.text() | st.text(string.printable) | st.lists(TOKENS, max_size=25).map("".join), ROWS)
@example("\ud800", {})
@example("'\\N{DOES NOT EXIST}'", {})
@example("0_", {})
@example("'\\d' in row['a']", {"a": "\\d"})
@example("1 in 5", {})
@example("row['a'][0](1)", {})
def test_nothing_but_its_own_errors_is_raised(text: str, row: dict[str, Any]) -> None:
    try:
        expression = Expression.parse(text)
    except ExpressionError as error:
        offset = error.offset
    else:
        offset = 0
        with contextlib.suppress(ExpressionFailure):
            expression.evaluate(row)
        assert expression.values(row).items() <= row.items()
    assert 0 <= offset <= len(text)


@given(VALID, ROWS)
def test_a_valid_expression_has_the_value_that_python_gives_it(text: str, row: dict[str, Any]) -> None:
    expected = python_value(text, row)
    try:
        actual = Expression.parse(text).evaluate(row)
    except ExpressionFailure:
        # Texts and lists are neither repeated nor formatted: the only difference.
        assert isinstance(expected, Exception) or "*" in text or "%" in text
    else:
        assert same(expected, actual)


def outcome(expression: Expression, row: dict[str, Any]) -> object:
    try:
        return expression.evaluate(row)
    except ExpressionFailure as failure:
        return failure


@given(VALID, st.lists(ROWS, max_size=6))
def test_many_rows_at_once_have_the_values_that_each_has(text: str, rows: list[dict[str, Any]]) -> None:
    expression = Expression.parse(text)
    together = expression.evaluate_each(rows)

    assert len(rows) == len(together)
    for row, found in zip(rows, together, strict=True):
        alone = outcome(expression, row)
        if isinstance(alone, ExpressionFailure):
            assert isinstance(found, ExpressionFailure)
            assert str(alone) == str(found)
        else:
            assert same(alone, found)
