"""What the trail says of runs, as plain dicts: the answers of ``runs``, ``status``, ``calls``, ``payload``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from elspeth.contracts import MissingTrailError, PurgedError, RunStatus, UsageError, iso_time
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.retention import Keeping, grade_of, keeping_of
from elspeth.core.landscape.savings import savings_of
from elspeth.core.landscape.tally import (
    count_usage,
    describe_batches,
    describe_outcomes,
    recorded_outcomes,
    row_equation,
)
from elspeth.engine.account import account_of, savings_as_json
from elspeth.engine.batch import fold_batches, open_intents

__all__ = ["call_record", "calls", "payload_chunks", "run_status", "runs"]


def runs(reader: LandscapeReader) -> Iterator[dict[str, Any]]:
    """All runs, the newest first, in the shape of ``runs --json``."""
    for run_id, run_no, pipeline, status, started_at, grade in reader.query(
        "SELECT r.run_id, r.run_no, r.pipeline, v.status, v.started_at, v.grade FROM runs r "
        "JOIN v_runs v ON v.run_id = r.run_id ORDER BY r.run_no DESC"
    ):
        frontier = reader.frontier(run_no)
        run = reader.run_numbered(run_no)
        money = _money(reader, run)
        yield {
            "id": run_id,
            "pipeline": pipeline,
            "status": status or "running",
            "started_at": started_at,
            "rows": frontier.get("rows", 0),
            "cost_usd": money["spent_usd"],
            "saved_usd": money["saved_usd"],
            "simulated": reader.is_simulated(run),
            "grade": grade,
            "is_held": keeping_of(reader, run).hold is not None,
        }


def run_status(reader: LandscapeReader, run: RunHeader) -> dict[str, Any]:
    """Where one run stands."""
    status, detail = reader.status(run.run_no)
    frontier = reader.frontier(run.run_no)
    rows = int(frontier.get("rows", 0))
    counts = detail.get("outcomes") or describe_outcomes(reader, run.run_no, recorded_outcomes(frontier))
    usage = detail.get("usage") or count_usage(reader, run.run_no)
    keeping = keeping_of(reader, run)
    is_at_end = status is RunStatus.COMPLETED or bool(keeping.begun)
    return {
        "schema_version": 1,
        "run": run.run_id,
        "pipeline": run.pipeline,
        "status": status.word,
        "is_worked_on": RunLock(reader.database.parent, run.run_id).is_held,
        "simulated": reader.is_simulated(run),
        "rows": {
            "read": rows,
            "is_source_done": bool(frontier.get("is_source_done", False)),
            "out": int(frontier.get("released", 0)),
            "equation": row_equation(rows, counts),
            "outcomes": counts,
        },
        "batches": describe_batches(reader, run.run_no),
        "usage": usage,
        "money": _money(reader, run),
        "is_over_error_rate": bool(detail.get("is_over_error_rate", False)),
        "reason": detail.get("message"),
        "hint": detail.get("hint"),
        "exit_code": detail.get("exit_code"),
        **_keeping(reader, run, keeping),
        "next": None if is_at_end else f"elspeth resume {run.run_id}",
    }


def _keeping(reader: LandscapeReader, run: RunHeader, keeping: Keeping) -> dict[str, Any]:
    """What of a run's payloads is kept, gone, or held."""
    hold = keeping.hold
    return {
        "grade": grade_of(reader, run),
        "purged": [{**mark.as_json(), "is_done": mark.payload_class in keeping.done} for mark in keeping.marks],
        "held": None if hold is None else {"at": iso_time(hold.at), "by": hold.who, "why": hold.why},
    }


def _money(reader: LandscapeReader, run: RunHeader) -> dict[str, Any]:
    """What a run has cost and may still cost, what it saved, and its limit, in US dollars."""
    run_no = run.run_no
    status, detail = reader.status(run_no)
    limit = reader.cost_limit(run_no)
    if status is RunStatus.COMPLETED and "money" in detail:
        money = detail["money"]
    else:
        names = dict(reader.query("SELECT node_no, name FROM nodes WHERE run_no = ?", run_no))
        batches = fold_batches(reader, run_no)
        intents = open_intents(reader, run_no, batches)
        for batch in batches:
            batch.unsure, _ = intents.get(batch.number, (batch.unsure, 0))
        prices = reader.prices(run_no)
        money = account_of(batches, prices).as_json(names) | savings_as_json(savings_of(reader, run), prices)
    return {**money, "limit_usd": None if limit is None else float(limit)}


