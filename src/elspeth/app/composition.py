"""The composition root: from a pipeline's description to a plan with live plugins.

This is the one place that knows both the configuration and the plugins. Whether the
description was read from a file or from the trail makes no difference here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from msgspec import Struct, structs

from elspeth.contracts import (
    BatchTransform,
    Diagnostic,
    Fields,
    FieldType,
    NodeKind,
    PipelineError,
    Price,
    Sink,
    Source,
    SourceError,
)
from elspeth.core.canonical import RowCodec
from elspeth.core.config import GateStep, Pipeline, PluginStep
from elspeth.core.graph import Graph, trace_fields
from elspeth.engine.plan import ERROR_FIELD, SOURCE_NODE, Plan, SinkPlan, Step
from elspeth.plugins.registry import Registry, is_batch_transform

__all__ = ["PRICE_HINT", "Beginning", "build_plan", "needs_simulator", "secrets_of"]

PRICE_HINT = (
    "give the step `price: {model: NAME}`, or as the batch is billed "
    "`price: {input_per_mtok: USD, output_per_mtok: USD}`"
)
_REJECTED_FIELDS: dict[str, FieldType | None] = {
    "row": FieldType.INT,
    "code": FieldType.STR,
    "message": FieldType.STR,
    "raw": FieldType.STR,
    "raw_base64": FieldType.STR,
}


class Beginning(Struct, frozen=True, kw_only=True):
    """What was true when a run began and holds until its end; ``prices`` by node, those that are known.

    ``prices`` is None for a pipeline that was edited since: its own are looked up.
    """

    source_fields: Fields
    prices: Mapping[int, Price] | None


def build_plan(
    pipeline: Pipeline,
    registry: Registry,
    *,
    simulator_url: str | None = None,
    begun: Beginning | None = None,
) -> Plan:
    """Builds every plugin and follows the fields through the graph; raises `PipelineError` with all faults.

    ``begun`` is what the trail keeps of a run that has begun: its source may be gone by now, prices change.
    """
    graph = pipeline.graph
    source: Source = registry.find("source", pipeline.source.plugin).load()(
        pipeline.source.options, schema=pipeline.source.schema
    )
    steps = {
        number: _step(step, number, graph, registry, simulator_url)
        for number, step in enumerate(pipeline.steps, start=1)
    }
    faults: list[Diagnostic] = []
    fields = _source_fields(source, faults) if begun is None else begun.source_fields
    traced = trace_fields(
        graph,
        fields,
        lambda number, fields: _output_fields(steps[number], fields),
        lambda number: steps[number].gate,
    )
    faults += traced.diagnostics
    faults += _key_faults(pipeline, fields)
    prices = _prices(steps, faults) if begun is None or begun.prices is None else begun.prices
    faults += _cost_limit_faults(pipeline, steps, prices)
    steps = {number: structs.replace(step, price=prices.get(number)) for number, step in steps.items()}
    sinks, sink_faults = _sinks(pipeline, graph, registry, traced.inputs)
    if faults or sink_faults:
        raise pipeline.located(faults or sink_faults)  # a wrong step leaves the fields open, which sinks refuse
    targets = graph.successors(SOURCE_NODE)
    first = targets["next"]
    if first is None:
        raise RuntimeError("the source leads somewhere")
    return Plan(
        name=pipeline.name,
        graph=graph,
        source=source,
        key_field=pipeline.source.key,
        steps=steps,
        sinks=sinks,
        codecs={number: RowCodec(fields) for number, fields in traced.outputs.items()},
        first=first,
        on_invalid=targets["on_invalid"],
        max_error_rate=pipeline.limits.max_error_rate,
        max_cost_usd=pipeline.limits.max_cost_usd,
        max_attempts=pipeline.retry.max_attempts,
        initial_backoff_s=pipeline.retry.initial_seconds,
        max_backoff_s=pipeline.retry.max_seconds,
        names={node.number: node.name for node in graph.nodes},
        fields={**traced.outputs, **{number: sink.fields for number, sink in sinks.items()}},
    )


def needs_simulator(pipeline: Pipeline) -> bool:
    """Whether some step's endpoint is the built-in simulator."""
    return any(getattr(options, "uses_simulator", False) for options in pipeline.plugin_options())


def secrets_of(pipeline: Pipeline) -> list[str]:
    """The values of all secrets that the pipeline names, and of a proxy's password, for the redactor.

    Raises `CredentialsError` for one that is not set, unless the pipeline says that it may be missing.
    """
    found = [secret.reveal() for secret in pipeline.secrets()]
    found += [password for proxy in _proxies() if (password := urlsplit(proxy).password)]
    return [secret for secret in found if secret]


