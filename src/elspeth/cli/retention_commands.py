"""``purge`` and ``hold``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elspeth.cli.durations import parse_duration_s
from elspeth.cli.output import note, print_error, print_json, print_text
from elspeth.cli.retention import outcome_json, outcome_lines
from elspeth.contracts import BusyError, UsageError

if TYPE_CHECKING:
    from elspeth.app.retention import Keeper, Outcome
    from elspeth.core.landscape import LandscapeReader

__all__ = ["register"]

_US = 1_000_000
_CLASSES = ("rows", "calls", "files", "all")

WhyOption = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The reason, which is recorded.")]
DbOption = Annotated[str | None, typer.Option("--db", metavar="URL", help="The trail's database.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("purge")(purge)
    app.command("hold")(hold)


def purge(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs by id or prefix, whatever their age.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="D", help="Runs whose last event is so long ago: 90d.")
    ] = None,
    payload_class: Annotated[
        list[str] | None, typer.Option("--class", metavar="CLASS", help="rows, calls, files or all (the default).")
    ] = None,
    why: WhyOption = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also runs that failed or were interrupted, if old enough.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Only finish purges that were begun.")] = False,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """Delete payloads past their time and keep their hashes; says what would go, unless told --yes."""
    from elspeth.app.purge_plan import Wanted, plan_purge
    from elspeth.app.retention import Outcome, carry_out
    from elspeth.core.clock import SystemClock

    wanted = Wanted(
        runs=tuple(runs or ()),
        older_than_us=None if older_than is None else round(parse_duration_s(older_than) * _US),
        classes=_classes(payload_class or ["all"]),
        unfinished=unfinished,
        only_begun=resume,
    )
    reason = None if why is None else _reason(why)
    with _reader(db) as reader:
        plan = plan_purge(reader, wanted, now_us=SystemClock().now_us())
        if not (yes or resume):
            outcome = Outcome.of_plan(plan)
        elif reason is None and any(one.new for one in plan.planned):
            raise UsageError("purge --yes needs --why TEXT", hint="It is recorded, and shown in place of the bytes.")
        else:
            outcome = carry_out(plan, wanted, keeper=lambda: _keeper(reader), why=reason)
        code = _report(outcome, as_json=json)
    raise typer.Exit(code)


def hold(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id or a prefix of it; without one: all that are held."),
    ] = None,
    why: WhyOption = None,
    release: Annotated[bool, typer.Option("--release", help="End the hold.")] = False,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """Forbid purging a run, or list the runs that are held."""
    if run is None:
        if why is not None or release:
            raise UsageError("hold needs a run", hint="Without one it lists the runs that are held.")
        _list_held(db, as_json=json)
        return
    if why is None:
        raise UsageError("hold needs --why TEXT", hint="The reason is recorded, and told to whoever wants to purge.")
    reason = _reason(why)
    with _reader(db) as reader:
        header = reader.run(run)
        keeper = _keeper(reader)
        if release:
            before = keeper.release(header, why=reason)
            words = f"run {header.run_id} is no longer held (by {before.who}: {before.why})"
        else:
            keeper.hold(header, why=reason)
            words = f"run {header.run_id} is held: {reason}"
    if json:
        print_json({"schema_version": 1, "run": header.run_id, "is_held": not release})
    else:
        print_text(words)


def _list_held(db: str | None, *, as_json: bool) -> None:
    from elspeth.app.retention import held_runs
    from elspeth.contracts import iso_time

    with _reader(db) as reader:
        found = [(run, hold, iso_time(hold.at)) for run, hold in held_runs(reader)]
    if as_json:
        entries = [{"run": run.run_id, "at": at, "by": hold.who, "why": hold.why} for run, hold, at in found]
        print_json({"schema_version": 1, "held": entries})
        return
    for run, hold, at in found:
        print_text(f"{run.run_id}\t{at[:10]}\t{hold.who}\t{hold.why}")
    if not found:
        note("no run is held")


@contextmanager
def _reader(db: str | None) -> Iterator[LandscapeReader]:
    from elspeth.app.state import State
    from elspeth.core.landscape import LandscapeReader

    with LandscapeReader(State.find(Path.cwd()).to_read(db)) as reader:
        yield reader


def _keeper(reader: LandscapeReader) -> Keeper:
    from elspeth.app.retention import Keeper
    from elspeth.core.clock import SystemClock

    return Keeper(reader, environ=os.environ, clock=SystemClock())


def _classes(words: list[str]) -> tuple[Any, ...]:
    from elspeth.contracts import PayloadClass

    for word in words:
        if word not in _CLASSES:
            raise UsageError(f"there is no class {word!r} of payloads", hint=f"The classes are {', '.join(_CLASSES)}.")
    return tuple(one for one in PayloadClass if "all" in words or one.word in words)


def _reason(why: str) -> str:
    """One line of text that can be stored and shown anywhere."""
    if not why.strip() or not why.isprintable():
        raise UsageError("--why is no line of text", hint="Say in one line why, for those who will ask.")
    return why.strip()


def _report(outcome: Outcome, *, as_json: bool) -> int:
    """Prints what went or would go, then what is kept and what could not be done; returns the exit code."""
    if as_json:
        print_json(outcome_json(outcome))
    else:
        for line in outcome_lines(outcome):
            print_text(line)
        for kept in outcome.kept:
            note(f"kept: {kept.message}")
    faults = [fault for one in outcome.taken for fault in one.faults] + [error for _, error in outcome.failed]
    for fault in faults:
        print_error(fault)
    if not faults:
        return 0
    return 6 if all(isinstance(fault, BusyError) for fault in faults) else 3
