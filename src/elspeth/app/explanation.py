"""The explanation of a row, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.lineage import Lineage

__all__ = ["SIMULATED", "Explanation", "explain_row", "explained_by", "purged_words", "reused_words"]

SIMULATED = "SIMULATED ANSWERS: they come from the built-in simulator, not from a model."


class Explanation(Struct, frozen=True):
    """One row from source to sink. ``str()`` is for people, `to_dict` for programs."""

    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The shape of ``explain --json``."""
        return self.content

    def __str__(self) -> str:
        return "\n".join(_lines(self.content))


def explain_row(
    reader: LandscapeReader, run: RunHeader, *, row: int | None = None, key: str | None = None
) -> Explanation:
    """Explains a row by index or by key; raises `TrailError` when a hash does not fit."""
    return explained_by(Lineage(reader, run), row=row, key=key)


def explained_by(lineage: Lineage, *, row: int | None = None, key: str | None = None) -> Explanation:
    """The same by what explained other rows before."""
    if row is not None:
        return Explanation(lineage.explain(row))
    return Explanation(lineage.explain(lineage.row_of_key(key or ""), key=key))


def purged_words(mark: Mapping[str, str]) -> str:
    """What stands for people in the place of purged bytes."""
    return f"purged on {mark['at'][:10]} by {mark['by']}: {mark['why']}"


def _lines(content: dict[str, Any]) -> Iterator[str]:
    row = content["row"]
    yield f"run {content['run']}  {content['pipeline']}"
    if content["simulated"]:
        yield SIMULATED
    key = f"  key {row['key']}" if row["key"] is not None else ""
    yield f"row {row['index']}  source line {row['line']}{key}"
    yield f"  sha256 {row['hash']}"
    if "error" in row:
        yield f"  rejected: {row['error']['code']}: {row['error']['message']}"
        yield f"  raw: {purged_words(row['purged']) if 'purged' in row else repr(row['raw'])}"
    elif "purged" in row:
        yield f"  {purged_words(row['purged'])}"
    else:
        yield from _object(row["data"])
    for number, step in enumerate(content["steps"], start=1):
        yield ""
        yield from _step_lines(number, step, content["run"])
    yield ""
    yield from _outcome_lines(content["outcomes"])
    yield _checked(content)


def _checked(content: dict[str, Any]) -> str:
    parts = [content["row"], *content["steps"]]
    parts += [a[n] for step in content["steps"] for a in step.get("attempts", ()) for n in ("request", "reply") if a[n]]
    if any("purged" in part for part in parts):
        return "what is purged could not be checked; every hash of this row's other bytes was"
    return "every hash of this row's bytes was checked"


def _step_lines(number: int, step: dict[str, Any], run: str) -> Iterator[str]:
    yield f"step {number}  {step['name']} ({step['plugin']})  {step['status']}"
    if "gate" in step:
        gate = step["gate"]
        yield f"  rule: {gate['expression']}"
        yield f"  values: {'purged' if 'purged' in step else _compact(gate['values'])}"
        yield f"  route: {gate['route']}"
    for attempt in step.get("attempts", ()):
        yield from _attempt_lines(attempt, run)
    if "error" in step:
        yield f"  error: {step['error']['code']}: {step['error']['message']}"
        if "detail" in step["error"]:
            yield f"  detail: {_compact(step['error']['detail'])}"
    if "purged" in step:
        yield from _purged_lines(step)
    elif "error" in step:
        return
    elif step["output"] is None:
        yield "  waits for the provider"
    elif step["output"] == step["input"]:
        yield "  row unchanged"
    else:
        yield from _changes(step["input"], step["output"])


def _purged_lines(step: dict[str, Any]) -> Iterator[str]:
    """The hashes of a row before and after a step, in the place of its fields."""
    if step["output_hash"] == step["input_hash"]:
        yield f"  row unchanged: sha256 {step['input_hash']}"
    else:
        yield f"  input: sha256 {step['input_hash']}"
        if step["output_hash"] is not None:
            yield f"  output: sha256 {step['output_hash']}"
    yield f"  {purged_words(step['purged'])}"


def _attempt_lines(attempt: dict[str, Any], run: str) -> Iterator[str]:
    if attempt["reused_from"] is not None:
        yield f"  {reused_words(attempt['reused_from'], run)}"
    else:
        where = f"attempt {attempt['attempt'] + 1}, batch {attempt['batch']}"
        yield f"  {where} (calls {', '.join(attempt['call_ids']) or '-'})"
    if attempt["shared_with"] is not None:
        yield f"    shares the request of row {attempt['shared_with']['row']}"
    for name in ("request", "reply"):
        part = attempt[name]
        if part is None:
            yield f"    no {name} yet"
            continue
        line = "a line" if part["file_line"] is None else f"line {part['file_line']}"
        yield f"    {name}: {line} of the {part['file']} file, sha256 {part['sha256']}"
        yield f"      {purged_words(part['purged']) if 'purged' in part else part['line'].rstrip()}"


def reused_words(origin: Mapping[str, Any], run: str) -> str:
    """From where an answer was taken; ``run`` is the one that took it."""
    where = "" if origin["run"] == run else f"run {origin['run']}, "
    return f"answer of {where}row {origin['row']}, batch {origin['batch']}, reused"


def _outcome_lines(outcomes: list[dict[str, Any]]) -> Iterator[str]:
    if not outcomes:
        yield "outcome: none yet"
    for outcome in outcomes:
        reason = f" ({outcome['reason']})" if outcome["reason"] else ""
        yield f"outcome: {outcome['outcome']}{reason}"
        if outcome["sink"] is None:
            yield "  discarded"
        else:
            yield f"  sink {outcome['sink']}, line {outcome['line']} of {outcome['path'] or 'its unfinished file'}"


def _object(value: dict[str, Any]) -> Iterator[str]:
    for name, field in value.items():
        yield f"  {name}: {_compact(field)}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name, field in after.items():
        if name not in before:
            yield f"  + {name}: {_compact(field)}"
        elif before[name] != field:
            yield f"  ~ {name}: {_compact(before[name])} -> {_compact(field)}"
    for name in before:
        if name not in after:
            yield f"  - {name}"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
