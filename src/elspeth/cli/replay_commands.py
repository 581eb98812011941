"""The command that goes through a recorded run again: replay."""

from __future__ import annotations

import json as _json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elspeth.cli.output import SIMULATED, note, print_json, print_text
from elspeth.cli.trail_commands import DbOption, JsonOption, RunArgument

__all__ = ["register"]

_SHOWN = 20
_NOTE_EVERY = 100_000
_MOST_RANGES_SHOWN = 10
_MOST_CHARACTERS = 2_000
_IN_WORDS = {
    "rows": "the bytes of their rows are gone",
    "files": "the files of their configuration or batches are gone",
    "calls": "the bodies of their calls are gone",
    "damaged": "their payloads cannot be read",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(replay)


def replay(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where outputs go (.elspeth/replays/RUN).")
    ] = None,
    edited: Annotated[
        Path | None, typer.Option("--with", metavar="FILE", help="An edited pipeline: what would it change?")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, metavar="N", help="Show the first N differences of each sort.")
    ] = _SHOWN,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """A recorded run once more, from the trail alone and without a network; exit 1 when anything differs."""
    from elspeth.app.replay import ReplayRequest, replay_run
    from elspeth.app.state import State

    request = ReplayRequest(reference=run, out=out, edited=edited, keep=limit)
    found = replay_run(request, state=State.find(Path.cwd()), db=db, on_progress=_progress())
    if json:
        print_json(found.content)
    else:
        for line in _lines(found.content):
            print_text(line)
    if not found.is_identical:
        raise typer.Exit(1)


def _progress() -> Callable[[int], None]:
    """Says now and then how far the replay is, to a person who waits."""
    said = 0

    def progress(rows: int) -> None:
        nonlocal said
        if sys.stderr.isatty() and rows // _NOTE_EVERY > said:
            said = rows // _NOTE_EVERY
            note(f"{rows:,} rows replayed")

    return progress


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Differences, then what did not come out the same, then one line that says it all."""
    counts = content["differences"]
    shown: dict[str, list[Mapping[str, Any]]] = {}
    for difference in content["rows"]:
        shown.setdefault(difference["sort"], []).append(difference)
    for sort, differences in shown.items():
        whole = counts[sort]
        more = (
            "" if len(differences) == whole else f" (the first {len(differences):,} of {whole:,}; --limit shows more)"
        )
        yield f"{sort}: recorded -> replayed{more}"
        for difference in differences:
            yield f"  {_difference(difference)}"
    for why, rows in content["unreplayable"].items():
        yield f"{_rows(rows['rows'])} cannot be replayed, {_IN_WORDS[why]}: {_ranges(rows['ranges'])}"
    for step, rows in content["asked_anew"].items():
        yield f"{_rows(rows['rows'])} would be asked anew at {step}: {_ranges(rows['ranges'])}"
    for output in content["outputs"]:
        if not output["is_identical"]:
            sides = (
                _output(output["recorded_rows"], output["recorded_sha256"]),
                _output(output["rows"], output["sha256"]),
            )
            yield f"output {output['sink']}: {' -> '.join(sides)}"
    for why, number in content["not_recomputed"].items():
        yield f"taken from the record, not recomputed: {number:,} {why}"
    yield _summary(content)


def _summary(content: Mapping[str, Any]) -> str:
    outputs = content["outputs"]
    same = sum(output["is_identical"] for output in outputs)
    which = _count(same, "output") if same == len(outputs) else f"{same} of {_count(len(outputs), 'output')}"
    head = f"replayed {_rows(content['rows_replayed'])} of run {content['run']}: {which} identical byte for byte"
    parts = [head]
    counts = dict(content["differences"])
    rows = counts.pop("rows")
    if counts:
        sorts = ", ".join(_count(number, sort) for sort, number in counts.items())
        parts.append(f"{_rows(rows)} {'differs' if rows == 1 else 'differ'} ({sorts})")
    for sort, words in (("unreplayable", "not replayable"), ("asked_anew", "to be asked anew")):
        number = sum(found["rows"] for found in content[sort].values())
        if number:
            parts.append(f"{_rows(number)} {words}")
    if content["simulated"]:
        parts.append(SIMULATED)
    return " · ".join(parts)


def _difference(difference: Mapping[str, Any]) -> str:
    place = [] if difference["row"] is None else [f"row {difference['row']}"]
    place += [] if difference["step"] is None else [difference["step"]]
    sides = " -> ".join(
        _value(difference[side]) if side in difference else "(absent)" for side in ("recorded", "replayed")
    )
    return f"{'  '.join(place)}  {difference['field']}: {sides}"


def _value(value: Any) -> str:
    text = _json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}... ({len(text):,} characters)"


def _output(rows: int | None, digest: str | None) -> str:
    return "none" if digest is None else f"{_rows(rows or 0)}, sha256 {digest}"


def _ranges(ranges: Sequence[Sequence[int]]) -> str:
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:_MOST_RANGES_SHOWN]]
    return ", ".join(shown) + (", ..." if len(ranges) > _MOST_RANGES_SHOWN else "")


def _rows(number: int) -> str:
    return _count(number, "row")


def _count(number: int, thing: str) -> str:
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing.removesuffix('y')}ies" if thing == "reply" else f"{number:,} {thing}s"
