"""The commands that read the trail.

``status``, ``runs``, ``explain``, ``diff``, ``calls``, ``call``, ``payload``, ``export``.
"""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.output import print_json, print_json_lists, print_text, status_lines
from elspeth.contracts import UsageError

if TYPE_CHECKING:
    from elspeth.app.comparison import Comparison
    from elspeth.core.landscape import LandscapeReader

__all__ = ["DbOption", "JsonOption", "RunArgument", "open_reader", "register"]

ROWS_SHOWN = 20

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a prefix of it, or latest.")]
DbOption = Annotated[str | None, typer.Option("--db", metavar="URL", help="The trail's database.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("status")(status)
    app.command("runs")(runs)
    app.command("explain")(explain)
    app.command("diff")(diff)
    app.command("calls")(calls)
    app.command("call")(call)
    app.command("payload")(payload)
    app.command("export")(export)


@contextmanager
def open_reader(db: str | None) -> Iterator[LandscapeReader]:
    """The trail that the command means, opened for reading."""
    from elspeth.app.state import State
    from elspeth.core.landscape import LandscapeReader

    with LandscapeReader(State.find(Path.cwd()).to_read(db)) as reader:
        yield reader


def status(run: RunArgument = "latest", db: DbOption = None, json: JsonOption = False) -> None:
    """Where a run stands: rows, batches, the next command."""
    from elspeth.app.reports import run_status

    with open_reader(db) as reader:
        found = run_status(reader, reader.run(run))
    if json:
        print_json(found)
    else:
        print_text("\n".join(status_lines(found)))


def runs(db: DbOption = None, json: JsonOption = False) -> None:
    """All runs, the newest first."""
    from elspeth.app import reports

    with open_reader(db) as reader:
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
    all_runs: Annotated[
        bool, typer.Option("--all-runs", help="With --key: what became of it in every run, and what was asked again.")
    ] = False,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """One row from source to sink: inputs, outputs, the exact prompt and reply, every hash checked."""
    from elspeth.app.explanation import explain_row

    if all_runs:
        _explain_in_all_runs(run, row, key, db, as_json=json)
        return
    if (row is None) == (key is None):
        raise UsageError("explain needs --row N or --key K")
    with open_reader(db) as reader:
        found = explain_row(reader, reader.run(run), row=row, key=key)
    if json:
        print_json(found.to_dict())
    else:
        print_text(str(found))


def _explain_in_all_runs(run: str, row: int | None, key: str | None, db: str | None, *, as_json: bool) -> None:
    from elspeth.app.appearances import explain_key

    if key is None or row is not None:
        raise UsageError("explain --all-runs needs --key K", hint="A row's index names another row in another source.")
    if run != "latest":
        raise UsageError("explain takes a run or --all-runs, not both")
    with open_reader(db) as reader, reader.snapshot():
        found = explain_key(reader, key)
    if as_json:
        print_json(found.to_dict())
    else:
        print_text(str(found))


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run's id, a prefix of it, or latest.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The run to compare it with.")],
    limit: Annotated[
        int, typer.Option("--limit", min=0, metavar="N", help="Show the first N rows of each sort.")
    ] = ROWS_SHOWN,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """Two runs compared by row, output, configuration, code and cost; exit 1 when the outputs differ."""
    from elspeth.app.comparison import compare_runs

    with open_reader(db) as reader, reader.snapshot():
        found = compare_runs(reader, reader.run(a), reader.run(b), keep=limit)
        if json:
            print_json_lists(
                found.content, {"differing": found.differing(), "only_a": found.only_a(), "only_b": found.only_b()}
            )
        else:
            _print_comparison(found)
    if not found.is_same:
        raise typer.Exit(1)


def _print_comparison(found: Comparison) -> None:
    from elspeth.cli.comparison import head_lines, lone_row_line, row_lines

    for line in head_lines(found.content):
        print_text(line)
    rows, shown = found.content["rows"], found.shown
    if rows["differ"]:
        print_text(f"\nrows that differ, A -> B{_first_of(shown['differ'], rows['differ'])}")
        for row in found.differing():
            for line in row_lines(row):
                print_text(line)
    for sort, alone in (("only_a", found.only_a()), ("only_b", found.only_b())):
        if rows[sort]:
            print_text(f"\nrows only in {sort[-1].upper()}{_first_of(shown[sort], rows[sort])}")
            for row in alone:
                print_text(lone_row_line(row))


def _first_of(shown: int, whole: int) -> str:
    return "" if shown == whole else f" (the first {shown:,} of {whole:,}; --limit shows more)"


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

    with open_reader(db) as reader:
        header = reader.run(run)
        found = reports.calls(reader, header, status=status, operation=operation, batch=batch, step=step)
        if json:
            print_json_lists({"schema_version": 1, "run": header.run_id}, {"calls": found})
            return
        for entry in found:
            http = entry["http_status"] if entry["http_status"] is not None else "-"
            columns = [entry["call_id"], entry["operation"], entry["status"], http, f"{entry['latency_ms']:.1f}ms"]
            columns += [entry["request_hash"], entry["response_hash"] or "-"]
            print_text("\t".join(str(column) for column in columns))


def call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="RUN:NUMBER, as `elspeth calls` shows it.")],
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """One external call with its envelope."""
    from elspeth.app.reports import call_record

    with open_reader(db) as reader:
        found = call_record(reader, call_id)
    if json:
        print_json(found)
        return
    for name, value in found.items():
        if value is not None and name not in {"schema_version", "envelope", "purged"}:
            print_text(f"{name}: {value}")
    if "purged" in found:
        from elspeth.app.explanation import purged_words

        print_text(f"envelope: {purged_words(found['purged'])}")
        return
    print_text("envelope:")
    print_text(jsonlib.dumps(jsonlib.loads(found["envelope"]), indent=2, ensure_ascii=False))


