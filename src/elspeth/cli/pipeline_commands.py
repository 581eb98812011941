"""What can be asked of a pipeline file without running it, and of elspeth without a pipeline."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.output import note, print_json, print_text
from elspeth.contracts import PipelineError, UsageError, dollars

if TYPE_CHECKING:
    from elspeth.app.forecast import Forecast, StepForecast
    from elspeth.core.config import Pipeline
    from elspeth.engine.plan import Plan

__all__ = ["register"]

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.")]
ReuseOption = Annotated[
    list[str] | None,
    typer.Option("--reuse", metavar="RUN", help="Count what this run has answers for; latest, all; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class ReportFormat(StrEnum):
    """How `validate` reports."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


class GraphFormat(StrEnum):
    """How `graph` draws."""

    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("validate")(validate)
    app.command("plan")(plan)
    app.command("graph")(graph)
    app.command("plugins")(plugins)
    app.command("schema")(schema)


def validate(
    file: FileArgument,
    format: Annotated[
        ReportFormat, typer.Option("--format", help="For people, for programs, or as GitHub annotations.")
    ] = ReportFormat.TEXT,
) -> None:
    """Show every error of a pipeline file at once."""
    try:
        pipeline, _ = _checked(file)
    except PipelineError as error:
        if format is ReportFormat.TEXT:
            raise
        _print_errors(error, format)
        raise typer.Exit(error.exit_code) from error
    missing = [secret.reference for secret in pipeline.secrets() if not (secret.is_set or secret.is_optional)]
    counts = f"{_count(len(pipeline.steps), 'step')}, {_count(len(pipeline.sinks), 'sink')}"
    match format:
        case ReportFormat.TEXT:
            print_text(f"{file}: ok, {counts}")
        case ReportFormat.JSON:
            print_json(
                {
                    "schema_version": 1,
                    "file": str(file),
                    "ok": True,
                    "steps": len(pipeline.steps),
                    "sinks": len(pipeline.sinks),
                    "missing_secrets": missing,
                    "diagnostics": [],
                }
            )
        case ReportFormat.GITHUB:
            pass
    for name in missing:
        note(f"note: the secret {name} is not set; a run needs it, in the environment or in {file.parent / '.env'}")


