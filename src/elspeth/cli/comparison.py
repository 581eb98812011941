"""The words of ``diff``: summary first, then what may have caused it, then single rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from elspeth.app.settings import text_difference
from elspeth.cli.output import SIMULATED
from elspeth.contracts import dollars

__all__ = ["head_lines", "lone_row_line", "row_lines"]

_IN_WORDS = {
    "field_order": "the order of fields",
    "bytes": "purged bytes",
    "record": "the source record",
    "outcome": "the outcome",
    "sink": "the sink",
    "failure": "the failure",
}
_REQUEST_WORDS = {
    "identical": "the same request, byte for byte",
    "identical_but_for_custom_id": "the same request but for its custom id",
    "other": "another request",
    "unknown": "not the same bytes; what differs is purged",
    None: "asked in one run only",
}


def head_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Everything but single rows."""
    a, b = content["a"], content["b"]
    for name, run in (("A", a), ("B", b)):
        yield f"{name}  run {run['run']}  {run['pipeline']}  {run['status']}  {run['started_at']}"
    if a["simulated"] or b["simulated"]:
        yield f"{SIMULATED} in {' and '.join(name for name, run in (('A', a), ('B', b)) if run['simulated'])}"
    yield _summary(content["rows"])
    yield ""
    yield from _output_lines(content)
    yield from _configuration_lines(content["configuration"])
    yield from _code_lines(a, b)
    yield from _money_lines(a, b)


def row_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """A row that differs: each thing with its value in A and in B."""
    a, b = row["a"], row["b"]
    yield f"{_place(row)}  (row {a['row']} in A, row {b['row']} in B)"
    for aspect in row["differs"]:
        what, name = aspect["what"], aspect.get("name", "")
        match what:
            case "field":
                yield f"  {name}: {_sides(row['fields'][name])}"
            case "route":
                yield f"  route of {name}: {a['routes'].get(name, '-')} -> {b['routes'].get(name, '-')}"
            case "failure":
                yield f"  failure: {_failure(a)} -> {_failure(b)}"
            case "outcome" | "sink":
                yield f"  {what}: {a[what] or '-'} -> {b[what] or '-'}"
            case _:
                yield f"  {_IN_WORDS[what]}: sha256 {a['hash']} -> {b['hash']}"
    for answer in row["answers"]:
        yield f"  answer of {answer['step']}: {_sides(answer)}  ({_REQUEST_WORDS[answer['request']]})"


def lone_row_line(row: Mapping[str, Any]) -> str:
    """A row that only one run has."""
    end = row["outcome"] or "no outcome yet"
    reason = f" ({row['reason']})" if row["reason"] else ""
    index = "" if row["key"] is None else f"  (row {row['row']})"
    return f"{_place(row)}{index}  {end}{reason}{', sink ' + row['sink'] if row['sink'] else ''}"


def _summary(rows: Mapping[str, Any]) -> str:
    parts = [f"{rows['same']:,} same"]
    if rows["differ"]:
        parts.append(f"{rows['differ']:,} differ{_differ_in(rows)}")
    parts += [f"{rows[side]:,} only in {side[-1].upper()}" for side in ("only_a", "only_b") if rows[side]]
    return f"{rows['all']:,} rows by {rows['by']}: {', '.join(parts)}"


def _differ_in(rows: Mapping[str, Any]) -> str:
    """``in `category```, and with numbers where they say more than that."""
    aspects = rows["differ_in"]
    if len(aspects) == 1:
        return f" in {_in_words(aspects[0])}"
    counted = ", ".join(f"{aspect['rows']:,} in {_in_words(aspect)}" for aspect in aspects)
    return f" ({counted})"


def _in_words(aspect: Mapping[str, Any]) -> str:
    match aspect["what"]:
        case "field":
            return f"`{aspect['name']}`"
        case "route":
            return f"the route of {aspect['name']}"
        case what:
            return _IN_WORDS[what]