def calls(
    reader: LandscapeReader,
    run: RunHeader,
    *,
    status: str | None = None,
    operation: str | None = None,
    batch: int | None = None,
    step: str | None = None,
) -> Iterator[dict[str, Any]]:
    """The external calls of a run, in order, as `v_calls` shows them."""
    if status not in (None, "success", "error"):
        raise UsageError(f"a call's status is success or error, not {status!r}")
    wanted = {"status": status, "operation": operation, "batch": batch, "step": step}
    filters = {name: value for name, value in wanted.items() if value is not None}
    conditions = "".join(f" AND {name} = ?" for name in filters)
    sql = f"SELECT * FROM v_calls WHERE run_id = ?{conditions}"  # noqa: S608 - the names are ours
    yield from reader.dicts(sql, run.run_id, *filters.values())


def call_record(reader: LandscapeReader, call_id: str) -> dict[str, Any]:
    """One call with its envelope. ``call_id`` is RUN:NUMBER, the run as elsewhere."""
    reference, mark, number = call_id.rpartition(":")
    if not mark or not number.isdigit():
        raise UsageError(f"{call_id!r} is no call id", hint="A call id is RUN:NUMBER, as `elspeth calls` shows it.")
    run = reader.run(reference)
    found = list(reader.dicts("SELECT * FROM v_calls WHERE call_id = ?", f"{run.run_id}:{int(number)}"))
    if not found:
        raise MissingTrailError(f"run {run.run_id} has no call {number}")
    ((ref, digest),) = reader.query(
        "SELECT envelope_ref, envelope_hash FROM calls WHERE run_no = ? AND call_no = ?", run.run_no, int(number)
    )
    shown = {"schema_version": 1, **found[0]}
    try:
        return {**shown, "envelope": Payloads(reader, run).body_at(ref, digest).decode()}
    except PurgedError as purged:
        return {**shown, "envelope": None, "envelope_hash": digest.hex(), "purged": purged.mark.as_json()}


def payload_chunks(reader: LandscapeReader, digest_hex: str) -> Iterator[bytes]:
    """The recorded bytes with that SHA-256, whatever they are: a body, a file, a row, a line of a batch.

    Raises `PurgedError` when every place that had them was purged.
    """
    digest = _digest(digest_hex)
    purged: PurgedError | None = None
    for place in _places(reader, digest):
        try:
            yield from place
        except PurgedError as error:  # before the first byte: another run may still have them
            purged = purged or error
            continue
        return
    if purged is not None:
        raise purged
    raise MissingTrailError(f"no recorded payload has the SHA-256 {digest_hex}")


def _places(reader: LandscapeReader, digest: bytes) -> Iterator[Iterator[bytes]]:
    """The bytes of each record that has the hash, one after the other."""
    for run_no, ref in reader.stream(
        "SELECT run_no, request_ref FROM calls WHERE request_hash = ?1 "
        "UNION ALL SELECT run_no, response_ref FROM calls WHERE response_hash = ?1 "
        "UNION ALL SELECT run_no, envelope_ref FROM calls WHERE envelope_hash = ?1 "
        "UNION ALL SELECT run_no, request_ref FROM call_intents WHERE request_hash = ?1 "
        "UNION ALL SELECT run_no, ref FROM run_files WHERE hash = ?1",
        digest,
    ):
        yield Payloads(reader, reader.run_numbered(run_no)).chunks(ref, digest)
    for run_no, row_index, commit_no in reader.stream(
        "SELECT run_no, row_index, commit_no FROM rows WHERE data_hash = ?1 "
        "UNION ALL SELECT run_no, row_index, commit_no FROM passages WHERE instr(output_hashes, ?1)",
        digest,
    ):
        yield _row_version(reader, reader.run_numbered(run_no), row_index, (0, digest, commit_no))
    for run_no, segment_no, start, length in reader.stream(
        "SELECT run_no, segment_no, start, length FROM batch_members WHERE line_hash = ?", digest
    ):
        yield Payloads(reader, reader.run_numbered(run_no)).chunks(f"{segment_no}:{start}:{length}", digest)


def _row_version(
    reader: LandscapeReader, run: RunHeader, row_index: int, version: tuple[int, bytes, int]
) -> Iterator[bytes]:
    from elspeth.core.landscape.rows import TrailRows

    rows = TrailRows(reader, run, Payloads(reader, run))
    (row,) = rows.fetch([row_index])
    yield rows.raw(row) if row.is_rejected else rows.data(row, version)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise UsageError(f"{text[:80]!r} is no SHA-256", hint="It has 64 hexadecimal digits.")
    return digest
