"""How diagnostics look."""

from __future__ import annotations

import pytest

from elspeth.contracts import Diagnostic
from elspeth.core.config import diagnostic_dict, render_github, render_text


def at(line: str, column: int, **more: str) -> Diagnostic:
    shown = {"file": "p.yaml", "code": "BAD_VALUE", "message": "what", **more}
    return Diagnostic(path=("a", 0), line=3, column=column, source_line=line, **shown)  # type: ignore[arg-type]


def test_text_shows_place_line_caret_and_hint() -> None:
    assert render_text(at("key: value", 6, hint="try this")) == (
        "p.yaml:3:6: error[BAD_VALUE]: what\n    key: value\n         ^\n  hint: try this"
    )


def test_without_a_line_there_is_no_caret() -> None:
    found = Diagnostic(path=(), code="MISSING_FILE", message="what", file="p.yaml")
    assert render_text(found) == "p.yaml: error[MISSING_FILE]: what"


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [
        ("\tkey", 2, "\t^"),
        ("日本 x", 4, "     ^"),
        ("e\u0301 x", 4, "  ^"),
        ("ab", 9, "  ^"),
    ],
)
def test_the_caret_stands_under_its_character(line: str, column: int, caret: str) -> None:
    assert f"    {caret}" == render_text(at(line, column)).split("\n")[2]


def test_a_long_line_is_cut_around_the_caret() -> None:
    shown, caret = render_text(at("x" * 5000 + "HERE" + "y" * 5000, 5001)).split("\n")[1:3]
    assert len(shown) == 164
    assert shown.index("HERE") == caret.index("^")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in render_text(at("a\x1b[31m", 1))


def test_github_gets_an_annotation() -> None:
    assert render_github(at("x", 6, message="50% of a,b:c", hint="h", file="a,b.yaml")) == (
        "::error file=a%2Cb.yaml,line=3,col=6,title=BAD_VALUE::50%25 of a,b:c%0Ahint: h"
    )


def test_github_gets_one_without_a_line() -> None:
    found = Diagnostic(path=(), code="MISSING_FILE", message="what", file="p.yaml")
    assert render_github(found) == "::error file=p.yaml,title=MISSING_FILE::what"


def test_programs_get_every_part() -> None:
    assert diagnostic_dict(at("x", 6)) == {
        "file": "p.yaml",
        "line": 3,
        "column": 6,
        "code": "BAD_VALUE",
        "message": "what",
        "hint": None,
        "path": ["a", 0],
        "source_line": "x",
    }