def _output_lines(content: Mapping[str, Any]) -> Iterator[str]:
    outputs = content["outputs"]
    if not outputs:
        yield "outputs: neither run has finished one"
        return
    differing = [output for output in outputs if not output["same"]]
    yield f"outputs: {len(outputs) - len(differing)} of {len(outputs)} have the same bytes"
    for output in differing:
        yield f"  {output['sink']}: {_file(output['a'])} -> {_file(output['b'])}"
    if differing and content["rows"]["same"] == content["rows"]["all"]:
        yield "  every row is the same: their order, the format or the words of an error are not"


def _file(artifact: Mapping[str, Any] | None) -> str:
    return "none" if artifact is None else f"{artifact['records']:,} rows, sha256 {artifact['sha256']}"


def _configuration_lines(configuration: Mapping[str, Any]) -> Iterator[str]:
    settings, files = configuration["settings"], configuration["files"]
    if not settings and not files:
        yield "configuration: the same settings and files"
        return
    yield f"configuration: {_count(len(settings), 'setting')} and {_count(len(files), 'file')} differ"
    for entry in settings:
        yield from _setting_lines(entry)
    for entry in files:
        names = list(dict.fromkeys(entry[side]["name"] for side in ("a", "b") if side in entry))
        shown = " -> ".join(names)
        yield f"  {shown if entry['file'] in names else entry['file'] + ' ' + shown}: {_file_difference(entry)}"
        for line in entry["diff"] or ():
            yield f"    {line}"


def _setting_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """A setting; one of several lines, such as a template, as a unified diff."""
    a, b = entry.get("a"), entry.get("b")
    is_text = isinstance(a, str) and isinstance(b, str) and "\n" in a + b
    lines = text_difference(str(a), str(b)) if is_text else None
    yield f"  {entry['setting']}:{'' if lines else ' ' + _sides(entry)}"
    for line in lines or ():
        yield f"    {line}"


def _file_difference(entry: Mapping[str, Any]) -> str:
    if "a" not in entry or "b" not in entry:
        return f"only in {'A' if 'a' in entry else 'B'}"
    words = f"sha256 {entry['a']['sha256']} -> {entry['b']['sha256']}"
    if entry.get("purged"):
        return f"{words}, purged in {' and '.join(side.upper() for side in entry['purged'])}"
    return f"{words}, in line ends only" if entry["diff"] == [] else words


def _code_lines(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    one, other = (", ".join(run["code_versions"]) for run in (a, b))
    yield f"code: elspeth {one} in both" if one == other else f"code: elspeth {one} -> {other}"


def _money_lines(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    if not a["usage"] and not b["usage"]:
        yield "cost: no model was asked"
        return
    yield f"cost: {_cost(a)} -> {_cost(b)}"
    for model in {**a["usage"], **b["usage"]}:
        one, other = a["usage"].get(model, {}), b["usage"].get(model, {})
        counts = (f"{name} {one.get(name, 0):,} -> {other.get(name, 0):,}" for name in {**one, **other})
        yield f"  {model}: {', '.join(counts)}"


def _cost(run: Mapping[str, Any]) -> str:
    spent = run["money"]["spent_usd"]
    return "unknown" if spent is None else dollars(spent)


def _place(row: Mapping[str, Any]) -> str:
    return f"row {row['a']['row'] if 'a' in row else row['row']}" if row["key"] is None else f"key {row['key']}"


def _failure(standing: Mapping[str, Any]) -> str:
    return "-" if standing["reason"] is None else f"{standing['step'] or '-'} ({standing['reason']})"


def _sides(entry: Mapping[str, Any]) -> str:
    """``value in A -> value in B``."""
    purged = entry.get("purged", ())
    return " -> ".join(
        json.dumps(entry[side], ensure_ascii=False)
        if side in entry
        else f"({'purged' if side in purged else 'absent'})"
        for side in ("a", "b")
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
