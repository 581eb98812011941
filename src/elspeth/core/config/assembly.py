"""From plain values to a checked pipeline; the same for a file and for a record in the trail.

All sections are read before anything is refused, so that a person sees every
mistake at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from elspeth.contracts import Diagnostic, ElspethError, NodeKind, PipelineError
from elspeth.core.config.annotations import leaves
from elspeth.core.config.catalog import PluginCatalog, PluginKind
from elspeth.core.config.models import (
    FieldSpec,
    GateSection,
    LandscapeSection,
    LimitsSection,
    PayloadsSection,
    PipelineFile,
    RetrySection,
    SinkSection,
    SourceSection,
    StepSection,
)
from elspeth.core.config.options import Asset, InputPath, Options, OptionsContext, OutputPath
from elspeth.core.config.validation import read_section
from elspeth.core.expressions import Expression, ExpressionError, did_you_mean
from elspeth.core.graph import Graph, SinkNode, StepNode, build_graph, name_problem

__all__ = ["Declaration", "GateStep", "PipelineSink", "PipelineSource", "PluginStep", "assemble"]

Path: TypeAlias = tuple[str | int, ...]

KINDS_OF_STEP_TO_COME = ("fork", "coalesce")
# When a step cannot be read, nobody knows where it leads: these would only repeat that in other words.
CONSEQUENCES = frozenset({"UNREACHABLE_STEP", "UNUSED_SINK"})


class PipelineSource(Struct, frozen=True, kw_only=True):
    """Where rows come from. ``schema`` is None when the file declares none."""

    plugin: str
    options: Options
    schema: Mapping[str, FieldSpec] | None
    key: str | None
    on_invalid: str


class PluginStep(Struct, frozen=True, kw_only=True):
    """A transform or batch transform."""

    name: str
    plugin: str
    options: Options
    on_error: str
    next: str


class GateStep(Struct, frozen=True, kw_only=True):
    """A gate; ``routes`` maps labels (see `route_label`) to targets."""

    name: str
    expression: Expression
    routes: Mapping[str, str]
    on_error: str


class PipelineSink(Struct, frozen=True, kw_only=True):
    """Where rows end."""

    name: str
    plugin: str
    options: Options


class Declaration(Struct, frozen=True, kw_only=True):
    """What a pipeline file says, checked. ``output`` is filled in where the file may leave it out.

    In ``graph`` every plugin step is a transform; only who loads the plugins knows the batch transforms.
    """

    name: str
    source: PipelineSource
    steps: tuple[PluginStep | GateStep, ...]
    sinks: Mapping[str, PipelineSink]
    output: str
    landscape: LandscapeSection
    payloads: PayloadsSection
    limits: LimitsSection
    retry: RetrySection
    graph: Graph


def assemble(
    values: object, catalog: PluginCatalog, context: OptionsContext, *, reserved_paths: Mapping[str, str]
) -> tuple[Declaration | None, list[Diagnostic]]:
    """The pipeline that plain values describe, or None and all that is wrong with them.

    ``reserved_paths`` are files that no sink may write, by their absolute path, with what they are.
    """
    assembly = Assembly(catalog, context)
    values = values if isinstance(values, dict) else {}
    top = assembly.section(PipelineFile, values, ())
    assembly.check_name(values.get("name"))
    source = assembly.source(values.get("source"))
    steps = assembly.steps(values.get("steps"))
    sinks = assembly.sinks(values.get("sinks"))
    graph = assembly.graph(values, steps)
    taken = dict(reserved_paths)
    if top is not None and top.landscape.path is not None:
        taken[os.path.realpath(top.landscape.path)] = "the trail's database"
    assembly.check_paths(source, steps, sinks, taken)
    if assembly.diagnostics or top is None or source is None or graph is None:
        return None, assembly.diagnostics
    return Declaration(
        name=top.name,
        source=source,
        steps=tuple(step for step in steps if step is not None),
        sinks=sinks,
        output=graph.nodes[graph.output].name,
        landscape=top.landscape,
        payloads=top.payloads,
        limits=top.limits,
        retry=top.retry,
        graph=graph,
    ), []


class Assembly:
    """Reads sections and collects what is wrong with them."""

    def __init__(self, catalog: PluginCatalog, context: OptionsContext) -> None:
        self.catalog = catalog
        self.context = context
        self.diagnostics: list[Diagnostic] = []

    def note(self, path: Path, code: str, message: str, hint: str | None = None, offset: int = 0) -> None:
        """Adds a diagnostic at a value."""
        self.diagnostics.append(Diagnostic(path=path, code=code, message=message, hint=hint, offset=offset))

    def section(self, model: Any, values: object, path: Path) -> Any:
        """A section's values, or None."""
        section, faults = read_section(model, values, path, self.context)
        self.diagnostics += faults
        return section

    def check_name(self, name: object) -> None:
        """The pipeline's own name obeys the rules of all names."""
        problem = name_problem(name) if isinstance(name, str) else None
        if problem is not None:
            self.note(("name",), *problem)

    def options(self, kind: PluginKind, values: Mapping[str, Any], path: Path) -> Options | None:
        """The options of the plugin that a section names, whatever else is wrong with the section."""
        plugin = values.get("plugin")
        if not isinstance(plugin, str):
            return None
        try:
            model = self.catalog.options_model(kind, plugin)
        except ElspethError as error:
            self.note((*path, "plugin"), "BAD_PLUGIN", error.message, error.hint)
            return None
        if model is None:
            names = self.catalog.names(kind)
            hint = did_you_mean(plugin, names) or f"there are {', '.join(names)}"
            self.note((*path, "plugin"), "UNKNOWN_PLUGIN", f"there is no {kind} plugin {plugin!r}", hint)
            return None
        options = values.get("options", {})
        if not isinstance(options, dict):
            return None
        # Without the key, what is missing in the options is reported at the section.
        parsed: Options | None = self.section(model, options, (*path, "options"))
        return parsed

    def source(self, values: object) -> PipelineSource | None:
        """``source``."""
        if not isinstance(values, dict):
            return None
        section: SourceSection | None = self.section(SourceSection, values, ("source",))
        options = self.options("source", values, ("source",))
        if section is None or options is None:
            return None
        if section.key is not None and section.fields is not None and section.key not in section.fields:
            hint = did_you_mean(section.key, section.fields) or "the key must be a field of the schema"
            self.note(("source", "key"), "FIELD_UNKNOWN", f"the schema has no field {section.key!r}", hint)
        return PipelineSource(
            plugin=section.plugin,
            options=options,
            schema=section.fields,
            key=section.key,
            on_invalid=section.on_invalid,
        )

    def steps(self, values: object) -> list[PluginStep | GateStep | None]:
        """``steps``, with None for each that cannot be read."""
        return [self.step(item, ("steps", i)) for i, item in enumerate(values if isinstance(values, list) else [])]

    def step(self, values: object, path: Path) -> PluginStep | GateStep | None:
        """One step, by the key that says what it is."""
        if not isinstance(values, dict):
            self.note(path, "WRONG_TYPE", "a step is a mapping with a name and a plugin or gate")
            return None
        later = [key for key in KINDS_OF_STEP_TO_COME if key in values]
        if later:
            self.diagnostics.append(
                Diagnostic(
                    path=(*path, later[0]),
                    code="NOT_YET",
                    message=f"{later[0]!r} is not in this version",
                    on_key=True,
                )
            )
            return None
        if "gate" in values and "plugin" in values:
            self.note((*path, "gate"), "BAD_VALUE", "a step has a plugin or a gate, not both")
            return None
        if "gate" in values or "routes" in values:
            return self.gate(values, path)
        section: StepSection | None = self.section(StepSection, values, path)
        options = self.options("transform", values, path)
        if section is None or options is None:
            return None
        return PluginStep(
            name=section.name,
            plugin=section.plugin,
            options=options,
            on_error=section.on_error,
            next=section.next,
        )

    def gate(self, values: Mapping[str, Any], path: Path) -> GateStep | None:
        """A step with a gate."""
        section: GateSection | None = self.section(GateSection, values, path)
        text = values.get("gate")
        if not isinstance(text, str):
            return None
        try:
            expression = Expression.parse(text)
        except ExpressionError as error:
            self.note((*path, "gate"), "EXPRESSION", error.message, error.hint, error.offset)
            return None
        if section is None:
            return None
        return GateStep(name=section.name, expression=expression, routes=section.routes, on_error=section.on_error)

    def sinks(self, values: object) -> dict[str, PipelineSink]:
        """``sinks``, those that can be read."""
        sinks = {}
        for name, item in (values if isinstance(values, dict) else {}).items():
            path = ("sinks", name)
            section: SinkSection | None = self.section(SinkSection, item, path)
            options = self.options("sink", item if isinstance(item, dict) else {}, path)
            if section is not None and options is not None:
                sinks[name] = PipelineSink(name=name, plugin=section.plugin, options=options)
        return sinks

    def graph(self, values: Mapping[str, Any], steps: list[PluginStep | GateStep | None]) -> Graph | None:
        """The graph, checked as far as the sections allow; None when there is none."""
        raw_steps, raw_sinks, output = values.get("steps", []), values.get("sinks"), values.get("output")
        source = values.get("source")
        if not isinstance(raw_steps, list) or not isinstance(raw_sinks, dict) or not isinstance(source, dict):
            return None
        nodes = [step_node(raw, step) for raw, step in zip(raw_steps, steps, strict=True)]
        known = [node for node in nodes if node is not None]
        if len(known) < len(nodes):
            return None
        try:
            return build_graph(
                source_plugin=text_or(source.get("plugin"), ""),
                steps=known,
                sinks=[SinkNode(name=n, plugin=plugin_of(sink)) for n, sink in raw_sinks.items()],
                output=output if isinstance(output, str) else None,
                on_invalid=text_or(source.get("on_invalid"), "discard"),
            )
        except PipelineError as error:
            is_whole = None not in steps
            self.diagnostics += [d for d in error.diagnostics if is_whole or d.code not in CONSEQUENCES]
            return None

    def check_paths(
        self,
        source: PipelineSource | None,
        steps: list[PluginStep | GateStep | None],
        sinks: Mapping[str, PipelineSink],
        taken: dict[str, str],
    ) -> None:
        """No sink writes what another one writes, what the source reads, or the pipeline's own files."""
        inputs = [] if source is None else list(leaves(source.options))
        for step in steps:
            inputs += leaves(step.options) if isinstance(step, PluginStep) else []
        for _, leaf in inputs:
            if isinstance(leaf, InputPath | Asset):
                name = "an input" if isinstance(leaf, InputPath) else "a file of the configuration"
                taken.setdefault(os.path.realpath(leaf if isinstance(leaf, InputPath) else leaf.path), name)
        for sink in sinks.values():
            for path, leaf in output_paths(sink):
                real = os.path.realpath(leaf)
                if real in taken:
                    message = f"this is also the path of {taken[real]}"
                    self.note(path, "DUPLICATE_PATH", message, "every sink needs a file of its own")
                taken.setdefault(real, f"the sink {sink.name!r}")


