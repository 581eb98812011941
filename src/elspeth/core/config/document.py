"""Reading a pipeline file: YAML 1.2 as nodes that know their place.

Values follow the core schema of YAML 1.2 alone: ``no``, ``on`` and dates are
text. What is dangerous or has two meanings is refused: duplicate keys, tags,
directives, merge keys, several documents, aliases that multiply.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from msgspec import Struct, field
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from elspeth.contracts import Diagnostic, PipelineError
from elspeth.core.config.positions import Positions, scalar_index

__all__ = ["Document", "Entry", "ListNode", "MapNode", "Node", "Scalar", "parse_document", "read_scalar"]

SIZE_LIMIT_BYTES = 5_000_000
DEPTH_LIMIT = 50
NODE_LIMIT = 200_000
DIGIT_LIMIT = 1_000

# All that YAML does not have; the opposite, all that it has, takes ten times as long to compile.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
SURROGATE = re.compile("[\ud800-\udfff]")
# In a file that cannot be parsed nobody knows which values are secrets; these are masked.
SECRET_VALUE = re.compile(r"(?i)(?:api_?key|secret|token|password)['\"]?:[ \t]+((?![\"']?\$\{)[^\s][^\r\n]*)")
GATE_LINE = re.compile(r"^\s*(?:- +)?(gate|condition):\s+(.*?)\s*$")
INTEGER = re.compile(r"[-+]?[0-9]+")
BASED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

Path: TypeAlias = tuple[str | int, ...]


class Scalar(Struct, frozen=True, eq=False):
    """A single value: its text, YAML's style of writing it (None: plain), and its span in the file."""

    text: str
    style: str | None
    start: int
    end: int

    @property
    def value(self) -> Any:
        """What it means: plain words and numbers have a type, all else is text."""
        return read_scalar(self.text) if self.style is None else self.text


class ListNode(Struct, frozen=True, eq=False):
    """A list."""

    items: tuple[Node, ...]
    start: int
    end: int


class Entry(Struct, frozen=True, eq=False):
    """A key and its value."""

    key: Scalar
    value: Node


class MapNode(Struct, frozen=True, eq=False):
    """A mapping, by the text of its keys (``true`` and ``4`` for the typed ones)."""

    entries: dict[str, Entry]
    start: int
    end: int


Node: TypeAlias = Scalar | ListNode | MapNode


