"""Where a character of a file stands, as an editor counts: lines and columns from 1.

A diagnostic inside an expression or a template knows its offset in the text
that YAML made of a scalar. `scalar_index` finds the character of the file that
it came from, through quotes, escapes, folding and indentation.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence

__all__ = ["Positions", "scalar_index"]

LINE_BREAK = re.compile(r"\r\n|\n|\r")
ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}
BLANK_ESCAPES = "tnrvfNLP_ \t\r\n"


class Positions:
    """The lines of a text. ``masked`` are spans (start, end) that must not be shown."""

    def __init__(self, text: str) -> None:
        self.text = text
        breaks = list(LINE_BREAK.finditer(text))
        self._starts = [0, *(match.end() for match in breaks)]
        self._ends = [*(match.start() for match in breaks), len(text)]

    def line_column(self, index: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        line = bisect.bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def line_text(self, line: int, masked: Sequence[tuple[int, int]] = ()) -> str:
        """A line, cut where one of the masked spans (start, end) begins in it."""
        start, end = self._starts[line - 1], self._ends[line - 1]
        hidden = [max(first, start) for first, last in masked if first < end and last > start]
        return self.text[start : min(hidden)] + "***" if hidden else self.text[start:end]


def scalar_index(text: str, span: tuple[int, int], style: str | None, value: str, offset: int) -> int:
    """The index in ``text`` of the character ``value[offset]`` of the scalar at ``span``.

    ``style`` is YAML's: None for plain, or one of ``' " | >``. YAML folds, indents and strips blanks
    only, so the n-th visible character of the value is the n-th visible one written. An offset at a
    blank gives the place after the visible character before it. Where the way back is lost it is the
    scalar's beginning: a caret at the right scalar is better than one at a wrong character.
    """
    written = list(visible(text, span, style))
    if len(written) != sum(not c.isspace() for c in value):
        return span[0]
    before = sum(not c.isspace() for c in value[:offset])
    if before < len(written) and not value[offset : offset + 1].isspace():
        return written[before]
    return written[before - 1] + 1 if before else span[0]


def visible(text: str, span: tuple[int, int], style: str | None) -> Iterator[int]:
    """Where each character that is no blank is written, an escape or a doubled quote being one."""
    index, end = span
    if style in ("|", ">"):
        header = LINE_BREAK.search(text, index)
        index = header.end() if header else end
    elif style is not None:
        index, end = index + 1, end - 1
    while index < end:
        width, is_blank = 1, text[index].isspace()
        if style == '"' and text[index] == "\\":
            width = ESCAPE_LENGTHS.get(text[index + 1 : index + 2], 2)
            digits = text[index + 2 : index + width]
            is_blank = chr(int(digits, 16)).isspace() if digits else text[index + 1] in BLANK_ESCAPES
        elif style == "'" and text[index] == "'":
            width = 2
        if not is_blank:
            yield index
        index += width
