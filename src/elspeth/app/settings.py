"""In which settings and files the configurations of two runs differ.

Settings are those that the trail recorded: resolved, secrets by reference. Steps and sinks
are compared by name, so that one which was put in between does not shift the others; their
order is a setting of its own, and so is that of every mapping.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elspeth.contracts import PurgedError
from elspeth.core.canonical import compact_json
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.payloads import parse_reference

__all__ = ["PIPELINE_FILE", "file_differences", "setting_differences", "text_difference"]

PIPELINE_FILE = "pipeline file"
MOST_TEXT_BYTES = 100_000
"""Of larger texts it is only said that they differ: to look for the differing lines would take too long."""


def setting_differences(a: RunHeader, b: RunHeader) -> Iterator[dict[str, Any]]:
    """Each setting with its value in each run; a side that does not have it is left out."""
    one, other = _settings(a), _settings(b)
    for path, values in _differences(one, other, ()):
        yield {"setting": ".".join(path), **values}


def file_differences(reader: LandscapeReader, a: RunHeader, b: RunHeader) -> Iterator[dict[str, Any]]:
    """Each file with its name and hash in each run, and the lines in which texts differ, as a unified diff.

    Files are the same when their paths from the pipeline file's folder are. ``diff`` is None for what is no text,
    is large, is in one run only, or is purged in a run; which ones is then in ``purged``.
    """
    one, other = _files(reader, a), _files(reader, b)
    for label in {**one, **other}:
        first, second = one.get(label), other.get(label)
        if first is not None and second is not None and first[1] == second[1]:
            continue
        entry: dict[str, Any] = {"file": label}
        for side, file in (("a", first), ("b", second)):
            if file is not None:
                entry[side] = {"name": file[0], "sha256": file[1].hex()}
        texts = []
        for side, run, file in (("a", a, first), ("b", b, second)):
            try:
                texts.append(_text(reader, run, file))
            except PurgedError:
                entry.setdefault("purged", []).append(side)
        is_shown = len(texts) == 2 and None not in texts
        entry["diff"] = text_difference(*(text or "" for text in texts)) if is_shown else None
        yield entry


def text_difference(one: str, other: str) -> list[str] | None:
    """A unified diff, line by line; empty when nothing but line ends differs, None for large texts."""
    if max(len(one), len(other)) > MOST_TEXT_BYTES:
        return None
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), "A", "B", lineterm="", n=2)
    return list(lines)


def _settings(run: RunHeader) -> dict[str, Any]:
    """The recorded configuration, and what the command line said of the rows to take."""
    settings: dict[str, Any] = json.loads(run.config_json)
    if run.row_limit is not None:
        settings["--limit"] = run.row_limit
    if run.sample is not None:
        settings["--sample"] = {"rows": run.sample.rows, "seed": run.sample.seed, "of": run.sample.of}
    return settings


def _differences(one: Any, other: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    first, second = _named(one), _named(other)
    if first is None or second is None:
        if compact_json(one) != compact_json(other):
            yield path, {"a": one, "b": other}
        return
    for name in {**first, **second}:
        if name not in second:
            yield (*path, name), {"a": first[name]}
        elif name not in first:
            yield (*path, name), {"b": second[name]}
        else:
            yield from _differences(first[name], second[name], (*path, name))
    if [name for name in first if name in second] != [name for name in second if name in first]:
        yield (*path, "(order)"), {"a": list(first), "b": list(second)}


def _named(value: Any) -> dict[str, Any] | None:
    """A mapping, also one that was recorded as a list to keep its order; None for anything else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in value):
        pairs = [(item["name"], {name: part for name, part in item.items() if name != "name"}) for item in value]
    elif all(isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in value):
        pairs = [(item[0], item[1]) for item in value]
    else:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _files(reader: LandscapeReader, run: RunHeader) -> dict[str, tuple[str, bytes, str]]:
    """Name, hash and reference of each file of a run; the pipeline file first, whatever its name."""
    pipeline = json.loads(run.config_json).get("path")
    files = {}
    for name, digest, ref in reader.query(
        "SELECT name, hash, ref FROM run_files WHERE run_no = ?1 ORDER BY name <> ?2, name", run.run_no, pipeline
    ):
        path = Path(name)
        shown = str(path.relative_to(run.folder)) if path.is_relative_to(run.folder) else name
        files[PIPELINE_FILE if name == pipeline else shown] = (shown, digest, ref)
    return files


def _text(reader: LandscapeReader, run: RunHeader, file: tuple[str, bytes, str] | None) -> str | None:
    if file is None:
        return None
    ref = parse_reference(file[2], file[1])
    if ref.length > MOST_TEXT_BYTES:
        return None
    try:
        return Payloads(reader, run).body(ref).decode()
    except UnicodeDecodeError:
        return None
