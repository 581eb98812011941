"""How diagnostics look: for people, for GitHub's annotations, for programs."""

from __future__ import annotations

import unicodedata
from typing import Any

from elspeth.contracts import Diagnostic

__all__ = ["diagnostic_dict", "render_github", "render_text"]

WIDTH = 160


def render_text(diagnostic: Diagnostic) -> str:
    """``file:line:column: error[CODE]: what``, the line with a caret, and the hint."""
    place = f"{diagnostic.file}:{diagnostic.line}:{diagnostic.column}" if diagnostic.line else diagnostic.file
    lines = [f"{place}: error[{diagnostic.code}]: {diagnostic.message}"]
    if diagnostic.source_line.strip():
        lines += [f"    {text}" for text in line_with_caret(diagnostic.source_line, diagnostic.column)]
    if diagnostic.hint:
        lines.append(f"  hint: {diagnostic.hint}")
    return "\n".join(lines)


def line_with_caret(line: str, column: int) -> tuple[str, str]:
    """The line and, below it, a caret under a column (from 1). A long line is cut around the caret."""
    at = min(column - 1, len(line))
    first = max(0, at - WIDTH // 2) if len(line) > WIDTH else 0
    shown = "".join(c if c == "\t" or c.isprintable() else "?" for c in line[first : first + WIDTH])
    before = "".join(blank_of(c) for c in shown[: at - first])
    return shown, f"{before}^"


def blank_of(character: str) -> str:
    """Blanks as wide as the character is on a screen."""
    if character == "\t":
        return "\t"
    if unicodedata.combining(character):
        return ""
    return "  " if unicodedata.east_asian_width(character) in "WF" else " "


def render_github(diagnostic: Diagnostic) -> str:
    """A workflow command that GitHub shows beside the line."""
    properties = [f"file={escape_property(diagnostic.file)}"]
    if diagnostic.line:
        properties += [f"line={diagnostic.line}", f"col={diagnostic.column}"]
    properties.append(f"title={escape_property(diagnostic.code)}")
    message = diagnostic.message + (f"\nhint: {diagnostic.hint}" if diagnostic.hint else "")
    return f"::error {','.join(properties)}::{escape_message(message)}"


def escape_message(text: str) -> str:
    """The text as GitHub wants it after ``::``."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The text as GitHub wants it among the properties."""
    return escape_message(text).replace(":", "%3A").replace(",", "%2C")


def diagnostic_dict(diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic for ``--json``."""
    return {
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "path": list(diagnostic.path),
        "source_line": diagnostic.source_line,
    }
