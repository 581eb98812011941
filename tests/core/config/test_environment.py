"""Variables: `.env`, references in values, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.config.environment import read_dotenv
from elspeth.core.config.pipeline import Pipeline

WithOptions = Callable[[str], str]


def options(pipeline: Pipeline) -> Any:
    return pipeline.plugin_options()[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = x y ", {"A": "x y"}),
        ("A=x # comment", {"A": "x"}),
        ("A=x#y", {"A": "x#y"}),
        ("A=#y", {"A": ""}),
        ("A=", {"A": ""}),
        ("A='a # $b \\n' # c", {"A": "a # $b \\n"}),
        ('A="a\\n\\"b\\" $c"', {"A": 'a\n"b" $c'}),
        ("A=a=b==", {"A": "a=b=="}),
        ("# A=1\n\n  \r\nA=2\r\n", {"A": "2"}),
        ("\ufeffA=1", {"A": "1"}),
    ],
)
def test_dotenv_lines_are_read(tmp_path: Path, line: str, expected: dict[str, str]) -> None:
    file = tmp_path / ".env"
    file.write_text(line, encoding="utf-8", newline="")
    assert (expected, []) == read_dotenv(file)


def test_no_dotenv_is_no_error(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == ({}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OK=1\nsk-secret-value\n", "a line must be NAME=VALUE"),
        ("OK=1\n1A=sk-secret-value\n", "a line must be NAME=VALUE"),
        ("OK=1\nA='sk-secret-value\n", "a quote is not closed, or text follows it"),
        ('OK=1\nA="sk" secret-value\n', "a quote is not closed, or text follows it"),
    ],
)
def test_a_bad_dotenv_line_has_a_place_and_shows_nothing(folder: Any, head: str, text: str, message: str) -> None:
    folder.write(".env", text)
    found = folder.faults(head)
    assert [("BAD_DOTENV", str(folder.path / ".env"), 2, message)] == [
        (d.code, d.file, d.line, d.message) for d in found
    ]
    assert "secret-value" not in repr(found)


def test_a_dotenv_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"A=\xff")
    assert [d.message for d in read_dotenv(file)[1]] == ["this file is not UTF-8"]


def test_dotenv_never_overrides_a_set_variable(folder: Any, head: str) -> None:
    folder.write(".env", "A=file\nB=file\n")
    pipeline = folder.load(head.replace("demo", "${A}-${B}"), {"A": "shell"})
    assert pipeline.name == "shell-file"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("max_requests: ${N}", {"N": "7"}, {"max_requests": 7}),
        ("max_requests: ${N:-8}", {}, {"max_requests": 8}),
        ("max_requests: ${N:-8}", {"N": ""}, {"max_requests": 8}),
        ("temperature: ${T}", {"T": "0.5"}, {"temperature": 0.5}),
        ("temperature: ${T:-}", {}, {"temperature": None}),
        ("strict: ${S}", {"S": "false"}, {"strict": False}),
        ("body: {user: 'a-${N}-b'}", {"N": "7"}, {"body": {"user": "a-7-b"}}),
        ("body: {user: '${N}'}", {"N": "7"}, {"body": {"user": "7"}}),
        ("body: {user: '$${N} costs $5 and $$'}", {}, {"body": {"user": "${N} costs $5 and $"}}),
        ("body: {user: '${A:-x:-y}'}", {}, {"body": {"user": "x:-y"}}),
        ("body: {user: '${A}'}", {"A": "${B} $$"}, {"body": {"user": "${B} $$"}}),
        ("body: {'${A}': 1}", {"A": "x"}, {"body": {"${A}": 1}}),
        ("body:\n  user: |\n    ${A}", {"A": "12"}, {"body": {"user": "12\n"}}),
        ("template: costs ${A} and $$", {"A": "x"}, {"template": "costs ${A} and $$"}),
        ("system_prompt: ${A}", {"A": "x"}, {"system_prompt": "${A}"}),
        ("body: {template: '${A}'}", {"A": "x"}, {"body": {"template": "x"}}),
    ],
)
def test_references_are_replaced_in_values(
    folder: Any, with_options: WithOptions, text: str, environ: dict[str, str], expected: dict[str, object]
) -> None:
    found = options(folder.load(with_options(text), environ))
    assert expected == {name: getattr(found, name) for name in expected}


def test_gates_are_left_alone(folder: Any, head: str) -> None:
    step = "steps: [{name: g, gate: \"row['a'] == '${A} $$'\", routes: {true: out, false: next}}]\n"
    (gate,) = folder.load(head + step).steps
    assert gate.expression.text == "row['a'] == '${A} $$'"


def test_a_missing_variable_is_an_error_at_its_reference(folder: Any, with_options: WithOptions) -> None:
    text = with_options("body: {user: 'for ${WHO} and ${WHAT}'}\nmax_requests: ${N}")
    assert folder.rendered(text) == (
        """\
p.yaml:8:25: error[ENV_MISSING]: the variable WHO is not set
          body: {user: 'for ${WHO} and ${WHAT}'}
                            ^
  hint: set WHO in the environment or in .env, or give a default: ${WHO:-...}
p.yaml:8:36: error[ENV_MISSING]: the variable WHAT is not set
          body: {user: 'for ${WHO} and ${WHAT}'}
                                       ^
  hint: set WHAT in the environment or in .env, or give a default: ${WHAT:-...}
p.yaml:9:21: error[ENV_MISSING]: the variable N is not set
          max_requests: ${N}
                        ^
  hint: set N in the environment or in .env, or give a default: ${N:-...}"""
    )


@pytest.mark.parametrize("reference", ["${}", "${1A}", "${A-b}", "${A", "${ A }", "${A:?x}"])
def test_what_is_no_reference_is_an_error(folder: Any, with_options: WithOptions, reference: str) -> None:
    found = folder.faults(with_options(f"body: {{user: '{reference}'}}"), {"A": "x"})
    assert [(d.code, d.line) for d in found] == [("BAD_REFERENCE", 8)]


def test_a_value_that_is_not_utf8_is_an_error(folder: Any, with_options: WithOptions) -> None:
    found = folder.faults(with_options("body: {user: '${A}'}"), {"A": "x\udc80"})
    assert [d.message for d in found] == ["the value of A is not UTF-8"]


def test_a_value_from_the_environment_is_in_no_message(folder: Any, with_options: WithOptions) -> None:
    found = folder.faults(with_options("max_requests: ${A}\nmode: ${A}\nwait: ${A}"), {"A": "sk-live-abc"})
    assert len(found) == 3
    assert "sk-live-abc" not in repr(found)
