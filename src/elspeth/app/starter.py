"""Beginnings: the small project that `init` writes, and the working copy of the example that `demo` runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from elspeth.app.state import State
from elspeth.contracts import UsageError
from elspeth.core.config import pipeline_schema
from elspeth.plugins.registry import Registry

__all__ = ["EXAMPLE", "copy_example", "schema_text", "write_starter"]

EXAMPLE = "debian-packages"
SCHEMA = "elspeth.schema.json"

_APP = Path(__file__).parent
_STARTER = {"pipeline.yaml": "pipeline.yaml", "tickets.csv": "tickets.csv", "README.md": "README.md"} | {
    "env.example": ".env.example"  # without its dot in the package, so that no tool takes it for its own
}
_EXAMPLE_DATA = ("README.md", "packages.csv")


def write_starter(folder: Path) -> list[Path]:
    """Writes the starting project and its state folder; returns the files, in order.

    Raises `UsageError` before anything is written when a file of it is there already.
    """
    sources = {folder / target: _APP / "starter_files" / name for name, target in _STARTER.items()}
    targets = [*sources, folder / SCHEMA]
    existing = [target.name for target in targets if target.exists() or target.is_symlink()]
    if existing:
        raise UsageError(
            f"{', '.join(existing)} exist{'s' if len(existing) == 1 else ''} in {folder} already; nothing was written",
            hint="Name another folder: elspeth init DIR",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, source in sources.items():
            target.write_bytes(source.read_bytes())
        (folder / SCHEMA).write_text(schema_text(), encoding="utf-8")
        State(folder.absolute() / ".elspeth").create()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    return targets


def copy_example(folder: Path) -> Path:
    """Puts the example's files into a folder, over those of an earlier copy; returns the pipeline file.

    Raises `UsageError` when the folder is not empty and not such a copy: nobody's work is replaced.
    """
    source = _example_folder()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="Name another one with --dir.")
    pipeline, text = folder / "pipeline.yaml", (source / "pipeline.yaml").read_text(encoding="utf-8")
    is_copy = pipeline.is_file() and pipeline.read_bytes() == text.encode()
    if folder.is_dir() and any(folder.iterdir()) and not is_copy:
        raise UsageError(
            f"{folder} holds files that are not the example's, or its pipeline.yaml has been edited",
            hint="Name another folder with --dir.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _EXAMPLE_DATA:
            shutil.copyfile(source / name, folder / name)
        pipeline.write_bytes(text.encode())
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    return pipeline


def schema_text() -> str:
    """The JSON Schema of pipeline files with the plugins that are installed here."""
    return json.dumps(pipeline_schema(Registry()), ensure_ascii=False, indent=2) + "\n"


def _example_folder() -> Path:
    """The example in the source checkout, or the copy of it that a wheel carries."""
    candidates = (_APP.parents[2] / "examples" / EXAMPLE, _APP / "examples" / EXAMPLE)
    for folder in candidates:
        if (folder / "pipeline.yaml").is_file():
            return folder
    raise UsageError(
        "the example is missing from this installation", hint="Install elspeth again, or start with: elspeth init"
    )