def plan(
    file: FileArgument,
    show: Annotated[int, typer.Option("--show", min=0, metavar="N", help="Print the first N request lines.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Read at most N rows.")] = None,
    reuse: ReuseOption = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The trail that --reuse names runs of.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a run would send; send nothing.

    With --show, stdout has the exact request lines and nothing else; the counts go to stderr.
    """
    from elspeth.app.composition import secrets_of
    from elspeth.app.forecast import forecast

    pipeline, checked = _checked(file)
    secrets = secrets_of(pipeline)
    with ExitStack() as stack:
        others = None
        if reuse:
            from elspeth.app.reusing import other_runs

            others = stack.enter_context(other_runs(pipeline, checked, reuse, db=db))
        result = forecast(checked, secrets=secrets, limit=limit, show=show, others=others)
    if json:
        print_json(_forecast_dict(result))
        return
    for line in _forecast_lines(result):
        (note if show else print_text)(line)
    sys.stdout.flush()
    for request in result.lines:
        sys.stdout.buffer.write(request + b"\n")
    sys.stdout.buffer.flush()


def graph(
    file: FileArgument,
    format: Annotated[GraphFormat, typer.Option("--format", help="How to draw it.")] = GraphFormat.TEXT,
) -> None:
    """Draw a pipeline as text, Mermaid or JSON."""
    from elspeth.app.drawing import draw_json, draw_mermaid, draw_text, drawing_of
    from elspeth.core.config import load_pipeline
    from elspeth.plugins.registry import Registry

    registry = Registry()
    drawing = drawing_of(load_pipeline(file, registry, environ=os.environ), registry)
    match format:
        case GraphFormat.TEXT:
            print_text(draw_text(drawing))
        case GraphFormat.MERMAID:
            print_text(draw_mermaid(drawing))
        case GraphFormat.JSON:
            print_json(draw_json(drawing))


def plugins(json: JsonOption = False) -> None:
    """List the plugins and where each comes from."""
    from elspeth.plugins.registry import Registry

    specs = Registry().all()
    if json:
        entries = [
            {
                "kind": spec.kind,
                "name": spec.name,
                "summary": spec.summary,
                "origin": spec.origin,
                "target": spec.target,
                "fault": spec.fault,
            }
            for spec in specs
        ]
        print_json({"schema_version": 1, "plugins": entries})
        return
    table = [(s.kind, s.name, s.origin, f"FAULT: {s.fault}" if s.fault else s.summary) for s in specs]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print_text("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def schema(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there, not to stdout.")] = None,
) -> None:
    """Print the JSON Schema of pipeline files, for editors.

    It knows the options of every plugin that is installed here.
    """
    from elspeth.app.starter import schema_text

    if out is None:
        sys.stdout.write(schema_text())
        return
    try:
        out.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    note(f"wrote {out}")


def _checked(file: Path) -> tuple[Pipeline, Plan]:
    """The pipeline and its plan; raises `PipelineError` with every fault at its place in the file."""
    from elspeth.app.composition import build_plan
    from elspeth.core.config import load_pipeline
    from elspeth.plugins.registry import Registry

    registry = Registry()
    pipeline = load_pipeline(file, registry, environ=os.environ)
    return pipeline, build_plan(pipeline, registry)


def _print_errors(error: PipelineError, format: ReportFormat) -> None:
    """The diagnostics as the result that they are, for whoever reads them by program."""
    from elspeth.core.config import diagnostic_dict, render_github

    if format is ReportFormat.JSON:
        diagnostics = [diagnostic_dict(diagnostic) for diagnostic in error.diagnostics]
        print_json({"schema_version": 1, "ok": False, "diagnostics": diagnostics})
        return
    for diagnostic in error.diagnostics:
        print_text(render_github(diagnostic))


def _forecast_dict(result: Forecast) -> dict[str, object]:
    return {
        "schema_version": 1,
        "pipeline": result.pipeline,
        "rows": result.rows,
        "steps": [
            {
                "name": step.name,
                "requests": step.requests,
                "answers_reused": step.reused,
                "requests_shared": step.shared,
                "files": step.files,
                "bytes": step.bytes,
                "tokens": {"input": step.tokens.input._asdict(), "output": step.tokens.output._asdict()},
                "cost_usd": _cost_dict(step),
                "waits_for": list(step.waits_for),
            }
            for step in result.steps
        ],
        "not_sent": [
            {
                "outcome": ending.outcome.word,
                "step": ending.step,
                "code": ending.code,
                "sink": ending.sink,
                "rows": ending.rows,
            }
            for ending in result.endings
        ],
        "lines": [line.decode("utf-8") for line in result.lines],
    }


def _forecast_lines(result: Forecast) -> Iterator[str]:
    yield f"{result.pipeline}: {_count(result.rows, 'row')} read; nothing is sent"
    for step in result.steps:
        yield from _step_lines(step)
    yield from _limit_lines(result)
    for ending in result.endings:
        cause = "" if ending.code is None else f" at {ending.step} ({ending.code})"
        yield f"  not sent: {_count(ending.rows, 'row')} {ending.outcome.word}{cause} -> {ending.sink or '(discarded)'}"


def _step_lines(step: StepForecast) -> Iterator[str]:
    if step.requests or not step.waits_for:
        yield (
            f"  {step.name}: {_count(step.requests, 'request')} in {_count(step.files, 'file')}, "
            f"{_count(step.bytes, 'byte')}"
        )
    if step.reused:
        yield f"  {step.name}: {_count(step.reused, 'answer')} reused, not asked for"
    if step.shared:
        yield f"  {step.name}: {_count(step.shared, 'row')} more would share these requests"
    if step.requests:
        yield from _estimate_lines(step)
    if step.waits_for:
        what = "and more" if step.requests else "not forecast"
        yield f"  {step.name}: {what}: it takes rows that come home from {', '.join(step.waits_for)}"


def _estimate_lines(step: StepForecast) -> Iterator[str]:
    """Tokens and money, by rule of thumb."""
    (low, likely, most), replies = step.tokens.input, step.tokens.output
    assumed = " (assumed: set max_completion_tokens)" if step.tokens.is_assumed else ""
    yield (
        f"  {step.name}: tokens in likely {likely:,} ({low:,} to {most:,}), "
        f"out likely {replies.likely:,} ({replies.low:,} to {replies.ceiling:,}){assumed}"
    )
    cost, price = step.cost_usd, step.price
    if cost is None or price is None:
        yield f"  {step.name}: cost unknown: give the step a `price`"
        return
    yield (
        f"  {step.name}: cost likely {dollars(cost[1])} ({dollars(cost[0])} to {dollars(cost[2])}), "
        f"{dollars(price.input_per_mtok)} in and {dollars(price.output_per_mtok)} out for a million tokens "
        f"({price.origin})"
    )


def _limit_lines(result: Forecast) -> Iterator[str]:
    """Whether the pipeline's cost limit will do."""
    limit = result.max_cost_usd
    if limit is None:
        return
    costs = [step.cost_usd for step in result.steps if step.cost_usd is not None]
    likely, most = sum(cost[1] for cost in costs), sum(cost[2] for cost in costs)
    if most <= limit:
        verdict = "enough for the ceiling"
    elif likely <= limit:
        verdict = f"enough for what is likely, not for the ceiling of {dollars(most)}: the run may stop before its end"
    else:
        verdict = f"less than the likely {dollars(likely)}: the run will stop before its end"
    yield f"  limit {dollars(limit)}: {verdict}"


def _cost_dict(step: StepForecast) -> dict[str, float] | None:
    cost = step.cost_usd
    return None if cost is None else dict(zip(("low", "likely", "ceiling"), map(float, cost), strict=True))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
