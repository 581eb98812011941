"""From nodes to plain values: references replaced, secrets left as references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from elspeth.contracts import Diagnostic, ElspethError
from elspeth.core.config.annotations import below, is_secret
from elspeth.core.config.catalog import PluginCatalog, PluginKind
from elspeth.core.config.document import Document, Entry, ListNode, MapNode, Node, Scalar
from elspeth.core.config.environment import Interpolation
from elspeth.core.config.options import SECRET_REFERENCE

__all__ = ["Resolution"]

Path: TypeAlias = tuple[str | int, ...]

KINDS: dict[str, PluginKind] = {"source": "source", "steps": "transform", "sinks": "sink"}
PROSE = ("template", "system_prompt")


class Resolution:
    """Reads a document's values. What the options of a plugin say of a place decides how it is read.

    A literal where a secret belongs is masked in the document before anything can show its line.
    """

    def __init__(self, document: Document, catalog: PluginCatalog, interpolation: Interpolation) -> None:
        self.document = document
        self.catalog = catalog
        self.interpolation = interpolation
        self.diagnostics: list[Diagnostic] = []

    def values(self) -> Any:
        """The whole file."""
        return self._value(self.document.root, (), ())

    def _value(self, node: Node, path: Path, annotations: Sequence[Any]) -> Any:
        if is_secret(annotations):
            return self._secret(node, path)
        if isinstance(node, Scalar):
            return node.text if is_verbatim(path) else self.interpolation.value(node, path)
        if isinstance(node, ListNode):
            return [
                self._value(item, (*path, index), below(annotations, index)) for index, item in enumerate(node.items)
            ]
        model = self._options_model(node, path)
        values = {}
        for name, entry in node.entries.items():
            self._check_key(entry, path)
            inner = [model] if model is not None and name == "options" else below(annotations, name)
            values[name] = self._value(entry.value, (*path, name), inner)
        return values

    def _secret(self, node: Node, path: Path) -> Any:
        if not isinstance(node, Scalar):
            self.document.masked.append((node.start, node.end))
            return self._value(node, path, ())
        if node.style is None and node.value is None:
            return None
        if SECRET_REFERENCE.fullmatch(node.text) is None:
            self.document.masked.append((node.start, node.end))
        return node.text

    def _options_model(self, node: MapNode, path: Path) -> Any:
        """The model of the options in this mapping, if it is a place for a plugin that exists."""
        is_section = path == ("source",) or (len(path) == 2 and path[0] in ("steps", "sinks"))
        plugin = node.entries.get("plugin")
        if not is_section or plugin is None or not isinstance(plugin.value, Scalar):
            return None
        try:
            return self.catalog.options_model(KINDS[str(path[0])], plugin.value.text)
        except ElspethError:
            return None

    def _check_key(self, entry: Entry, path: Path) -> None:
        """Keys are text; labels of routes may also be true, false and whole numbers."""
        meaning = entry.key.value
        is_route = len(path) == 3 and path[0] == "steps" and path[2] == "routes"
        if isinstance(meaning, str) or (is_route and isinstance(meaning, bool | int)):
            return
        fault = Diagnostic(
            path=path,
            code="NON_TEXT_KEY",
            message=f"the key {entry.key.text!r} is no text",
            hint=f'put it in quotes: "{entry.key.text}"',
        )
        self.diagnostics.append(self.document.place(fault, entry.key.start))


def is_verbatim(path: Path) -> bool:
    """Whether a dollar sign means nothing here: in a gate, a template, a system prompt."""
    if len(path) == 3:
        return path[0] == "steps" and path[2] == "gate"
    return len(path) == 4 and path[2] == "options" and path[3] in PROSE
