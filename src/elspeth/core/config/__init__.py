"""The pipeline file: reading, checking, recording and restoring it."""

from elspeth.core.config.assembly import GateStep, PipelineSink, PipelineSource, PluginStep
from elspeth.core.config.assets import Assets, DiskAssets, RecordedAssets
from elspeth.core.config.catalog import PluginCatalog, PluginKind
from elspeth.core.config.json_schema import pipeline_schema
from elspeth.core.config.loader import load_pipeline
from elspeth.core.config.models import (
    FieldSpec,
    LandscapeSection,
    LimitsSection,
    PayloadsSection,
    RetrySection,
)
from elspeth.core.config.options import (
    Asset,
    InputPath,
    Options,
    OptionsContext,
    OutputPath,
    Secret,
    parse_options,
)
from elspeth.core.config.pipeline import Pipeline
from elspeth.core.config.rendering import diagnostic_dict, render_github, render_text

__all__ = [
    "Asset",
    "Assets",
    "DiskAssets",
    "FieldSpec",
    "GateStep",
    "InputPath",
    "LandscapeSection",
    "LimitsSection",
    "Options",
    "OptionsContext",
    "OutputPath",
    "PayloadsSection",
    "Pipeline",
    "PipelineSink",
    "PipelineSource",
    "PluginCatalog",
    "PluginKind",
    "PluginStep",
    "RecordedAssets",
    "RetrySection",
    "Secret",
    "diagnostic_dict",
    "load_pipeline",
    "parse_options",
    "pipeline_schema",
    "render_github",
    "render_text",
]
