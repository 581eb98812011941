"""Templates: what they may read, and what they render.

Also for sandbox.py.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from elspeth.contracts import PipelineError
from elspeth.plugins.llm.prompts import PromptError, PromptTemplate

ROW = {
    "title": "T",
    "items": [3, 1],
    "keys": "K",
    "nested": {"items": 1, "b": 2},
    "count": 10**6,
    "nothing": None,
    "day": date(2026, 1, 2),
    "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    "price": Decimal("1.10"),
    "html": "<b>&'\"",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ row.title }} {{ row['keys'] }}", "T K"),
        ("{{ row.items }} {{ row.nested.items }}", "[3, 1] 1"),
        ("{{ row.nested.keys() | list }}", "['items', 'b']"),
        ("{% for k, v in row.nested | items %}{{ k }}={{ v }};{% endfor %}", "items=1;b=2;"),
        ("{{ row.items | sort | join(',') }}", "1,3"),
        ("{{ row.items | map('string') }}", "['3', '1']"),
        ("{{ row.nothing }} {{ row.nothing | default('-', true) }}", "None -"),
        ("{{ row.day }} {{ row.price }}", "2026-01-02 1.10"),
        ("{{ [row.day, row.at, row.price] | tojson }}", '["2026-01-02", "2026-01-02T03:04:00+00:00", "1.10"]'),
        ("{{ row.html }} {{ row.html | tojson }}", '<b>&\'" "<b>&\'\\""'),
        ("{{ row.missing | default('none') }}", "none"),
        ("{{ 'x' if row.missing is defined else 'y' }}", "y"),
        ("{{ lookup.a[0] }}", "1"),
        ("one\ntwo\n", "one\ntwo"),
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(row.title) }}", "<T>"),
        ("{{ '%s-%s' | format(row.title, 1) }} {{ '{}'.format(row.title) }}", "T-1 T"),
    ],
)
def test_a_template_says_what_it_says(text: str, expected: str) -> None:
    assert PromptTemplate(text).render(ROW, {"a": [1]}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.missing }}",
        "{{ row['missing'] }}",
        "{{ row.get }}",
        "{{ row.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ row | attr('__class__') }}",
        "{{ '{0.__class__}'.format(row.title) }}",
        "{{ row.title.upper }}",
        "{{ range }}",
        "{{ row.nested | attr('keys') }}",
        "{{ range(10 ** 9) | list }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ row.count * 'xxxxxxxxxxxxxxxx' }}",
        "{{ row.items * row.count * 10 }}",
        "{{ 2 ** row.count }}",
        "{{ (2 ** 90000) * (2 ** 90000) }}",
        "{{ row.items.append(1) }}",
        "{{ row.nested.update({}) }}",
        "{{ row.nothing.x }}",
        "{{ row.title + 1 }}",
        "{{ row.items | sum(start='x') }}",
        "{{ row[row.title] }}",
        "{{ 1 / 0 }}",
        "{{ row.items[9] }}",
        "{{ lookup.missing }}",
        "{{ nosuch() if false else row.title.nosuch() }}",
    ],
)
def test_whatever_a_row_does_to_a_template_is_a_prompt_error(text: str) -> None:
    variables = {"row", "lookup", "nosuch"}
    row = {key: list(value) if isinstance(value, list) else value for key, value in ROW.items()}
    with pytest.raises(PromptError):
        PromptTemplate(text, variables=variables).render(row, {})
    assert row == ROW


@pytest.mark.parametrize(
    ("text", "code", "offset", "hint"),
    [
        ("a\nb {{ row.x ", "TEMPLATE_SYNTAX", 2, None),
        ("{{ row.x | nofilter }}", "TEMPLATE_SYNTAX", 0, None),
        ("{{ row.x | random }}", "TEMPLATE_SYNTAX", 0, None),
        ("{% include 'x' %}", "TEMPLATE_SYNTAX", 0, None),
        ("{% import 'x' as y %}", "TEMPLATE_SYNTAX", 0, None),
        ("{% extends 'x' %}", "TEMPLATE_SYNTAX", 0, None),
        ("{% block b %}{% endblock %}", "TEMPLATE_SYNTAX", 0, None),
        ("Hi\n  {{ rwo.x }}", "TEMPLATE_VARIABLE", 8, "did you mean 'row'?"),
        ("title {% if title %}{% endif %}", "TEMPLATE_VARIABLE", 12, "fields are read as row.title"),
        ("{{ title }}", "TEMPLATE_VARIABLE", 3, "fields are read as row.title"),
        ("{{ now() }}", "TEMPLATE_VARIABLE", 3, None),
        ("{{ lipsum() }}", "TEMPLATE_VARIABLE", 3, None),
        ("{{ cycler }}", "TEMPLATE_VARIABLE", 3, None),
        ("{{ self }}", "TEMPLATE_VARIABLE", 3, None),
        ("{% set row = 1 %}", "TEMPLATE_VARIABLE", 7, None),
        ("{% for row in [1] %}{{ row }}{% endfor %}", "TEMPLATE_VARIABLE", 7, None),
    ],
)
def test_what_no_row_can_mend_is_an_error_of_the_pipeline(text: str, code: str, offset: int, hint: str | None) -> None:
    with pytest.raises(PipelineError) as caught:
        PromptTemplate(text)
    problem = caught.value.diagnostics[0]
    assert (problem.code, problem.offset) == (code, offset)
    assert hint in (None, problem.hint)


@pytest.mark.parametrize(
    ("text", "fields", "reads_all"),
    [
        ("{{ row.a }} {{ row['b'] }} {{ row.a }}", {"a": 7, "b": 20}, False),
        ("{% if row.a and x is undefined %}{{ row.items | join }}{% endif %}", {"a": 10, "items": 40}, False),
        ("{{ row[row.a] }}", {"a": 11}, True),
        ("{{ row | tojson }}", {}, True),
        ("{% set r = row %}{{ r.x }}", {}, True),
        ("{% for k in row %}{{ k }}{% endfor %}", {}, True),
        ("{{ lookup.row }} {{ lookup['x'].row }}", {}, False),
        ("plain", {}, False),
        ("title of row: title {{ row . title }}", {"title": 29}, False),
    ],
)
def test_the_fields_that_a_template_reads_are_known(text: str, fields: Any, reads_all: bool) -> None:
    template = PromptTemplate(text, variables={"row", "lookup", "x"})
    assert (template.fields, template.reads_all) == (fields, reads_all)
