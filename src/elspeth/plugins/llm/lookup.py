"""Lookup tables: constants that templates see as ``lookup``, from a JSON or YAML file."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from elspeth.contracts import Diagnostic, PipelineError
from elspeth.core.canonical import decode_json
from elspeth.core.config.document import ListNode, MapNode, Node, parse_document
from elspeth.core.config.options import Asset

__all__ = ["read_lookup"]


def read_lookup(file: Asset) -> dict[str, Any]:
    """The file's mapping; raises `PipelineError`. YAML is read as in a pipeline file: ``no`` is text."""
    if PurePath(file.path).suffix.lower() != ".json":
        document = parse_document(file.path, file.data)
        if document.diagnostics:
            raise PipelineError(document.diagnostics)
        table = _value(document.root)
    else:
        try:
            table = decode_json(file.text)
        except ValueError as error:
            raise PipelineError([_problem(f"{file.path} is not JSON: {error}")]) from None
    if not isinstance(table, dict):
        raise PipelineError([_problem(f"{file.path} holds no mapping")])
    return table


def _problem(message: str) -> Diagnostic:
    hint = "a lookup file is a mapping of names to values, in JSON or YAML"
    return Diagnostic(path=("lookup_file",), code="BAD_VALUE", message=message, hint=hint)


def _value(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {name: _value(entry.value) for name, entry in node.entries.items()}
    return [_value(item) for item in node.items] if isinstance(node, ListNode) else node.value
