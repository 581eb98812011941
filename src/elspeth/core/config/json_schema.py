"""The JSON Schema of a pipeline file, for editors.

It helps while typing; `load_pipeline` decides. Where a file may have a number or
a word of a list it may also have ``${NAME}``, so the schema allows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from elspeth.core.config.catalog import PluginCatalog, PluginKind
from elspeth.core.config.models import (
    GateSection,
    PipelineFile,
    SinkSection,
    SourceSection,
    StepSection,
)
from elspeth.core.config.options import Options
from elspeth.core.graph import NAME

__all__ = ["pipeline_schema"]

Schema: TypeAlias = dict[str, Any]

REFERENCE: Schema = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"}
NAME_PATTERN = f"^{NAME.pattern}$"


def pipeline_schema(catalog: PluginCatalog) -> Schema:
    """The schema with the options of every plugin in the catalog."""
    definitions: Schema = {}
    top = section_schema(PipelineFile, "file", definitions)
    sources = plugin_sections(SourceSection, "source", catalog, definitions)
    steps = plugin_sections(StepSection, "transform", catalog, definitions)
    sinks = plugin_sections(SinkSection, "sink", catalog, definitions)
    gate = section_schema(GateSection, "gate", definitions)
    for section in (top, gate, *steps):
        section["properties"]["name"] = {"type": "string", "pattern": NAME_PATTERN}
    top["properties"]["source"] = {"anyOf": list(sources)}
    top["properties"]["steps"] = {"type": "array", "items": {"anyOf": [*steps, gate]}}
    top["properties"]["sinks"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"anyOf": list(sinks)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "elspeth pipeline",
        **{key: value for key, value in top.items() if key != "title"},
        "$defs": definitions,
    }


def plugin_sections(
    section: type[Options], kind: PluginKind, catalog: PluginCatalog, definitions: Schema
) -> list[Schema]:
    """The section as it looks with each plugin of a kind."""
    return list(each_plugin(section, kind, catalog, definitions))


def each_plugin(
    section: type[Options], kind: PluginKind, catalog: PluginCatalog, definitions: Schema
) -> Iterator[Schema]:
    """The section with one plugin's name and options at a time."""
    for name in catalog.names(kind):
        model = catalog.options_model(kind, name)
        if model is None:
            continue
        schema = section_schema(section, kind, definitions)
        options = section_schema(model, f"{kind}.{name}", definitions)
        schema["properties"]["plugin"] = {"const": name}
        schema["properties"]["options"] = options
        needed = ["options"] if options.get("required") else []
        schema["required"] = [*schema.get("required", []), *needed]
        yield schema


def section_schema(model: type[Options], prefix: str, definitions: Schema) -> Schema:
    """A model's schema; what it defines for itself moves to ``definitions`` under a prefix."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = with_references(definition)
    widened: Schema = with_references(schema)
    return widened


def with_references(schema: Any) -> Any:
    """The schema in which a reference may stand for every value that is not free text."""
    if not isinstance(schema, dict):
        return schema
    widened = {key: with_references_below(key, value) for key, value in schema.items()}
    is_leaf = widened.get("type") in ("integer", "number", "boolean") or "enum" in widened
    if is_leaf or ("pattern" in widened and not str(widened["pattern"]).startswith(r"^\$")):
        described = {key: widened.pop(key) for key in ("title", "description", "default") if key in widened}
        return {**described, "anyOf": [widened, REFERENCE]}
    return widened


def with_references_below(key: str, value: Any) -> Any:
    """The same for what stands under one of a schema's keywords."""
    if key in ("properties", "patternProperties") and isinstance(value, dict):
        return {name: with_references(schema) for name, schema in value.items()}
    if key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, Iterable):
        return [with_references(schema) for schema in value]
    if key in ("items", "additionalProperties"):
        return with_references(value)
    return value
