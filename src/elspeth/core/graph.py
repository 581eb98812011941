"""The graph of a pipeline: which node a row goes to next, and which fields it has there.

Nodes are numbered by topological position: the source is 0, steps follow in the
order of the file, then sinks in theirs. An edge leads from a node, by a label,
to a later node or to nothing (a discarded row, still recorded):

    next          after a transform, and from the source
    on_error      the row failed at the step
    on_invalid    the record was no row (source only)
    route:LABEL   a gate chose LABEL; ``route:default`` serves every other value

Labels tell edges apart, so two routes may lead to one sink. Targets are always
later in the file, hence there are no cycles and the file's order is the order in
which rows move.

Forks, coalesces and aggregations are not built, but fit without another idea. A
fork is a node kind with one edge ``branch:NAME`` for each branch; the token that
takes it gets the path (node, child), so tokens of one row stay apart and sort in
processing order. A coalesce is a node with several incoming ``next`` edges that
holds tokens until its policy is met; the merged token has the fork's path plus
the coalesce's number. An aggregation holds tokens until a trigger fires; what it
emits has its last member's path plus (node, k). Both are barriers, and all three
keep to "targets are later", so numbering, reachability and the tracing of fields
below stay as they are; a coalesce only adds a rule of how fields merge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from msgspec import Struct, field

from elspeth.contracts import Diagnostic, Fields, FieldType, NodeKind, PipelineError
from elspeth.core.expressions import Expression, did_you_mean

__all__ = [
    "Edge",
    "Graph",
    "Node",
    "SinkNode",
    "StepNode",
    "Traced",
    "build_graph",
    "route_label",
    "trace_fields",
]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
RESERVED = frozenset({"default", "discard", "next", "source"})
SOURCE = 0
ROUTE = "route:"
DEFAULT = "default"


class Node(Struct, frozen=True):
    """A place where rows come from, change, divide or end. ``plugin`` is None for a gate."""

    number: int
    name: str
    kind: NodeKind
    plugin: str | None


class Edge(Struct, frozen=True):
    """A way from a node to a later one; ``target`` is None where rows are discarded."""

    source: int
    label: str
    target: int | None


class StepNode(Struct, frozen=True, kw_only=True):
    """A step as the file has it. A gate has ``routes``, any other step ``next`` and no routes."""

    name: str
    plugin: str | None
    kind: NodeKind = NodeKind.TRANSFORM
    next: str = "next"
    on_error: str = "discard"
    routes: Mapping[str, str] | None = None
    is_boolean: bool = False


class SinkNode(Struct, frozen=True, kw_only=True):
    """A sink as the file has it."""

    name: str
    plugin: str


class Graph(Struct, frozen=True):
    """Nodes by number, and edges ordered by source and then as written."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    output: int

    def node(self, name: str) -> Node:
        """The node of that name; the source's is ``source``. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def successors(self, number: int) -> dict[str, int | None]:
        """Where each label of a node leads."""
        return {edge.label: edge.target for edge in self.edges if edge.source == number}

    def reachable(self) -> frozenset[int]:
        """The nodes at which a row can arrive. One pass suffices: every edge leads to a later node."""
        found = {SOURCE}
        for edge in self.edges:
            if edge.source in found and edge.target is not None:
                found.add(edge.target)
        return frozenset(found)


def route_label(value: object) -> str | None:
    """The label of the route that a gate's value names; None when no label can name it.

    In a pipeline file ``true`` and ``4`` are labels as well as ``urgent``; in Python ``1 == True``, so
    labels are compared as text.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() if value.bit_length() < 256:
            return str(value)
    return None


def build_graph(
    *,
    source_plugin: str,
    steps: Sequence[StepNode],
    sinks: Sequence[SinkNode],
    output: str | None,
    on_invalid: str = "discard",
) -> Graph:
    """The graph of a pipeline; raises `PipelineError` with everything that is wrong in it."""
    wiring = Wiring(steps, sinks, output)
    wiring.check_names()
    output_number = wiring.output_number()
    edges = tuple(wiring.edges(on_invalid, output_number))
    wiring.check_routes()
    nodes = (
        Node(SOURCE, "source", NodeKind.SOURCE, source_plugin),
        *(Node(n, step.name, step.kind, step.plugin) for n, step in enumerate(steps, 1)),
        *(Node(n, sink.name, NodeKind.SINK, sink.plugin) for n, sink in enumerate(sinks, 1 + len(steps))),
    )
    graph = Graph(nodes, edges, output_number)
    if not wiring.diagnostics:
        wiring.check_reachable(graph)
    if wiring.diagnostics:
        raise PipelineError(wiring.diagnostics)
    return graph


