from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given, settings, strategies

from elspeth.contracts import RowError
from elspeth.plugins.llm.prompts import PromptError, PromptTemplate
from elspeth.plugins.llm.request_lines import RequestBuilder

TEXT = strategies.text()  # no lone surrogates
ANY_TEXT = strategies.text(strategies.characters(codec=None, exclude_categories=()))
IDS = strategies.text("abcXYZ0189-_.:", min_size=1, max_size=64)
VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | TEXT
    | strategies.floats(allow_nan=False, allow_infinity=False),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PARAMETERS = strategies.dictionaries(TEXT.filter(lambda name: name not in ("model", "messages")), VALUES, max_size=4)


def plain(url: str, model: str, system: str | None, parameters: dict[str, Any], custom_id: str, prompt: str) -> bytes:
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": prompt})
    body = {"model": model, "messages": messages, **parameters}
    line = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return (json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


@settings(deadline=None)
@given(TEXT, TEXT, strategies.none() | TEXT, PARAMETERS, IDS, IDS, TEXT)
def test_a_line_equals_the_plain_json_of_its_object(
    url: str, model: str, system: str | None, parameters: dict[str, Any], first: str, second: str, prompt: str
) -> None:
    builder = RequestBuilder(url=url, model=model, system_prompt=system, parameters=parameters)
    line = builder.line(first, prompt)
    assert line == plain(url, model, system, parameters, first, prompt)
    assert isinstance(line, bytes)
    assert line.count(b"\n") == 1
    assert builder.line(second, prompt) == plain(url, model, system, parameters, second, prompt)


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text_becomes_a_line_or_an_error(prompt: str) -> None:
    line = RequestBuilder(url="/u", model="m", system_prompt=None, parameters={}).line("id", prompt)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        assert isinstance(line, RowError)
    else:
        assert isinstance(line, bytes)
        assert json.loads(line)["body"]["messages"][0]["content"] == prompt


@settings(deadline=None)
@given(strategies.dictionaries(strategies.text(min_size=1), TEXT, min_size=1, max_size=4))
def test_a_prompt_holds_the_fields_verbatim_whatever_their_names(row: dict[str, str]) -> None:
    for name, value in row.items():
        template = PromptTemplate("<{{ row[" + json.dumps(name, ensure_ascii=False) + "] }}>")
        if name in template.fields:  # a name with escapes may be spelt otherwise in a template
            assert template.render(row) == f"<{value}>"


@settings(deadline=None)
@given(strategies.sampled_from(["items", "keys", "values", "get", "pop", "update", "copy", "__class__"]), TEXT)
def test_a_field_named_like_a_method_is_the_field(name: str, value: str) -> None:
    template = PromptTemplate("{{ row." + name + " }}")
    assert set(template.fields) == {name}
    assert template.render({name: value}) == value


@settings(deadline=None)
@given(TEXT.filter(lambda text: "{" not in text))
def test_text_without_marks_is_its_own_prompt(text: str) -> None:
    expected = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    assert PromptTemplate(text).render({}) == expected


READS = ["{{ row.a }}", "{{row['b']}}", "{{ row.items }}", "{{ row.gone }}", "{{ row['%s'] }}"]
MORE = ["{# no #}", "{{ row.a | upper }}", "{{ row.b ~ 1 }}", "{% if row.a %}x{% endif %}", "{{ lookup.k }}"]
MORE += ["{{- row.a -}}", "{{ 'c' }}", "{% raw %}{{ row.a }}{% endraw %}", "{% set x = 1 %}{{ x }}"]
PIECES = (
    strategies.sampled_from(READS)
    | strategies.sampled_from(["%s %(a)s %", "\n", "\r\n", " "])
    | strategies.sampled_from(MORE)
)
FIELDS = strategies.dictionaries(
    strategies.sampled_from(["a", "b", "items", "%s"]),
    VALUES
    | strategies.sampled_from([Decimal("1.50"), date(2024, 2, 29), (1, 2), float("inf"), 10**5000, object(), len]),
)


def rendered(render: Callable[..., str], row: dict[str, Any]) -> str:
    try:
        return "prompt " + render(row, {"k": "v"})
    except PromptError as error:
        return f"error {error.message}"


@settings(deadline=None)
@given(strategies.lists(PIECES | TEXT.filter(lambda text: "{" not in text), max_size=6), FIELDS)
def test_the_short_way_says_what_jinja_says(pieces: list[str], row: dict[str, Any]) -> None:
    template = PromptTemplate("".join(pieces))
    assert rendered(template.render, row) == rendered(template.render_any, row)