def output_paths(sink: PipelineSink) -> Iterator[tuple[Path, OutputPath]]:
    """The files that a sink writes."""
    for path, leaf in leaves(sink.options):
        if isinstance(leaf, OutputPath):
            yield ("sinks", sink.name, "options", *path), leaf


def step_node(values: object, step: PluginStep | GateStep | None) -> StepNode | None:
    """A step's place in the graph, as far as it can be told from its raw values."""
    if isinstance(step, GateStep):
        return StepNode(
            name=step.name,
            plugin=None,
            kind=NodeKind.GATE,
            on_error=step.on_error,
            routes=step.routes,
            is_boolean=step.expression.is_boolean,
        )
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        return None
    routes = values.get("routes")
    is_gate = "gate" in values or isinstance(routes, dict)
    labels = {k: v for k, v in routes.items() if isinstance(v, str)} if isinstance(routes, dict) else {}
    return StepNode(
        name=values["name"],
        plugin=None if is_gate else plugin_of(values),
        kind=NodeKind.GATE if is_gate else NodeKind.TRANSFORM,
        next=text_or(values.get("next"), "next"),
        on_error=text_or(values.get("on_error"), "discard"),
        routes=labels if is_gate else None,
    )


def text_or(value: object, default: str) -> str:
    """The value if it is text."""
    return value if isinstance(value, str) else default


def plugin_of(values: object) -> str:
    """The plugin that a section names, or an empty text."""
    return text_or(values.get("plugin"), "") if isinstance(values, dict) else ""
