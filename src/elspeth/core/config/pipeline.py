"""A checked pipeline, and its record in the trail.

`Pipeline.recorded` and `Pipeline.from_recorded` are inverses: a resume works on
what was recorded, whatever has become of the file, its templates and the
environment since. Secrets are recorded by name and read afresh.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from msgspec import structs

from elspeth.contracts import Diagnostic, PipelineError, TrailError
from elspeth.core.config.annotations import leaves
from elspeth.core.config.assembly import Declaration, GateStep, PipelineSink, PluginStep, assemble
from elspeth.core.config.assets import Assets
from elspeth.core.config.catalog import PluginCatalog
from elspeth.core.config.document import parse_document
from elspeth.core.config.options import Asset, Options, OptionsContext, Secret

__all__ = ["Pipeline", "located"]

RECORD_FORMAT = 1


class Pipeline(Declaration, frozen=True, kw_only=True):
    """A pipeline that can be run. ``path`` is the file's absolute path, ``text`` its verbatim bytes."""

    path: Path
    text: bytes

    @property
    def folder(self) -> Path:
        """Where the file's relative paths start."""
        return self.path.parent

    def plugin_options(self) -> tuple[Options, ...]:
        """The options of source, steps and sinks, in the order of the graph's nodes."""
        steps = [step.options for step in self.steps if isinstance(step, PluginStep)]
        return (self.source.options, *steps, *(sink.options for sink in self.sinks.values()))

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that the file refers to, once."""
        found = [leaf for options in self.plugin_options() for _, leaf in leaves(options)]
        return tuple(dict.fromkeys(leaf for leaf in found if isinstance(leaf, Secret)))

    def assets(self) -> dict[str, bytes]:
        """The bytes of every file that the configuration consists of, by path: itself and its assets."""
        found = [leaf for options in self.plugin_options() for _, leaf in leaves(options)]
        return {str(self.path): self.text, **{a.path: a.data for a in found if isinstance(a, Asset)}}

    def located(self, diagnostics: Iterable[Diagnostic]) -> PipelineError:
        """The error that shows where in the file each diagnostic is, for those found after loading."""
        document = parse_document(display_path(self.path), self.text)
        return located(document.locate(d) for d in diagnostics)

    def recorded(self) -> dict[str, Any]:
        """The whole configuration as JSON, values resolved, secrets by name, assets by hash.

        What has an order (sinks, routes, the schema's fields) is in lists, so that a store which sorts
        keys loses nothing that numbers nodes. The file's text is not in it: see `assets`.
        """
        source = self.source
        schema = source.schema
        return {
            "format": RECORD_FORMAT,
            "path": str(self.path),
            "name": self.name,
            "source": {
                "plugin": source.plugin,
                "options": recorded_options(source.options),
                "schema": None if schema is None else [[name, str(spec)] for name, spec in schema.items()],
                "key": source.key,
                "on_invalid": source.on_invalid,
            },
            "steps": [recorded_step(step) for step in self.steps],
            "sinks": [recorded_sink(sink) for sink in self.sinks.values()],
            "output": self.output,
            "landscape": recorded_options(self.landscape),
            "payloads": recorded_options(self.payloads),
            "limits": recorded_options(self.limits),
            "retry": recorded_options(self.retry),
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 of the record as compact JSON. Comments and layout of the file do not enter.

        Keys stand in the order of the models and, where they are the user's, in that of the file: the
        order of a response schema's properties changes what a model answers.
        """
        text = json.dumps(self.recorded(), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_recorded(
        cls, recorded: Mapping[str, Any], catalog: PluginCatalog, *, environ: Mapping[str, str], assets: Assets
    ) -> Self:
        """The pipeline of a record, equal to the one that was recorded; reads nothing from the disk.

        Raises `TrailError` when this version cannot read the record or a file of it is missing, and
        `PipelineError` when its plugins refuse the recorded options.
        """
        if recorded.get("format") != RECORD_FORMAT:
            raise TrailError(f"a recorded configuration has the unknown format {recorded.get('format')!r}")
        path = Path(recorded["path"])
        context = OptionsContext(folder=path.parent, environ=environ, assets=assets, is_recorded=True)
        try:
            text = assets.read(str(path))
        except OSError as error:
            raise TrailError(f"the recorded pipeline file {path} is missing") from error
        declaration, diagnostics = assemble(file_values(recorded), catalog, context, reserved_paths={})
        if declaration is None:
            raise located(diagnostics)
        return cls(**structs.asdict(declaration), path=path, text=text)


def recorded_options(options: Options) -> dict[str, Any]:
    """Options as JSON, under the keys that the file uses."""
    values: dict[str, Any] = options.model_dump(mode="json", by_alias=True)
    return values


def recorded_step(step: PluginStep | GateStep) -> dict[str, Any]:
    """A step as JSON."""
    if isinstance(step, GateStep):
        return {
            "name": step.name,
            "gate": step.expression.text,
            "routes": [[label, target] for label, target in step.routes.items()],
            "on_error": step.on_error,
        }
    return {
        "name": step.name,
        "plugin": step.plugin,
        "options": recorded_options(step.options),
        "on_error": step.on_error,
        "next": step.next,
    }


def recorded_sink(sink: PipelineSink) -> dict[str, Any]:
    """A sink as JSON."""
    return {"name": sink.name, "plugin": sink.plugin, "options": recorded_options(sink.options)}


def file_values(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A record in the shape of a pipeline file; the inverse of the lists that `Pipeline.recorded` makes."""
    values = {key: value for key, value in recorded.items() if key not in ("format", "path")}
    schema = recorded["source"]["schema"]
    values["source"] = {**recorded["source"], "schema": None if schema is None else dict(schema)}
    values["steps"] = [
        {**step, "routes": dict(step["routes"])} if "routes" in step else step for step in recorded["steps"]
    ]
    values["sinks"] = {
        sink["name"]: {"plugin": sink["plugin"], "options": sink["options"]} for sink in recorded["sinks"]
    }
    return values


def display_path(path: Path) -> str:
    """The path as people here would write it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def located(diagnostics: Iterable[Diagnostic]) -> PipelineError:
    """The error with each diagnostic once, in the order of the file."""
    return PipelineError(sorted(dict.fromkeys(diagnostics), key=lambda d: (d.file, d.line, d.column)))