def name_problem(name: str) -> tuple[str, str, str | None] | None:
    """Code, message and hint when this cannot be the name of anything."""
    if name in RESERVED:
        return "RESERVED_NAME", f"{name!r} has a meaning of its own and cannot be a name", None
    if not NAME.fullmatch(name):
        hint = "a letter first, then letters, digits, - and _, at most 63 in all"
        return "BAD_NAME", f"{name!r} cannot be a name", hint
    return None


class Wiring:
    """Turns names into numbers and notes what cannot be."""

    def __init__(self, steps: Sequence[StepNode], sinks: Sequence[SinkNode], output: str | None) -> None:
        self.steps = steps
        self.sinks = sinks
        self.output = output
        self.diagnostics: list[Diagnostic] = []
        names = [step.name for step in steps] + [sink.name for sink in sinks]
        self.numbers: dict[str, int] = {}
        for number, name in enumerate(names, 1):
            self.numbers.setdefault(name, number)

    def note(
        self,
        path: tuple[str | int, ...],
        code: str,
        message: str,
        hint: str | None = None,
        *,
        on_key: bool = False,
    ) -> None:
        """Adds a diagnostic at a value, or at its key."""
        self.diagnostics.append(Diagnostic(path=path, code=code, message=message, hint=hint, on_key=on_key))

    def check_names(self) -> None:
        """Names must be usable in file names, tables and messages, and mean one thing."""
        seen: dict[str, str] = {}
        for index, step in enumerate(self.steps):
            self._check_name(step.name, ("steps", index, "name"), seen)
            seen.setdefault(step.name, f"step {index + 1}")
        for sink in self.sinks:
            self._check_name(sink.name, ("sinks", sink.name), seen, on_key=True)

    def _check_name(
        self, name: str, path: tuple[str | int, ...], seen: Mapping[str, str], *, on_key: bool = False
    ) -> None:
        problem = name_problem(name)
        if problem is not None:
            self.note(path, *problem, on_key=on_key)
        elif name in seen:
            message = f"{name!r} is already the name of {seen[name]}"
            self.note(path, "DUPLICATE_NAME", message, on_key=on_key)

    def output_number(self) -> int:
        """The sink at the end of the steps."""
        first = 1 + len(self.steps)
        sinks = {sink.name: number for number, sink in enumerate(self.sinks, first)}
        if not sinks:
            self.note(("sinks",), "MISSING_KEY", "a pipeline needs at least one sink")
        elif self.output is None and len(sinks) > 1:
            hint = f"add output: {self.sinks[0].name}"
            self.note((), "MISSING_KEY", "with several sinks, 'output' must name the one after the last step", hint)
        elif self.output is not None and self.output not in sinks:
            hint = did_you_mean(self.output, sinks) or f"the sinks are {', '.join(sinks)}"
            self.note(("output",), "UNKNOWN_TARGET", f"there is no sink {self.output!r}", hint)
        return sinks.get(self.output or "", first)

    def edges(self, on_invalid: str, output: int) -> Iterator[Edge]:
        """All edges, in order. A wrong target is noted and leads nowhere."""
        first = 1 if self.steps else output
        yield Edge(SOURCE, "next", first)
        yield Edge(SOURCE, "on_invalid", self.sink(on_invalid, ("source", "on_invalid")))
        for index, step in enumerate(self.steps):
            number = index + 1
            below = number + 1 if number < len(self.steps) else output
            if step.routes is None:
                yield Edge(number, "next", self.target(step.next, number, below, ("steps", index, "next")))
            else:
                for label, name in step.routes.items():
                    target = self.target(name, number, below, ("steps", index, "routes", label))
                    yield Edge(number, ROUTE + label, target)
            yield Edge(number, "on_error", self.sink(step.on_error, ("steps", index, "on_error")))

    def sink(self, name: str, path: tuple[str | int, ...]) -> int | None:
        """Where rows go that cannot go on: a sink, or nowhere."""
        if name == "discard":
            return None
        number = self.numbers.get(name)
        if number is not None and number > len(self.steps):
            return number
        sinks = [sink.name for sink in self.sinks]
        what = "is a step; failed rows go to a sink" if number is not None else "is no sink"
        hint = did_you_mean(name, [*sinks, "discard"]) or "a sink's name, or discard"
        self.note(path, "UNKNOWN_TARGET", f"{name!r} {what}", hint)
        return None

    def target(self, name: str, number: int, below: int, path: tuple[str | int, ...]) -> int | None:
        """Where rows go that go on: a sink, a later step, or the step below."""
        if name == "next":
            return below
        found = self.numbers.get(name)
        if found is None:
            later = [n for n, at in self.numbers.items() if at > number]
            if name == "discard":
                hint: str | None = "rows that go on need a sink; add one for those you do not want"
            else:
                hint = did_you_mean(name, [*later, "next"]) or f"one of {', '.join([*later, 'next'])}"
            self.note(path, "UNKNOWN_TARGET", f"there is no step or sink {name!r}", hint)
        elif found <= number:
            what = "this step itself" if found == number else "an earlier step"
            self.note(path, "EARLIER_TARGET", f"{name!r} is {what}; rows only go forward")
            return None
        return found

    def check_routes(self) -> None:
        """A gate that can only be true or false needs both routes and no others."""
        for index, step in enumerate(self.steps):
            if step.routes is None or not step.is_boolean:
                continue
            for label in ("true", "false"):
                if label not in step.routes and DEFAULT not in step.routes:
                    message = f"the gate has no route for {label}"
                    self.note(("steps", index, "routes"), "MISSING_ROUTE", message, f"add {label}: next")
            for label in step.routes:
                if label not in ("true", "false", DEFAULT):
                    message = f"the gate is true or false, so the route {label!r} is never taken"
                    path = ("steps", index, "routes", label)
                    hint = "the labels are true and false"
                    self.note(path, "IMPOSSIBLE_ROUTE", message, hint, on_key=True)

    def check_reachable(self, graph: Graph) -> None:
        """A step or sink at which no row can arrive is a mistake."""
        reachable = graph.reachable()
        for index, step in enumerate(self.steps):
            if index + 1 not in reachable:
                message = f"no row can reach the step {step.name!r}"
                self.note(("steps", index, "name"), "UNREACHABLE_STEP", message)
        for number, sink in enumerate(self.sinks, 1 + len(self.steps)):
            if number not in reachable:
                message = f"no row can reach the sink {sink.name!r}"
                hint = "name it in output, next, routes, on_error or on_invalid, or remove it"
                self.note(("sinks", sink.name), "UNUSED_SINK", message, hint, on_key=True)


