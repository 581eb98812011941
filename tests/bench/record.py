"""What a benchmark leaves behind: everything as JSON, the tables as Markdown, and those in the document's block."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.bench.figures import Report, Spread
from tests.bench.limits import LIMITS, judged
from tests.bench.usage import Measurement

__all__ = ["as_json", "as_markdown", "machine", "with_figures"]

SCHEMA_VERSION = 1
BEGIN = "<!-- figures: begin (written by `make bench`) -->"
END = "<!-- figures: end -->"


def machine() -> dict[str, Any]:
    """Where and when the figures were taken."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def as_json(place: Mapping[str, Any], reports: Mapping[str, Report], measurements: Sequence[Measurement]) -> str:
    """One object: the machine, each case's figures, the limits, every single measurement."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "machine": place,
        "cases": {name: {key: _spread(found) for key, found in case.figures.items()} for name, case in reports.items()},
        "limits": list(_limits(_figures(reports))),
        "measurements": [one.to_dict() for one in measurements],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(place: Mapping[str, Any], reports: Mapping[str, Report]) -> str:
    """The tables of all cases, and the limits' at the end."""
    where = "{processor}, {cores} cores, {system}, Python {python}, {date}. Medians, with the smallest and the largest."
    tables = [table for case in reports.values() for table in case.tables]
    return "\n\n".join([where.format(**place), *(table.markdown() for table in (*tables, judged(_figures(reports))))])


def with_figures(document: str, markdown: str) -> str:
    """The document with these tables between its two comments; raises ValueError when it has no such block."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    block = f"{BEGIN}\n\n{markdown}\n\n{END}"
    changed, found = pattern.subn(lambda _: block, document)
    if found != 1:
        raise ValueError(f"the document has no block between {BEGIN} and {END}")
    return changed


def _figures(reports: Mapping[str, Report]) -> dict[str, Spread]:
    return {name: found for case in reports.values() for name, found in case.figures.items()}


def _limits(figures: Mapping[str, Spread]) -> Iterator[dict[str, Any]]:
    for limit in LIMITS:
        if (figure := figures.get(limit.figure)) is not None:
            bounds = {"at_least": limit.at_least, "at_most": limit.at_most}
            yield {"limit": limit.what, **bounds, "figure": limit.figure, "kept": limit.is_kept(figure.median)}


def _spread(found: Spread) -> dict[str, Any]:
    """JSON knows no infinity: what is lost in the noise is null."""
    values = [value if math.isfinite(value) else None for value in found.values]
    return {"median": found.median if None not in values else None, "values": values}


def _processor() -> str:
    """Linux knows the model's name; elsewhere the architecture must do."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
