"""Loading a pipeline file: every error at once, each at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from elspeth.contracts import Diagnostic
from elspeth.core.config.assembly import assemble
from elspeth.core.config.assets import DiskAssets
from elspeth.core.config.catalog import PluginCatalog
from elspeth.core.config.document import Document, Scalar, parse_document, unreadable
from elspeth.core.config.environment import Interpolation, read_dotenv
from elspeth.core.config.options import OptionsContext
from elspeth.core.config.pipeline import Pipeline, located
from elspeth.core.config.resolution import Resolution

__all__ = ["load_pipeline"]

# The key itself, or the one that its hint proposes.
SECRET_KEY = re.compile(r"(?i)(?:\S*|.* did you mean '\S*)(?:key|secret|token|password|credential)")
COMMENT = re.compile(r"[ \t]+#")


def load_pipeline(path: str | Path, catalog: PluginCatalog, *, environ: Mapping[str, str]) -> Pipeline:
    """The pipeline in a file; raises `PipelineError` with everything that is wrong in it.

    ``environ`` wins over the ``.env`` beside the file. Secrets need not be set. The data is not looked at.
    """
    file = Path(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise unreadable(str(path), "MISSING_FILE", f"cannot read this file: {error.strerror}") from error
    document = parse_document(str(path), text)
    absolute = file.absolute()
    dotenv, diagnostics = read_dotenv(absolute.parent / ".env")
    context = OptionsContext(
        folder=absolute.parent, environ={**dotenv, **environ}, assets=DiskAssets(), is_recorded=False
    )
    interpolation = Interpolation(context.environ)
    resolution = Resolution(document, catalog, interpolation)
    values = resolution.values()
    reserved = {str(absolute.resolve()): "the pipeline file"}
    declaration, faults = assemble(values, catalog, context, reserved_paths=reserved)
    diagnostics += document.diagnostics + resolution.diagnostics + interpolation.diagnostics
    diagnostics += without_consequences(faults, interpolation.diagnostics)
    if diagnostics or declaration is None:
        mask_secrets(document, diagnostics)
        raise located(document.locate(explain_comment(document, d)) for d in diagnostics)
    return Pipeline(**structs.asdict(declaration), path=absolute, text=text)


def without_consequences(faults: Iterable[Diagnostic], missing: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The faults but for those of values whose variable is missing: that is reported already."""
    places = {d.path for d in missing}
    return [f for f in faults if not any(f.path[: len(place)] == place for place in places)]


def mask_secrets(document: Document, diagnostics: Iterable[Diagnostic]) -> None:
    """Hides values that may be secrets though no option says so: misspelt keys, a database's URL."""
    for diagnostic in diagnostics:
        meant = f"{diagnostic.path[-1]} {diagnostic.hint}" if diagnostic.path else ""
        is_misspelt = diagnostic.code == "UNKNOWN_KEY" and SECRET_KEY.match(meant)
        if is_misspelt or diagnostic.path == ("landscape", "url"):
            document.mask(diagnostic.path)


def explain_comment(document: Document, diagnostic: Diagnostic) -> Diagnostic:
    """The hint for a gate that YAML cut at `` #``, where a comment begins."""
    node, _, is_there = document.find(diagnostic.path)
    if diagnostic.code != "EXPRESSION" or not is_there or not isinstance(node, Scalar) or node.style is not None:
        return diagnostic
    if COMMENT.match(document.positions.text, node.end):
        return replace(diagnostic, hint="YAML takes ' #' for a comment: quote the whole expression")
    return diagnostic
