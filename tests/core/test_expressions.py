"""Gate expressions: what is allowed, what is refused and where, and what fails on a row."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from elspeth.core import expressions
from elspeth.core.expressions import Expression, ExpressionError, ExpressionFailure, did_you_mean

ROW: dict[str, Any] = {
    "urgency": 4,
    "team": "Legal",
    "note": None,
    "meta": {"tags": ["a", "b"], "n": {"deep": 1}},
    "amount": Decimal("12.50"),
    "day": date(2024, 5, 1),
    "größe": 7,
}


INSIDE = "write row['field']['entry'] for a place in a field"
FUNCTIONS = "there are abs, endswith, len, lower, max, min, round, startswith, upper"


def test_public_names_are_sorted_and_complete() -> None:
    assert sorted(expressions.__all__) == expressions.__all__


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("row['urgency'] >= 4", True),
        ("0 < row['urgency'] < 4", False),
        ("row['team'] in ['Legal', 'Press']", True),
        ("row['team'] not in ('Legal',)", False),
        ("row['urgency'] in {1, 2, 4}", True),
        ("'eg' in row['team']", True),
        ("row['team'] == 'Legal' and not row['urgency'] > 9", True),
        ("row['note'] or row['team']", "Legal"),
        ("row.get('missing')", None),
        ("row.get('missing', 3) + 1", 4),
        ("'high' if row['urgency'] > 3 else 'low'", "high"),
        ("-row['urgency'] * 2 + 7 // 2 - 7 % 4 / 2", -6.5),
        ("lower(row['team']) == 'legal'", True),
        ("upper(row['team'])", "LEGAL"),
        ("startswith(row['team'], 'Le') and endswith(row['team'], 'al')", True),
        ("len(row['meta']['tags'])", 2),
        ("row['meta']['tags'][-1]", "b"),
        ("row['meta']['n']['deep'] == 1", True),
        ("row.get('meta')['tags'][0]", "a"),
        ("abs(-3) + min(1, 2) + max(1, 2) + round(2.567, 1)", 8.6),
        ("row['amount'] * 2 == 25", True),
        ("row['größe'] == 7", True),
        ("  row['urgency']\n  == 4\n", True),
        ("row['team'] == 'a # b'", False),
        ("row['team'] == 'it''s'", False),
        ("row['team'] == 'back\\'slash = && !'", False),
    ],
)
def test_an_allowed_expression_has_pythons_value(text: str, value: object) -> None:
    assert value == Expression.parse(text).evaluate(ROW)


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("", 0, "the expression is empty", None),
        ("  \n", 0, "the expression is empty", None),
        ("row.urgency > 3", 0, "a row's fields are not attributes", "write row['urgency']"),
        ("row['ü'] == 1 and row.x", 18, "a row's fields are not attributes", "write row['x']"),
        ("  row['a'] = 4", 11, "= is no operator here", "write == to compare"),
        ("row['a'] && row['b']", 9, "&& is no operator here", "write and"),
        ("row['a'] || row['b']", 9, "|| is no operator here", "write or"),
        ("!row['a']", 0, "! is no operator here", "write not"),
        ("row['a'] === 1", 9, "=== is no operator here", "write =="),
        ("row['a'] <> 1", 9, "<> is no operator here", "write !="),
        ("row['a'] & 1", 0, "the operator & is not allowed in a gate", "write and"),
        ("row['a'] ** 2", 0, "the operator ** is not allowed in a gate", None),
        ("row['a'] << 2", 0, "the operator << is not allowed in a gate", None),
        ("urgency > 3", 0, "'urgency' means nothing here", "write row['urgency'] for the field"),
        ("row['a'] == true", 12, "'true' means nothing here", "write True"),
        ("row['a'] == null", 12, "'null' means nothing here", "write None"),
        ("row['a'] is None", 0, "'is' is not allowed in a gate", "write =="),
        ("row['a'].lower() == 'x'", 0, "the method 'lower' cannot be called in a gate", "write lower(row['a'])"),
        ("lowr(row['a'])", 0, "there is no function 'lowr'", "did you mean 'lower'?"),
        ("len", 0, "'len' is a function", "write len(...)"),
        ("len(row['a'], 2)", 0, "len does not take 2 values", None),
        ("max(row['a'], *row['b'])", 14, "arguments are given by position only", None),
        ("row", 0, "the row itself is no value", "write row['field']"),
        ("row[name]", 4, "a field's name must be a text in quotes", "write row['name']"),
        ("row[0]", 4, "a field's name must be a text in quotes", "write row['field']"),
        ("row.get('a', 1, 2)", 0, "row.get takes a field and a default", None),
        ("row['a'][row['b']]", 9, "a place in a field is a text or a whole number in brackets", None),
        ("row['a'][True]", 9, "a place in a field is a text or a whole number in brackets", None),
        ("row['a'][0:2]", 9, "a place in a field is a text or a whole number in brackets", None),
        ("[1][0]", 0, "only fields of the row can be looked into", "write row['field'][...]"),
        ("row['a'] == [1]", 12, "a list may only stand to the right of 'in'", None),
        ("f'{row}'", 0, "f-strings cannot stand in a gate", "join texts with +"),
        ("[x for x in row['a']]", 0, "loops cannot stand in a gate", None),
        ("lambda: 1", 0, "functions cannot be made in a gate", None),
        ("row['a'] > 1 # why", 13, "comments cannot stand in an expression", None),
        ("'''a'''", 0, "strings with three quotes are not allowed", None),
        ("'a\nb'", 2, "a string must end on its line", None),
        ("b'x'", 0, "a value of type bytes cannot stand in a gate", None),
        ("1e999", 0, "this number is too large", None),
        ("(row['a']", 0, "this is no valid expression: '(' was never closed", None),
        ("-" * 9000 + "1", 0, "the expression is nested too deeply", None),
        ("1" + "+1" * 200, 0, "the expression is nested too deeply", None),
        ("x" * 10_001, 0, "the expression is longer than 10,000 characters", None),
        ("row['a'].__class__", 0, "attributes cannot be read in a gate", INSIDE),
        ("__multiply(1, 2)", 0, "there is no function '__multiply'", FUNCTIONS),
    ],
)  # fmt: skip
def test_anything_else_is_refused_at_its_place(text: str, offset: int, message: str, hint: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse(text)
    error = caught.value
    assert (offset, message, hint) == (error.offset, error.message, error.hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row['mising'] > 1", "the row has no field 'mising'"),
        ("row['meta']['nope']", "there is no entry 'nope'"),
        ("row['meta']['tags'][7]", "list index out of range"),
        ("row['note'] > 3", "'>' not supported between instances of 'NoneType' and 'int' (row['note'] is empty)"),
        ("row['team'] > 3", "'>' not supported between instances of 'str' and 'int'"),
        ("row['urgency'] / 0", "division by zero"),
        ("row['amount'] / 0", "division by zero"),
        ("row['team'] * 3", "* works on numbers, not on str"),
        ("row['meta']['tags'] * 3", "* works on numbers, not on list"),
        ("row['team'] % 3", "% works on numbers, not on str"),
        ("lower(row['urgency'])", "lower needs text, not int"),
        ("round(row['urgency'], -999999999)", "a number is too large"),
        ("round(row['huge'])", "a number is too large"),
        ("row['huge'] * 10 // 7", "these decimals have no such result"),
        ("row['meta'] in {1, 2}", "unhashable type: 'dict'"),
        ("row['day'] < 3", "'<' not supported between instances of 'datetime.date' and 'int'"),
    ],
)
def test_a_row_of_the_wrong_kind_is_a_failure_with_its_reason(text: str, message: str) -> None:
    row = {**ROW, "huge": Decimal("1E+999999")}
    with pytest.raises(ExpressionFailure) as caught:
        Expression.parse(text).evaluate(row)
    assert message == caught.value.message


def test_no_small_expression_makes_a_large_number() -> None:
    row = {"n": 1 << 600_000}
    with pytest.raises(ExpressionFailure, match="too large"):
        Expression.parse("row['n'] * row['n']").evaluate(row)


def test_the_fields_it_reads_are_known_with_their_places() -> None:
    expression = Expression.parse("row['ä'] > 1 and row.get('b', row['c']) == row['ä']")
    assert frozenset({"ä", "c"}) == expression.fields
    assert frozenset({"b"}) == expression.optional_fields
    assert expression.offsets == {"ä": 0, "b": 17, "c": 30}


def test_a_field_read_both_ways_is_required() -> None:
    expression = Expression.parse("row.get('a') == row['a']")
    assert (frozenset({"a"}), frozenset()) == (expression.fields, expression.optional_fields)


def test_values_are_the_fields_that_the_row_has() -> None:
    expression = Expression.parse("row.get('b', 0) + row['a']['x']")
    assert expression.values({"z": 1, "a": {"x": 1}}) == {"a": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "is_boolean"),
    [
        ("row['a'] > 1", True),
        ("not row['a']", True),
        ("row['a'] > 1 and row['b'] in (1,)", True),
        ("row['a'] > 1 and row['b']", False),
        ("startswith(row['a'], 'x')", True),
        ("True if row['a'] else row['b'] == 1", True),
        ("'x' if row['a'] else 'y'", False),
        ("row['a']", False),
    ],
)
def test_it_knows_whether_it_can_only_be_true_or_false(text: str, is_boolean: bool) -> None:
    assert is_boolean == Expression.parse(text).is_boolean


def test_equal_texts_are_equal_expressions() -> None:
    one, other = Expression.parse("row['a']"), Expression.parse("row['a']")
    assert one == other
    assert hash(one) == hash(other)
    assert one != Expression.parse("row['b']")


def test_a_far_word_gets_no_suggestion() -> None:
    assert did_you_mean("zzzz", ["alpha"]) is None