def read_scalar(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2. Numbers that JSON cannot hold stay text."""
    if text in WORDS:
        return WORDS[text]
    if len(text) > DIGIT_LIMIT:
        return text
    if INTEGER.fullmatch(text):
        return int(text)
    if BASED_INTEGER.fullmatch(text):
        return int(text, 0)
    if FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


class Document(Struct):
    """A file's nodes, and what is wrong with them that does not hide the rest.

    ``masked`` are spans that must never be shown, because a secret stands there.
    """

    file: str
    positions: Positions
    root: Node
    diagnostics: list[Diagnostic] = field(default_factory=list)
    masked: list[tuple[int, int]] = field(default_factory=list)

    def find(self, path: Path) -> tuple[Node, Scalar | None, bool]:
        """The node at a path with its key, and whether it is there; else the last that is on the way."""
        node: Node = self.root
        key: Scalar | None = None
        for part in path:
            if isinstance(node, MapNode) and part in node.entries:
                entry = node.entries[str(part)]
                node, key = entry.value, entry.key
            elif isinstance(node, ListNode) and isinstance(part, int) and 0 <= part < len(node.items):
                node, key = node.items[part], None
            else:
                return node, key, False
        return node, key, True

    def mask(self, path: Path) -> None:
        """Keeps the value at a path out of every line that is shown."""
        node, _, is_there = self.find(path)
        if is_there:
            self.masked.append((node.start, node.end))

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """The same diagnostic with file, line, column and the line itself.

        One that has its place keeps it; its line is read again, since more may be masked by now.
        """
        if diagnostic.file == self.file and diagnostic.line:
            return replace(diagnostic, source_line=self.positions.line_text(diagnostic.line, self.masked))
        if diagnostic.file:
            return diagnostic
        node, key, is_there = self.find(diagnostic.path)
        index = node.start
        if key is not None and (diagnostic.on_key or not is_there or node.start == node.end):
            index = key.start
        elif isinstance(node, Scalar) and diagnostic.offset and is_there:
            span = (node.start, node.end)
            index = scalar_index(self.positions.text, span, node.style, node.text, diagnostic.offset)
        return self.place(diagnostic, index)

    def place(self, diagnostic: Diagnostic, index: int) -> Diagnostic:
        """The diagnostic at a character of the file."""
        line, column = self.positions.line_column(index)
        shown = self.positions.line_text(line, self.masked)
        return replace(diagnostic, file=self.file, line=line, column=column, source_line=shown)


def parse_document(file: str, data: bytes) -> Document:
    """Reads a file's bytes; raises `PipelineError` with one diagnostic when they are no YAML mapping."""
    if len(data) > SIZE_LIMIT_BYTES:
        raise unreadable(file, "FILE_TOO_LARGE", f"a pipeline file has at most {SIZE_LIMIT_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = Positions(data[: error.start].decode("utf-8-sig"))
        line, column = before.line_column(len(before.text))
        fault = Diagnostic(
            path=(),
            code="INVALID_UTF8",
            message=f"byte 0x{data[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
            file=file,
            line=line,
            column=column,
        )
        raise PipelineError([fault]) from error
    return Composer(file, text).document()


def unreadable(file: str, code: str, message: str, hint: str | None = None) -> PipelineError:
    """The error of a file that cannot be read at all."""
    return PipelineError([Diagnostic(path=(), code=code, message=message, hint=hint, file=file)])


class Composer:
    """Makes nodes of YAML's events."""

    def __init__(self, file: str, text: str) -> None:
        self.text = text
        self.shell = Document(file, Positions(text), Scalar("", None, 0, 0))
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0
        self.events: Iterator[Event] = iter(())

    def fault(self, index: int, message: str, hint: str | None = None) -> PipelineError:
        """What makes the whole file unreadable, at a character."""
        index = min(index, len(self.text))
        for match in SECRET_VALUE.finditer(self.text):
            self.shell.masked.append(match.span(1))
        diagnostic = Diagnostic(path=(), code="YAML_SYNTAX", message=message, hint=hint)
        return PipelineError([self.shell.place(diagnostic, index)])

    def document(self) -> Document:
        """The file's only document."""
        bad = UNPRINTABLE.search(self.text)
        if bad is not None:
            raise self.fault(bad.start(), f"the character U+{ord(bad[0]):04X} cannot stand in a pipeline file")
        self.events = self.read_events()
        starts = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                starts += 1
                if starts > 1:
                    raise self.fault(event.start_mark.index, "a pipeline file holds one document only")
                if event.version or event.tags:
                    raise self.fault(0, "directives (%...) have no use here")
            elif isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                self.shell.root = self.node(event, 0)
        if not isinstance(self.shell.root, MapNode):
            is_empty = isinstance(self.shell.root, Scalar) and self.shell.root.value is None
            message = "the file is empty" if is_empty else "a pipeline file is a mapping (key: value)"
            code = "EMPTY_FILE" if is_empty else "WRONG_TYPE"
            diagnostic = Diagnostic(path=(), code=code, message=message, hint="'elspeth init' writes one")
            raise PipelineError([self.shell.place(diagnostic, self.shell.root.start)])
        return self.shell

    def read_events(self) -> Iterator[Event]:
        """The parser's events; all that it raises becomes our error."""
        events = YAML(typ="safe", pure=True).parse(io.StringIO(self.text))
        position = 0
        while True:
            try:
                event = next(events)
            except StopIteration:
                return
            except MarkedYAMLError as error:
                raise self.explain(error) from error
            except Exception as error:
                # The parser also fails in its own ways on some malformed text, such as escapes of no character.
                raise self.fault(position, "this is no valid YAML after here") from error
            position = event.end_mark.index
            yield event

    def explain(self, error: MarkedYAMLError) -> PipelineError:
        """The parser's complaint in our words, with a hint where the mistake is a known one."""
        mark = error.problem_mark or error.context_mark
        index = mark.index if mark is not None else 0
        if index >= len(self.text.rstrip()):
            # The file ends too early: what is not finished is more telling than the place behind the last line.
            begun = error.context_mark.index if error.context_mark is not None else index
            index = min(begun, max(len(self.text.rstrip()) - 1, 0))
        line, _ = self.shell.positions.line_column(min(index, len(self.text)))
        problem = f"{error.problem or error.context}".replace("\\t", "tab").replace("<block end>", "the end")
        shown = [self.shell.positions.line_text(line)]
        if error.context_mark is not None:
            context, _ = self.shell.positions.line_column(min(error.context_mark.index, len(self.text)))
            shown.append(self.shell.positions.line_text(context))
        hint = next(filter(None, map(mistake, shown)), None)
        if "'tab'" in problem:
            return self.fault(index, "a tab cannot stand here", hint or "indent with spaces")
        return self.fault(index, f"this is no valid YAML: {problem}", hint)

    def node(self, event: Event, depth: int) -> Node:
        """The node that begins with an event."""
        self.count += 1
        if self.count > NODE_LIMIT or depth > DEPTH_LIMIT:
            raise self.fault(event.start_mark.index, "the file is nested too deeply or has too many values")
        if isinstance(event, AliasEvent):
            return self.alias(event)
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        if tag is not None:
            raise self.fault(event.start_mark.index, f"tags ({tag}) have no use here")
        before = self.count
        node = self.collection(event, depth)
        if anchor is not None:
            self.anchors[anchor] = (node, 1 + self.count - before)
        return node

    def alias(self, event: AliasEvent) -> Node:
        """The node that an alias repeats; its size counts again, so that aliases cannot multiply."""
        if event.anchor not in self.anchors:
            raise self.fault(event.start_mark.index, f"there is no anchor {event.anchor!r} above")
        node, size = self.anchors[event.anchor]
        self.count += size
        return node

    def collection(self, event: Event, depth: int) -> Node:
        """A scalar, list or mapping with all below it."""
        start = event.start_mark.index
        if isinstance(event, ScalarEvent):
            if SURROGATE.search(event.value):
                raise self.fault(start, "this text has an escape for half a character")
            return Scalar(event.value, event.style, start, event.end_mark.index)
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(item := next(self.events), SequenceEndEvent):
                items.append(self.node(item, depth + 1))
            return ListNode(tuple(items), start, item.end_mark.index)
        entries: dict[str, Entry] = {}
        while not isinstance(first := next(self.events), MappingEndEvent):
            key = self.node(first, depth + 1)
            value = self.node(next(self.events), depth + 1)
            self.enter(entries, key, value)
        return MapNode(entries, start, first.end_mark.index)

    def enter(self, entries: dict[str, Entry], key: Node, value: Node) -> None:
        """Puts a key into its mapping, unless it is there already."""
        if not isinstance(key, Scalar):
            self.note(key.start, "NON_TEXT_KEY", "a key must be a text", None)
            return
        if key.text == "<<" and key.style is None:
            self.note(key.start, "NON_TEXT_KEY", "merge keys are not part of YAML 1.2", "write the keys out")
            return
        meaning = key.value
        name = str(meaning).lower() if isinstance(meaning, bool) else key.text
        if name in entries:
            # No option will say whether this value is a secret: it is left out of what is shown.
            self.shell.masked.append((value.start, value.end))
            line, _ = self.shell.positions.line_column(entries[name].key.start)
            message = f"the key {name!r} stands here and on line {line}"
            self.note(key.start, "DUPLICATE_KEY", message, "keep one of them")
            return
        entries[name] = Entry(key, value)

    def note(self, index: int, code: str, message: str, hint: str | None) -> None:
        """Adds a diagnostic that does not hide the rest."""
        diagnostic = Diagnostic(path=(), code=code, message=message, hint=hint)
        self.shell.diagnostics.append(self.shell.place(diagnostic, index))


def mistake(line: str) -> str | None:
    """A hint for a line that YAML could not read."""
    gate = GATE_LINE.match(line)
    if gate is not None:
        expression = gate[2].replace("'", "''")
        plain = '"' not in gate[2] and "\\" not in gate[2]
        quoted = f'"{gate[2]}"' if plain else f"'{expression}'"
        return f"quote the whole expression: {gate[1]}: {quoted}"
    if re.search(r"\b(gate|condition):", line):
        return "quote the whole expression"
    if "${" in line:
        return 'inside { } and [ ] a reference needs quotes: "${NAME}"'
    return None