def _proxies() -> list[str]:
    """What `urllib.request` knows. On Linux that is variables, and without any the import is spared."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return []
    from urllib.request import getproxies

    return list(getproxies().values())


def _step(
    step: PluginStep | GateStep, number: int, graph: Graph, registry: Registry, simulator_url: str | None
) -> Step:
    targets = graph.successors(number)
    if isinstance(step, GateStep):
        return Step(number=number, name=step.name, targets=targets, gate=step.expression)
    loaded = registry.find("transform", step.plugin).load()
    if is_batch_transform(loaded):
        batch: BatchTransform = loaded(step.options, step=step.name, simulator_url=simulator_url)
        return Step(number=number, name=step.name, targets=targets, batch=batch)
    return Step(number=number, name=step.name, targets=targets, transform=loaded(step.options))


def _source_fields(source: Source, faults: list[Diagnostic]) -> Fields:
    """The source's fields; when it cannot be read that is noted, and any field may exist."""
    try:
        return source.fields()
    except SourceError as error:
        faults.append(
            Diagnostic(path=("source", "options", "path"), code="SOURCE", message=error.message, hint=error.hint)
        )
        return Fields({}, is_open=True)


def _output_fields(step: Step, fields: Fields) -> Fields:
    transform = step.transform or step.batch
    return fields if transform is None else transform.output_fields(fields)


def _prices(steps: Mapping[int, Step], faults: list[Diagnostic]) -> dict[int, Price]:
    """What each batch step's tokens cost, as far as anybody knows."""
    prices: dict[int, Price] = {}
    for number, step in steps.items():
        try:
            price = None if step.batch is None else step.batch.price()
        except PipelineError as error:
            prefix: tuple[str | int, ...] = ("steps", number - 1, "options")
            faults += [replace(d, path=prefix + d.path) for d in error.diagnostics]
            continue
        if price is not None:
            prices[number] = price
    return prices


def _cost_limit_faults(
    pipeline: Pipeline, steps: Mapping[int, Step], prices: Mapping[int, Price]
) -> Iterator[Diagnostic]:
    """A limit that could not be kept, since nobody knows what a step costs."""
    if pipeline.limits.max_cost_usd is None:
        return
    for number, step in steps.items():
        if step.batch is not None and number not in prices:
            yield Diagnostic(
                path=("limits", "max_cost_usd"),
                code="PRICE_UNKNOWN",
                message=f"the limit cannot be kept: nobody knows what the tokens of step {step.name!r} cost",
                hint=PRICE_HINT,
            )


def _key_faults(pipeline: Pipeline, fields: Fields) -> list[Diagnostic]:
    key = pipeline.source.key
    if key is None or key in fields or fields.is_open:
        return []
    return [
        Diagnostic(
            path=("source", "key"),
            code="FIELD_UNKNOWN",
            message=f"the source has no field {key!r}",
            hint=f"its fields are {', '.join(fields.names)}",
        )
    ]


def _sinks(
    pipeline: Pipeline, graph: Graph, registry: Registry, inputs: Mapping[int, Fields]
) -> tuple[dict[int, SinkPlan], list[Diagnostic]]:
    sinks: dict[int, SinkPlan] = {}
    faults: list[Diagnostic] = []
    for node in graph.nodes:
        if node.kind is not NodeKind.SINK:
            continue
        section = pipeline.sinks[node.name]
        sink: Sink = registry.find("sink", section.plugin).load()(section.options)
        fields = _sink_fields(graph, node.number, inputs[node.number])
        faults += _error_field_faults(graph, node.number, inputs[node.number])
        try:
            sink.header(fields)
        except PipelineError as error:
            prefix: tuple[str | int, ...] = ("sinks", node.name)
            faults += [replace(d, path=prefix + d.path) for d in error.diagnostics]
        sinks[node.number] = SinkPlan(
            number=node.number,
            name=node.name,
            sink=sink,
            fields=fields,
            path=sink.path,
            must_not_exist=getattr(section.options, "if_exists", "replace") == "error",
        )
    return sinks, faults


def _error_field_faults(graph: Graph, number: int, fields: Fields) -> list[Diagnostic]:
    """A field of the rows that the reason of a failed one would replace."""
    is_error_sink = any(edge.target == number and edge.label == "on_error" for edge in graph.edges)
    if not is_error_sink or ERROR_FIELD not in fields:
        return []
    return [
        Diagnostic(
            path=("sinks", graph.nodes[number].name),
            code="FIELD_EXISTS",
            message=f"rows that arrive here have a field {ERROR_FIELD!r}, which the reason of a failed row is put in",
            hint="rename the field with a field_mapper step",
            on_key=True,
        )
    ]


def _sink_fields(graph: Graph, number: int, fields: Fields) -> Fields:
    """The fields of a sink's rows: those that arrive, the reason of failed ones, the shape of rejected ones."""
    types = dict(fields.types)
    labels = {edge.label for edge in graph.edges if edge.target == number}
    if "on_error" in labels:
        types[ERROR_FIELD] = FieldType.JSON
    if "on_invalid" in labels:
        types = {**types, **{name: kind for name, kind in _REJECTED_FIELDS.items() if name not in types}}
    return Fields(types, fields.is_open)