def payload(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="64 hexadecimal digits.")],
    db: DbOption = None,
) -> None:
    """The recorded bytes with that SHA-256, to stdout."""
    from elspeth.app.reports import payload_chunks

    with open_reader(db) as reader:
        for chunk in payload_chunks(reader, sha256):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def export(
    run: RunArgument = "latest",
    to: Annotated[str, typer.Option("--to", metavar="PATH", help="The file to write; - is stdout.")] = "",
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl or bundle.")] = "jsonl",
    payloads: Annotated[bool, typer.Option("--payloads", help="jsonl: add the payloads, as text or base64.")] = False,
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="ROWS", help="bundle: rows by index, as in 42,43,100-120.")
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="KEYS", help="bundle: rows by key, as in a,b.")] = None,
    db: DbOption = None,
) -> None:
    """The whole trail of a run as JSON lines, or a bundle that proves some rows without it."""
    if format not in {"jsonl", "bundle"}:
        raise UsageError(f"there is no format {format!r}", hint="Use --format jsonl or --format bundle.")
    if not to:
        raise UsageError("export needs --to PATH", hint="--to - writes to stdout.")
    if format == "bundle":
        if payloads or (rows is None) == (keys is None):
            raise UsageError("a bundle needs --rows or --keys", hint="It always has the payloads of its rows.")
        _export_bundle(run, to, rows=rows, keys=keys, db=db)
    elif rows is not None or keys is not None:
        raise UsageError("--rows and --keys name the rows of a bundle", hint="Add --format bundle.")
    else:
        _export_lines(run, to, payloads=payloads, db=db)


def _export_lines(run: str, to: str, *, payloads: bool, db: str | None) -> None:
    from elspeth.app.export import export_file, export_lines, write_lines

    with open_reader(db) as reader, reader.snapshot():
        header = reader.run(run)
        if to == "-":
            write_lines(export_lines(reader, header, with_payloads=payloads), sys.stdout)
            return
        count = export_file(reader, header, Path(to), with_payloads=payloads)
    print_text(f"run {header.run_id}: {count:,} lines in {to}")


def _export_bundle(run: str, to: str, *, rows: str | None, keys: str | None, db: str | None) -> None:
    from elspeth.app.archive import encode_archive
    from elspeth.app.bundle import make_bundle, row_numbers, rows_of_keys, write_bundle

    with open_reader(db) as reader, reader.snapshot():
        header = reader.run(run)
        wanted = row_numbers(rows) if rows is not None else rows_of_keys(reader, header, keys or "")
        bundle = make_bundle(reader, header, wanted, environ=os.environ)
    if to == "-":
        sys.stdout.buffer.write(encode_archive(bundle.files))
        return
    write_bundle(bundle, Path(to))
    print_text(f"run {header.run_id}: {bundle.rows:,} row{'' if bundle.rows == 1 else 's'} in {to}")
    for remark in bundle.remarks:
        print_text(f"  {remark}")
