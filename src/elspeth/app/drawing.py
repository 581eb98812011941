"""The graph of a pipeline as text, as a Mermaid flowchart and as JSON.

All three show every edge, those too that lead nowhere: where rows are discarded is what
a reader looks for first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from elspeth.contracts import NodeKind
from elspeth.core.config import GateStep, Pipeline
from elspeth.core.graph import ROUTE, Graph, Node
from elspeth.plugins.registry import Registry, is_batch_transform

__all__ = ["Drawing", "draw_json", "draw_mermaid", "draw_text", "drawing_of"]

_DISCARDED = "(discarded)"
_WIDTH_OF_LABEL = 60
_SHAPES: Mapping[NodeKind, tuple[str, str]] = {
    NodeKind.SOURCE: ("[(", ")]"),
    NodeKind.TRANSFORM: ("[", "]"),
    NodeKind.GATE: ("{", "}"),
    NodeKind.BATCH_TRANSFORM: ("[[", "]]"),
    NodeKind.SINK: ("[/", "/]"),
}


class Drawing(Struct, frozen=True, kw_only=True):
    """What is drawn. ``expressions`` are the gates', by node number."""

    name: str
    graph: Graph
    expressions: Mapping[int, str]

    def detail(self, node: Node) -> str:
        """What stands beside a node's name: its plugin, or the gate's expression."""
        return self.expressions.get(node.number) or node.plugin or ""

    def target(self, number: int | None) -> str:
        """The name of the node at the end of an edge."""
        return _DISCARDED if number is None else self.graph.nodes[number].name


def drawing_of(pipeline: Pipeline, registry: Registry) -> Drawing:
    """The drawing of a loaded pipeline; neither the source nor any other data is looked at."""
    nodes = [_with_kind(node, registry) for node in pipeline.graph.nodes]
    gates = {n: step for n, step in enumerate(pipeline.steps, start=1) if isinstance(step, GateStep)}
    return Drawing(
        name=pipeline.name,
        graph=replace(pipeline.graph, nodes=tuple(nodes)),
        expressions={number: gate.expression.text for number, gate in gates.items()},
    )


def draw_text(drawing: Drawing) -> str:
    """A paragraph for each node: what it is, and a line for each way out."""
    return "\n".join(line for node in drawing.graph.nodes for line in _paragraph(drawing, node))


def draw_mermaid(drawing: Drawing) -> str:
    """A Mermaid flowchart, for Markdown pages."""
    lines = ["flowchart TD"]
    for node in drawing.graph.nodes:
        opening, closing = _SHAPES[node.kind]
        detail = _shortened(drawing.detail(node))
        text = _escaped(node.name) + (f"<br/>{_escaped(detail)}" if detail else "")
        lines.append(f'  n{node.number}{opening}"{text}"{closing}')
    if any(edge.target is None for edge in drawing.graph.edges):
        lines.append('  discarded(("discarded"))')
    for edge in drawing.graph.edges:
        target = "discarded" if edge.target is None else f"n{edge.target}"
        label = _escaped(_shortened(_word(edge.label)))
        if edge.label == "next":
            lines.append(f"  n{edge.source} --> {target}")
        elif edge.label.startswith(ROUTE):
            lines.append(f'  n{edge.source} -->|"{label}"| {target}')
        else:
            lines.append(f'  n{edge.source} -.->|"{label}"| {target}')
    return "\n".join(lines)


def draw_json(drawing: Drawing) -> dict[str, Any]:
    """Nodes and edges by number; an edge without a target discards its rows."""
    return {
        "schema_version": 1,
        "pipeline": drawing.name,
        "nodes": [
            {
                "number": node.number,
                "name": node.name,
                "kind": node.kind.word,
                "plugin": node.plugin,
                "expression": drawing.expressions.get(node.number),
            }
            for node in drawing.graph.nodes
        ],
        "edges": [{"from": edge.source, "label": edge.label, "to": edge.target} for edge in drawing.graph.edges],
        "output": drawing.graph.output,
    }


def _with_kind(node: Node, registry: Registry) -> Node:
    """The node, as a batch transform if its plugin is one: a pipeline's own graph does not tell the two apart."""
    if node.kind is not NodeKind.TRANSFORM or node.plugin is None:
        return node
    is_batch = is_batch_transform(registry.find("transform", node.plugin).load())
    return replace(node, kind=NodeKind.BATCH_TRANSFORM) if is_batch else node


def _paragraph(drawing: Drawing, node: Node) -> Iterator[str]:
    kind = "batch" if node.kind is NodeKind.BATCH_TRANSFORM else node.kind.word
    name = f"{node.name}:" if node.name != kind else ""
    mark = "  (output)" if node.number == drawing.graph.output else ""
    yield " ".join(part for part in (name, kind, drawing.detail(node)) if part) + mark
    ways = {_word(label): drawing.target(to) for label, to in drawing.graph.successors(node.number).items()}
    width = max(map(len, ways), default=0)
    for word, target in ways.items():
        yield f"  {word:<{width}} -> {target}"


def _word(label: str) -> str:
    return label.removeprefix(ROUTE)


def _shortened(text: str) -> str:
    """A long expression would make its box as wide as the page; the text and the JSON have the whole of it."""
    return text if len(text) <= _WIDTH_OF_LABEL else text[: _WIDTH_OF_LABEL - 3] + "..."


def _escaped(text: str) -> str:
    """The text as Mermaid takes it inside quotes: entities begin with a hash there."""
    for character, entity in (("#", "#35;"), ("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return text.replace("\n", " ")