class Traced(Struct, frozen=True):
    """The fields that arrive at each node, by number, and what is wrong with their use."""

    inputs: Mapping[int, Fields]
    diagnostics: tuple[Diagnostic, ...]
    outputs: Mapping[int, Fields] = field(default_factory=dict)


def trace_fields(
    graph: Graph,
    source_fields: Fields,
    output_fields: Callable[[int, Fields], Fields],
    expression_of: Callable[[int], Expression | None],
) -> Traced:
    """Follows the fields through the graph.

    ``output_fields`` gives what a transform makes of its input, or raises `PipelineError` with paths
    that start at the step's options; ``expression_of`` gives a gate's expression. A row that failed has the
    fields with which it arrived. What follows a wrong step is taken as open, so that one mistake is
    reported once. Records that are no rows (``on_invalid``) have a shape of their own and add nothing.
    """
    arriving: dict[int, list[Fields]] = {node.number: [] for node in graph.nodes}
    inputs: dict[int, Fields] = {SOURCE: source_fields}
    outputs: dict[int, Fields] = {SOURCE: source_fields}
    diagnostics: list[Diagnostic] = []
    for node in graph.nodes:
        number = node.number
        if number != SOURCE:
            inputs[number] = union(arriving[number])
        match node.kind:
            case NodeKind.TRANSFORM | NodeKind.BATCH_TRANSFORM:
                try:
                    outputs[number] = output_fields(number, inputs[number])
                except PipelineError as error:
                    prefix = ("steps", number - 1, "options")
                    diagnostics += [replace(d, path=prefix + d.path) for d in error.diagnostics]
                    outputs[number] = Fields(inputs[number].types, is_open=True)
            case NodeKind.GATE:
                outputs[number] = inputs[number]
                diagnostics += unknown_fields(number, expression_of(number), inputs[number])
            case NodeKind.SOURCE | NodeKind.SINK:
                pass
        for label, target in graph.successors(number).items():
            if target is not None and label != "on_invalid":
                arriving[target].append((inputs if label == "on_error" else outputs)[number])
    return Traced(inputs, tuple(diagnostics), outputs)


def union(arriving: Sequence[Fields]) -> Fields:
    """All fields that may arrive by some edge, in order of arrival; a type is known when all edges agree."""
    types: dict[str, FieldType | None] = {}
    for fields in arriving:
        for name, kind in fields.types.items():
            types[name] = kind if types.get(name, kind) is kind else None
    return Fields(types, is_open=any(fields.is_open for fields in arriving))


def unknown_fields(number: int, expression: Expression | None, fields: Fields) -> Iterator[Diagnostic]:
    """What a gate reads and no earlier node can have produced."""
    if expression is None or fields.is_open:
        return
    for name, offset in expression.offsets.items():
        if name not in fields:
            yield Diagnostic(
                path=("steps", number - 1, "gate"),
                code="FIELD_UNKNOWN",
                message=f"no earlier step produces the field {name!r}",
                hint=did_you_mean(name, fields.names) or f"the fields are {', '.join(fields.names)}",
                offset=offset,
            )
