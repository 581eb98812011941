"""Reading YAML 1.2: values, places, and every way in which a file can be unreadable."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Diagnostic, PipelineError
from elspeth.core.config.document import UNPRINTABLE, Document, ListNode, MapNode, Node, parse_document, read_scalar


def value(node: Node) -> object:
    if isinstance(node, MapNode):
        return {name: value(entry.value) for name, entry in node.entries.items()}
    return [value(item) for item in node.items] if isinstance(node, ListNode) else node.value


def parse(text: str | bytes) -> Document:
    return parse_document("p.yaml", text if isinstance(text, bytes) else text.encode())


def fault(text: str | bytes) -> Diagnostic:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    (only,) = caught.value.diagnostics
    return only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("012", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        (".nan", ".nan"),
        ("2024-05-01", "2024-05-01"),
        ("9" * 5000, "9" * 5000),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_the_core_schema_and_nothing_else(text: str, expected: object) -> None:
    found = read_scalar(text)
    assert (type(expected), expected) == (type(found), found)


def test_quotes_make_text() -> None:
    assert value(parse("a: '1'\nb: \"true\"\nc: |\n  12\n").root) == {"a": "1", "b": "true", "c": "12\n"}


def test_a_byte_order_mark_and_crlf_are_read_over() -> None:
    document = parse(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n")
    assert value(document.root) == {"a": 1, "b": ["x"]}
    located = document.locate(Diagnostic(path=("b", 0), code="C", message="m"))
    assert (located.line, located.column, located.source_line) == (3, 5, "  - x")


def test_anchors_repeat_a_value() -> None:
    assert value(parse("a: &x {k: [1]}\nb: *x\n").root) == {"a": {"k": [1]}, "b": {"k": [1]}}


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "message", "hint"),
    [
        ("", "EMPTY_FILE", 1, 1, "the file is empty", "'elspeth init' writes one"),
        ("# only\n", "EMPTY_FILE", 1, 1, "the file is empty", "'elspeth init' writes one"),
        ("- a\n", "WRONG_TYPE", 1, 1, "a pipeline file is a mapping (key: value)", "'elspeth init' writes one"),
        ("--- {a: 1}\n--- {b: 1}\n", "YAML_SYNTAX", 2, 1, "a pipeline file holds one document only", None),
        ("a:\n\t- b\n", "YAML_SYNTAX", 2, 1, "a tab cannot stand here", "indent with spaces"),
        ("a: !!python/object x\n", "YAML_SYNTAX", 1, 4, "tags (tag:yaml.org,2002:python/object) have no use here", None),  # noqa: E501
        ("%YAML 1.1\n---\na: no\n", "YAML_SYNTAX", 1, 1, "directives (%...) have no use here", None),
        ("a: *x\n", "YAML_SYNTAX", 1, 4, "there is no anchor 'x' above", None),
        ("a: &x [*x]\n", "YAML_SYNTAX", 1, 8, "there is no anchor 'x' above", None),
        ("a: b\x01\n", "YAML_SYNTAX", 1, 5, "the character U+0001 cannot stand in a pipeline file", None),
        ('a: "\\ud800"\n', "YAML_SYNTAX", 1, 4, "this text has an escape for half a character", None),
        ('a: 1\nb: "\\U00110000"\n', "YAML_SYNTAX", 2, 2, "this is no valid YAML after here", None),
        (
            "options: {endpoint: ${X}}\n",
            "YAML_SYNTAX", 1, 22, "this is no valid YAML: expected ',' or '}', but got '{'",
            'inside { } and [ ] a reference needs quotes: "${NAME}"',
        ),
        (
            "gate: row['x'] == \"a: b\"\n",
            "YAML_SYNTAX", 1, 21, "this is no valid YAML: mapping values are not allowed here",
            "quote the whole expression: gate: 'row[''x''] == \"a: b\"'",
        ),
        (
            "- gate: 'a' in row['x']\n",
            "YAML_SYNTAX", 1, 13, "this is no valid YAML: expected the end, but found '<scalar>'",
            "quote the whole expression: gate: \"'a' in row['x']\"",
        ),
        (
            "- {gate: row['x'] > 1, routes: {}}\n",
            "YAML_SYNTAX", 1, 19, "this is no valid YAML: found character '>' that cannot start any token",
            "quote the whole expression",
        ),
    ],
)  # fmt: skip
def test_an_unreadable_file_is_one_error_at_its_place(
    text: str, code: str, line: int, column: int, message: str, hint: str | None
) -> None:
    found = fault(text)
    assert (code, "p.yaml", line, column) == (found.code, found.file, found.line, found.column)
    assert (message, hint) == (found.message, found.hint)


def test_bytes_that_are_not_utf8_have_a_place() -> None:
    found = fault("name: grün\nb: ".encode() + b"caf\xe9\n")
    assert (
        found.code,
        found.line,
        found.column,
        found.message,
    ) == ("INVALID_UTF8", 2, 7, "byte 0xe9 is not UTF-8")


def test_utf16_is_told_to_become_utf8() -> None:
    assert fault("a: 1\n".encode("utf-16")).hint == "save the file as UTF-8"


def test_a_file_has_a_largest_size() -> None:
    assert fault(b"#" * 5_000_001).code == "FILE_TOO_LARGE"


def test_aliases_cannot_multiply() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert fault("\n".join(lines)).message == "the file is nested too deeply or has too many values"


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{a: " * 10_000, "- " * 1000 + "x"])
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    assert fault(text).message == "the file is nested too deeply or has too many values"


def test_every_duplicate_key_is_reported_with_both_places() -> None:
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\ntrue: 1\nTrue: 2\n")
    assert [(d.code, d.line, d.column, d.message) for d in document.diagnostics] == [
        ("DUPLICATE_KEY", 2, 11, "the key 'c' stands here and on line 2"),
        ("DUPLICATE_KEY", 3, 1, "the key 'a' stands here and on line 1"),
        ("DUPLICATE_KEY", 5, 1, "the key 'true' stands here and on line 4"),
    ]
    assert value(document.root) == {"a": 1, "b": {"c": 1}, "true": 1}


def test_keys_that_are_no_text_are_reported() -> None:
    document = parse("? [a, b]\n: 1\n<<: {x: 1}\n")
    assert [(d.code, d.line, d.message) for d in document.diagnostics] == [
        ("NON_TEXT_KEY", 1, "a key must be a text"),
        ("NON_TEXT_KEY", 3, "merge keys are not part of YAML 1.2"),
    ]


def test_a_missing_value_is_placed_at_the_last_key_on_the_way() -> None:
    document = parse("a:\n  b: {c: 1}\n")
    located = document.locate(Diagnostic(path=("a", "b", "z", 3), code="C", message="m"))
    assert (located.line, located.column) == (2, 3)


def test_a_place_that_is_known_already_stays() -> None:
    known = Diagnostic(path=("a",), code="C", message="m", file="other.yaml", line=7, column=2)
    assert known == parse("a: 1\n").locate(known)


def test_what_may_be_a_secret_is_not_shown_when_nobody_knows() -> None:
    found = fault('options:\n  api_key: "sk-live-abc\n')
    assert "sk-live-abc" not in repr(found)


def test_masked_lines_are_cut_where_the_secret_begins() -> None:
    document = parse("k: |\n  secret1\n  secret2\nz: {a: hidden, b: 1}\n")
    document.mask(("k",))
    document.mask(("z", "a"))
    assert [document.positions.line_text(line, document.masked) for line in (1, 2, 3, 4)] == [
        "k: ***",
        "***",
        "***",
        "z: {a: ***",
    ]


@given(st.text() | st.text(st.sampled_from("ab:- \n\t'\"{}[],&*!|>%@#?<0\\$"), max_size=60))
def test_any_text_is_a_document_or_a_diagnostic_with_a_place(text: str) -> None:
    try:
        document = parse(text.encode("utf-8", "surrogatepass"))
    except PipelineError as error:
        (found,) = error.diagnostics
        assert found.file == "p.yaml"
    else:
        assert isinstance(document.root, MapNode)


def test_what_may_not_stand_in_a_file_is_what_yaml_does_not_have() -> None:
    """YAML 1.2, section 5.1: tab, line breaks, and all that is printable."""
    printable = re.compile("[\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    text = "".join(map(chr, range(sys.maxunicode + 1)))

    assert printable.sub("", text) == "".join(UNPRINTABLE.findall(text))


@given(st.binary())
def test_any_bytes_are_a_document_or_a_diagnostic(data: bytes) -> None:
    try:
        assert isinstance(parse(data).root, MapNode)
    except PipelineError as error:
        assert len(error.diagnostics) == 1  # noqa: PT017 (both outcomes are right)
