"""Prompt templates: Jinja over one row, known before the run and strict during it.

A template is compiled once. What it reads is found by walking its syntax tree,
so that a misspelt field is an error before anything is sent; what only a row can
show (an empty value in a filter, say) is a `PromptError`, and that row's error.
One newline at the very end of a template is not part of the prompt: editors and
YAML's ``|`` put it there.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from elspeth.contracts import Diagnostic, ElspethError, PipelineError, Row

if TYPE_CHECKING:
    from jinja2 import nodes

    from elspeth.plugins.llm.sandbox import PromptEnvironment

__all__ = ["PromptError", "PromptTemplate", "did_you_mean"]

_PRINTED_AS_IS = frozenset({str, int, float, bool, type(None)})
_NEWLINE = re.compile(r"\r\n|\r|\n")


class PromptError(ElspethError):
    """A row's prompt cannot be rendered; a fact about the row, never the end of the run."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint for a name that nobody knows."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None


@functools.cache
def _environment() -> PromptEnvironment:
    # Importing Jinja takes 40 ms, which a command without a language model must not pay.
    from elspeth.plugins.llm.sandbox import PromptEnvironment

    return PromptEnvironment()


class PromptTemplate:
    """A compiled template.

    ``fields`` maps each field that it reads to its offset in the text;
    ``reads_all`` is true when the row is used as a whole (``row[name]``, ``row | tojson``),
    so that ``fields`` is not all. Raises `PipelineError`, with paths relative to the template.
    """

    def __init__(self, text: str, *, variables: Iterable[str] = ("row", "lookup")) -> None:
        from jinja2 import TemplateSyntaxError

        from elspeth.plugins.llm.sandbox import RowValues

        self.fields: dict[str, int] = {}
        self.reads_all = False
        self._text = text
        try:
            tree = _environment().parse(text)
            problems = self._forbidden(tree) + self._unknown_variables(tree, set(variables))
            if problems:
                raise PipelineError(problems)
            self._template = _environment().from_string(text)
            self._template.globals = dict(self._template.globals)  # a ChainMap, slow to copy for each prompt
        except TemplateSyntaxError as error:
            raise PipelineError([self._problem("TEMPLATE_SYNTAX", error.message or "", error.lineno)]) from None
        self._collect(tree)
        self._row_values = RowValues
        self._filling = _filling(tree)

    def render(self, row: Row, lookup: Mapping[str, Any] | None = None) -> str:
        """The prompt for ``row``; raises `PromptError` and nothing else."""
        if self._filling is not None:
            prompt = _filled(*self._filling, row)
            if prompt is not None:
                return prompt
        return self.render_any(row, lookup)

    def render_any(self, row: Row, lookup: Mapping[str, Any] | None = None) -> str:
        """The same without a short way for templates that only fill in fields."""
        try:
            return self._template.render(row=self._row_values(row), lookup=lookup)
        except Exception as error:  # a user's template on a stranger's data may raise anything
            raise PromptError(f"{type(error).__name__}: {error}") from error

    def _problem(self, code: str, message: str, line: int, near: str = "", hint: str | None = None) -> Diagnostic:
        return Diagnostic(
            path=(),
            code=code,
            message=f"{message} (line {line} of the template)",
            hint=hint,
            offset=self._offset(line, near),
        )

    def _offset(self, line: int, near: str) -> int:
        """Where ``near`` first stands in a tag on or after a line. Jinja knows lines only, no columns."""
        starts = [0, *(found.end() for found in _NEWLINE.finditer(self._text))]
        start = starts[min(line, len(starts)) - 1]
        if not near:
            return start
        for before in (r"(?<!\w)row\s*(?:\.|\[\s*[\"'])\s*", r"\{[{%][^}]*?(?<!\w)", r"(?<!\w)"):
            found = re.compile(rf"{before}({re.escape(near)})(?!\w)").search(self._text, start)
            if found is not None:
                return found.start(1)
        return start

    def _forbidden(self, tree: nodes.Template) -> list[Diagnostic]:
        """Statements that need other templates, and assignments that would hide the row."""
        from jinja2 import nodes

        elsewhere = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport, nodes.Block)
        problems = [
            self._problem("TEMPLATE_SYNTAX", "a prompt is one template: no blocks, no other templates", node.lineno)
            for node in tree.find_all(elsewhere)
        ]
        return problems + [
            self._problem("TEMPLATE_VARIABLE", f"{node.name!r} cannot be assigned to", node.lineno, node.name)
            for node in tree.find_all(nodes.Name)
            if node.ctx != "load" and node.name in ("row", "lookup")
        ]

    def _unknown_variables(self, tree: nodes.Template, variables: set[str]) -> list[Diagnostic]:
        from jinja2 import meta, nodes

        unknown = meta.find_undeclared_variables(tree) - set(_environment().globals) - variables
        problems = []
        for name in sorted(unknown | ({"self"} - variables)):
            node = next((found for found in tree.find_all(nodes.Name) if found.name == name), None)
            if node is not None:
                hint = did_you_mean(name, variables) or f"fields are read as row.{name}"
                message = f"unknown variable {name!r}: a template here sees {' and '.join(sorted(variables)) or 'none'}"
                problems.append(self._problem("TEMPLATE_VARIABLE", message, node.lineno, name, hint))
        return problems

    def _collect(self, node: nodes.Node) -> None:
        """Notes the fields of ``row`` that a subtree reads."""
        from jinja2 import nodes

        field = _field_read(node)
        if field is not None:
            self.fields.setdefault(field, self._offset(node.lineno, field))
        elif isinstance(node, nodes.Name) and node.name == "row":
            self.reads_all = True
        else:
            for child in node.iter_child_nodes():
                self._collect(child)


def _filling(tree: nodes.Template) -> tuple[str, tuple[str, ...]] | None:
    """A template that only fills in fields, as most do, as a pattern for ``%`` and the fields; None for any other.

    Jinja writes them piece by piece through the sandbox, at the price of a row's whole request line.
    """
    from jinja2 import nodes

    pattern: list[str] = []
    fields: list[str] = []
    for output in tree.body:
        for piece in output.nodes if isinstance(output, nodes.Output) else (output,):
            field = _field_read(piece)
            if field is not None:
                pattern.append("%s")
                fields.append(field)
            elif isinstance(piece, nodes.TemplateData):
                pattern.append(piece.data.replace("%", "%%"))
            else:
                return None
    return "".join(pattern), tuple(fields)


def _filled(pattern: str, fields: tuple[str, ...], row: Row) -> str | None:
    """The prompt; None when a field is missing, or holds what does not print as it is: that is for the sandbox."""
    try:
        values = tuple([row[name] for name in fields])
        return pattern % values if _PRINTED_AS_IS.issuperset(map(type, values)) else None
    except (KeyError, ValueError):  # no such field; more digits than the interpreter prints
        return None


def _field_read(node: nodes.Node) -> str | None:
    """``x`` for ``row.x`` and ``row['x']``, else None."""
    from jinja2 import nodes

    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not isinstance(node.node, nodes.Name) or node.node.name != "row":
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None
