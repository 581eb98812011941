"""What the trail keeps of a run's pipeline: all that it takes to go on with the run, or to go through it again."""

from __future__ import annotations

import json
from collections.abc import Mapping

from elspeth.app.composition import Beginning
from elspeth.contracts import Fields, FieldType
from elspeth.core.canonical import compact_json
from elspeth.core.config import Pipeline, RecordedAssets
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.engine.plan import SOURCE_NODE
from elspeth.plugins.registry import Registry

__all__ = ["fields_json", "read_fields", "recorded_beginning", "recorded_pipeline"]


def recorded_pipeline(
    reader: LandscapeReader, run: RunHeader, registry: Registry, *, environ: Mapping[str, str]
) -> Pipeline | None:
    """The pipeline of a run, from the trail alone, with secrets from ``environ``; None before the first commit."""
    payloads = Payloads(reader, run)
    files = {
        name: payloads.body_at(ref, digest)
        for name, ref, digest in reader.query("SELECT name, ref, hash FROM run_files WHERE run_no = ?", run.run_no)
    }
    if not files:
        return None
    config = json.loads(run.config_json)
    return Pipeline.from_recorded(config, registry, environ=environ, assets=RecordedAssets(files))


def recorded_beginning(reader: LandscapeReader, run: RunHeader) -> Beginning:
    """What was true when the run began: the source's fields, the prices."""
    ((fields,),) = reader.query(
        "SELECT fields_json FROM nodes WHERE run_no = ? AND node_no = ?", run.run_no, SOURCE_NODE
    )
    return Beginning(source_fields=read_fields(fields), prices=reader.prices(run.run_no))


def fields_json(fields: Fields) -> str:
    """Fields as the table of nodes holds them."""
    types = [[name, None if kind is None else kind.value] for name, kind in fields.types.items()]
    return compact_json({"fields": types, "is_open": fields.is_open})


def read_fields(text: str) -> Fields:
    """The inverse of `fields_json`."""
    recorded = json.loads(text)
    types = {name: None if kind is None else FieldType(kind) for name, kind in recorded["fields"]}
    return Fields(types, recorded["is_open"])
