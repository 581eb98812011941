"""The commands that read the trail: ``status``, ``runs``, ``explain``, ``calls``, ``call``, ``payload``."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elspeth.cli.output import print_json, print_text, status_lines
from elspeth.contracts import UsageError

if TYPE_CHECKING:
    from elspeth.core.landscape import LandscapeReader

__all__ = ["register"]

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a prefix of it, or latest.")]
DbOption = Annotated[str | None, typer.Option("--db", metavar="URL", help="The trail's database.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("status")(status)
    app.command("runs")(runs)
    app.command("explain")(explain)
    app.command("calls")(calls)
    app.command("call")(call)
    app.command("payload")(payload)


@contextmanager
def _reader(db: str | None) -> Iterator[LandscapeReader]:
    from elspeth.app.state import State
    from elspeth.core.landscape import LandscapeReader

    with LandscapeReader(State.find(Path.cwd()).to_read(db)) as reader:
        yield reader


def status(run: RunArgument = "latest", db: DbOption = None, json: JsonOption = False) -> None:
    """Where a run stands: rows, batches, the next command."""
    from elspeth.app.reports import run_status

    with _reader(db) as reader:
        found = run_status(reader, reader.run(run))
    if json:
        print_json(found)
    else:
        print_text("\n".join(status_lines(found)))


def runs(db: DbOption = None, json: JsonOption = False) -> None:
    """All runs, the newest first."""
    from elspeth.app import reports

    with _reader(db) as reader:
        found = list(reports.runs(reader))
    if json:
        print_json({"schema_version": 1, "runs": found})
        return
    for run in found:
        columns = [run["id"], run["pipeline"], run["status"]]
        if sys.stdout.isatty():
            columns += [run["started_at"], f"{run['rows']:,} rows", "simulated" if run["simulated"] else ""]
            print_text("  ".join(columns).rstrip())
        else:
            print_text("\t".join(columns))


def explain(
    run: RunArgument = "latest",
    row: Annotated[int | None, typer.Option("--row", min=0, metavar="N", help="The row's 0-based index.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="K", help="The row's key.")] = None,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """One row from source to sink: inputs, outputs, the exact prompt and reply, every hash checked."""
    from elspeth.app.explanation import explain_row

    if (row is None) == (key is None):
        raise UsageError("explain needs --row N or --key K")
    with _reader(db) as reader:
        found = explain_row(reader, reader.run(run), row=row, key=key)
    if json:
        print_json(found.to_dict())
    else:
        print_text(str(found))


def calls(
    run: RunArgument = "latest",
    status: Annotated[str | None, typer.Option("--status", metavar="S", help="success or error.")] = None,
    operation: Annotated[str | None, typer.Option("--operation", metavar="OP", help="Such as batches.create.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Of one batch.")] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="Of one step.")] = None,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """External calls, each attempt with its hashes."""
    from elspeth.app import reports

    with _reader(db) as reader:
        header = reader.run(run)
        found = reports.calls(reader, header, status=status, operation=operation, batch=batch, step=step)
        if json:
            _print_calls_json(header.run_id, found)
            return
        for entry in found:
            http = entry["http_status"] if entry["http_status"] is not None else "-"
            columns = [entry["call_id"], entry["operation"], entry["status"], http, f"{entry['latency_ms']:.1f}ms"]
            columns += [entry["request_hash"], entry["response_hash"] or "-"]
            print_text("\t".join(str(column) for column in columns))


def _print_calls_json(run_id: str, found: Iterator[dict[str, Any]]) -> None:
    """One object, written as it is read: a run may have a great many calls."""
    sys.stdout.write(f'{{"schema_version": 1, "run": {jsonlib.dumps(run_id)}, "calls": [')
    for number, entry in enumerate(found):
        sys.stdout.write((", " if number else "") + jsonlib.dumps(entry, ensure_ascii=False))
    sys.stdout.write("]}\n")


def call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="RUN:NUMBER, as `elspeth calls` shows it.")],
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """One external call with its envelope."""
    from elspeth.app.reports import call_record

    with _reader(db) as reader:
        found = call_record(reader, call_id)
    if json:
        print_json(found)
        return
    for name, value in found.items():
        if value is not None and name not in {"schema_version", "envelope"}:
            print_text(f"{name}: {value}")
    print_text("envelope:")
    print_text(jsonlib.dumps(jsonlib.loads(found["envelope"]), indent=2, ensure_ascii=False))


def payload(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="64 hexadecimal digits.")],
    db: DbOption = None,
) -> None:
    """The recorded bytes with that SHA-256, to stdout."""
    from elspeth.app.reports import payload_chunks

    with _reader(db) as reader:
        for chunk in payload_chunks(reader, sha256):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
