"""``run`` and ``resume``."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elspeth.cli.durations import parse_duration_s
from elspeth.cli.output import complete_line, note, print_error, print_json, print_text, status_lines
from elspeth.cli.progress import progress_printer
from elspeth.contracts import BatchPendingError, ElspethError, RunStatus, UsageError

if TYPE_CHECKING:
    from elspeth.app.runs import Conditions, RunResult

__all__ = ["register"]

WaitOption = Annotated[str | None, typer.Option("--wait", metavar="D", help="Wait at most so long: 8s, 30m, 2h.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Only submit; go on later with resume.")]
MaxCostOption = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="Send nothing that might make the run cost more.")
]
CancelOption = Annotated[
    bool,
    typer.Option("--cancel-remote", help="Cancel the jobs at the provider: run, when it is stopped; resume, at once."),
]
ReuseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reuse", metavar="RUN", help="Take answers that this run has for equal requests; latest, all; repeatable."
    ),
]
DbOption = Annotated[str | None, typer.Option("--db", metavar="URL", help="The trail's database.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProgressOption = Annotated[str, typer.Option("--progress", metavar="HOW", help="auto, rich, plain or none.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.")],
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Read at most N rows.")] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Take N rows, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="What --sample draws by.")] = 0,
    key: Annotated[
        str | None, typer.Option("--key", metavar="K", help="At most one run under this key: found again, it goes on.")
    ] = None,
    reuse: ReuseOption = None,
    new: Annotated[bool, typer.Option("--new", help="Begin even if a run of it is unfinished, and pay again.")] = False,
    max_cost: MaxCostOption = None,
    cancel_remote: CancelOption = False,
    db: DbOption = None,
    progress: ProgressOption = "auto",
    json: JsonOption = False,
) -> None:
    """Run a pipeline and wait for remote work."""
    if limit is not None and sample is not None:
        raise UsageError("--limit and --sample exclude each other")
    from elspeth.app.runs import start_run
    from elspeth.app.state import State
    from elspeth.engine.decisions import Decisions

    with _conditions(wait, no_wait, progress, max_cost) as conditions:
        conditions.decisions = Decisions(cancel_on_stop=cancel_remote)
        result = start_run(
            file,
            state=State.find(Path.cwd()),
            conditions=conditions,
            db=db,
            limit=limit,
            sample=None if sample is None else (sample, seed),
            key=key,
            reuse=tuple(reuse or ()),
            allow_second=new,
        )
    _report(result, as_json=json)


def resume(
    reference: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's id, a prefix of it, or latest.")
    ] = None,
    all_pending: Annotated[bool, typer.Option("--all", help="Go on with every pending run.")] = False,
    adopt: Annotated[
        str | None, typer.Option("--adopt", metavar="BATCH_ID", help="This job at the provider is ours.")
    ] = None,
    declare_lost: Annotated[
        list[int] | None,
        typer.Option("--declare-lost", metavar="N", help="Batch N is lost: its rows are sent, and paid for, again."),
    ] = None,
    max_cost: MaxCostOption = None,
    cancel_remote: CancelOption = False,
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    db: DbOption = None,
    progress: ProgressOption = "auto",
    json: JsonOption = False,
) -> None:
    """Go on with a pending, interrupted, failed or killed run."""
    if (reference is None) == (not all_pending):
        raise UsageError("resume needs a run, or --all", hint="`elspeth runs` lists them; `latest` is the last one.")
    if all_pending and (adopt or declare_lost or cancel_remote):
        raise UsageError("a decision is about one run", hint="Name the run instead of --all.")
    with _conditions(wait, no_wait, progress, max_cost) as conditions:
        if reference is None:
            _resume_all(conditions, db, as_json=json)
            return
        from elspeth.app.runs import resume_run
        from elspeth.app.state import State
        from elspeth.engine.decisions import Decisions

        conditions.decisions = Decisions(adopt=adopt, lost=tuple(declare_lost or ()), cancel_now=cancel_remote)
        result = resume_run(reference, state=State.find(Path.cwd()), conditions=conditions, db=db)
    _report(result, as_json=json)


def _resume_all(conditions: Conditions, db: str | None, *, as_json: bool) -> None:
    from elspeth.app import reports
    from elspeth.app.runs import resume_run
    from elspeth.app.state import State
    from elspeth.core.landscape import LandscapeReader

    state = State.find(Path.cwd())
    with LandscapeReader(state.to_read(db)) as reader:
        whole = [run for run in reports.runs(reader) if run["grade"] == "replayable"]
        pending = [run["id"] for run in whole if run["status"] == "pending"]
    deadline = None if conditions.wait_s is None else time.monotonic() + conditions.wait_s
    code = 0
    statuses: list[dict[str, Any]] = []
    for run_id in reversed(pending):
        if deadline is not None:
            conditions.wait_s = max(0.0, deadline - time.monotonic())
        try:
            result = resume_run(run_id, state=state, conditions=conditions, db=db)
        except ElspethError as error:  # one run that cannot go on does not keep the others from it
            print_error(error)
            code = _worse(code, error.exit_code)
            continue
        statuses.append(_status_of(result))
        code = _worse(code, _print_result(result, statuses[-1], as_json=False) if not as_json else result.exit_code)
        if conditions.stop.is_set():
            break
    if as_json:
        print_json({"schema_version": 1, "runs": statuses})
    elif not pending:
        note("no run is pending")
    raise typer.Exit(code)


def _worse(first: int, second: int) -> int:
    """The exit code that matters when several apply: 130/143 > 4 > 5 > 3 > 75 > 1 > 0."""
    order = (143, 130, 4, 5, 3, 6, 2, 75, 1, 0)
    return min(first, second, key=order.index)


@contextmanager
def _conditions(wait: str | None, no_wait: bool, progress: str, max_cost: str | None) -> Iterator[Conditions]:
    """The conditions that the options ask for. Ctrl-C or SIGTERM stops softly, a second one at once."""
    from elspeth.app.runs import Conditions

    if wait is not None and no_wait:
        raise UsageError("--wait and --no-wait exclude each other")
    printer = progress_printer(progress)
    conditions = Conditions(
        wait_s=None if wait is None else parse_duration_s(wait),
        submit_only=no_wait,
        max_cost_usd=None if max_cost is None else _dollars(max_cost),
        on_progress=printer.update,
        on_start=lambda run_id: note(f"run {run_id}"),
    )

    def stop(number: int, _frame: FrameType | None) -> None:
        conditions.stop_code = 128 + number
        if conditions.stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        conditions.stop.set()
        note("stopping: what is in hand is recorded; once more stops at once (the run can still be resumed)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield conditions
    finally:
        printer.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise UsageError(f"{text!r} is no amount of US dollars", hint="Write for example --max-cost 5 or 12.50.")
    return amount


def _report(result: RunResult, *, as_json: bool) -> None:
    try:
        status = _status_of(result)
    except ElspethError:
        if result.error is None:
            raise
        raise result.error from None  # the trail cannot even be read: why the run ended says more
    raise typer.Exit(_print_result(result, status, as_json=as_json))


def _status_of(result: RunResult) -> dict[str, Any]:
    from elspeth.app.reports import run_status
    from elspeth.core.landscape import LandscapeReader

    with LandscapeReader(result.database) as reader:
        return {**run_status(reader, reader.run(result.run_id)), "exit_code": result.exit_code}


def _print_result(result: RunResult, status: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(status)
    elif result.status is RunStatus.COMPLETED:
        print_text(complete_line(status))
        if status["is_over_error_rate"]:
            note("elspeth: more rows failed than limits.max_error_rate allows")
    else:
        print_text("\n".join(status_lines({**status, "reason": None, "hint": None})))
    if isinstance(result.error, BatchPendingError):
        if result.error.hint:
            note(f"  hint: {result.error.hint}")
    elif result.error is not None:
        print_error(result.error)
    return result.exit_code
