"""A replay in this process, of what a workbench has run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.engine.workbench import Project

from elspeth.app.replay import ReplayRequest, replay_run

__all__ = ["found", "replay"]


def replay(bench: Project, **request: Any) -> Mapping[str, Any]:
    """The last run once more; the content of the result."""
    asked = ReplayRequest(**{"reference": "latest", "out": bench.folder / "replayed", **request})
    return replay_run(asked, state=bench.state, environ={}).content


def found(content: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The differences as sort, row, step and field."""
    return [(entry["sort"], entry["row"], entry["step"], entry["field"]) for entry in content["rows"]]
