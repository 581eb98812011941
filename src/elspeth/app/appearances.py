"""One key in all runs of a trail: what became of it each time, and whether a model was asked again.

An appearance is the row that a key names in one run. Keys are clustered by run, so a run
costs one look; the requests are compared by what was sent, not by what they were meant
to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from msgspec import Struct

from elspeth.app.asking import Asked, Likeness, asked, prices_by_step, request_body
from elspeth.app.explanation import SIMULATED, purged_words, reused_words
from elspeth.contracts import MissingTrailError
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.lineage import Lineage

__all__ = ["Appearances", "explain_key"]

_LIKE = {
    Likeness.IDENTICAL: "asked before: the same bytes as in",
    Likeness.RENAMED: "asked before: the same but for its custom id as in",
}


class Appearances(Struct, frozen=True):
    """A key in all runs. ``str()`` is for people, `to_dict` for programs."""

    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The shape of ``explain --all-runs --json``."""
        return self.content

    def __str__(self) -> str:
        return "\n".join(_lines(self.content))


def explain_key(reader: LandscapeReader, key: str) -> Appearances:
    """All appearances of a key, the oldest first. Raises `MissingTrailError` when no run has it.

    Purged requests are compared by their hash alone, and counted.
    """
    places = reader.query(
        "SELECT r.run_no, k.row_index FROM runs r JOIN row_keys k ON k.run_no = r.run_no AND k.key = ? "
        "ORDER BY r.run_no",
        key,
    )
    if not places:
        raise MissingTrailError(
            f"no run in {reader.database} has a row with the key {key!r}",
            hint="Keys exist where a pipeline's source names a key field.",
        )
    known = _Requests()
    runs = [_appearance(reader, run_no, row_index, key, known) for run_no, row_index in places]
    requests = [request for run in runs for request in run["asked"] if request["reused_from"] is None]
    costs = [request["cost_usd"] for request in requests]
    return Appearances(
        {
            "schema_version": 1,
            "key": key,
            "simulated": any(run["simulated"] for run in runs),
            "asked": len(requests),
            "asked_before": sum(request["asked_before"] is not None for request in requests),
            "purged_requests": sum(request["is_purged"] for request in requests),
            "cost_usd": None if None in costs else _exact_sum(costs),
            "runs": runs,
        }
    )


class _Requests:
    """The requests so far: where each was made first, by its bytes and by its bytes without the custom id."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, Any]] = {}
        self._bodies: dict[str, dict[str, Any]] = {}

    def before(self, request: Asked, run_id: str) -> dict[str, Any] | None:
        """Where the same was asked first, and how like it is; remembers the request."""
        if request.request is None:
            return None
        place = {"run": run_id, "batch": request.batch, "attempt": request.attempt}
        digest, body = request.request["sha256"], request_body(request.request)
        identical = self._lines.get(digest)
        renamed = None if body is None else self._bodies.get(body)
        self._lines.setdefault(digest, place)
        if body is not None:
            self._bodies.setdefault(body, place)
        if identical is not None:
            return {**identical, "likeness": Likeness.IDENTICAL.value}
        return None if renamed is None else {**renamed, "likeness": Likeness.RENAMED.value}


def _appearance(reader: LandscapeReader, run_no: int, row_index: int, key: str, known: _Requests) -> dict[str, Any]:
    run = reader.run_numbered(run_no)
    ((status, started_at),) = reader.query("SELECT status, started_at FROM v_runs WHERE run_id = ?", run.run_id)
    explained = Lineage(reader, run).explain(row_index, key=key)
    requests = [
        _request(request, known.before(request, run.run_id) if request.is_asked else None)
        for request in asked(explained["steps"], prices_by_step(reader, run))
    ]
    return {
        "run": run.run_id,
        "pipeline": run.pipeline,
        "status": status or "running",
        "started_at": started_at,
        "simulated": explained["simulated"],
        "row": row_index,
        "line": explained["row"]["line"],
        "hash": explained["row"]["hash"],
        "outcomes": explained["outcomes"],
        "asked": requests,
    }


def _request(request: Asked, before: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "step": request.step,
        "batch": request.batch,
        "attempt": request.attempt,
        "request_sha256": None if request.request is None else request.request["sha256"],
        "is_purged": request.request is not None and "purged" in request.request,
        "asked_before": before,
        "reused_from": None if request.reused_from is None else dict(request.reused_from),
        "shared_with": None if request.shared_with is None else dict(request.shared_with),
        "reply_sha256": None if request.reply is None else request.reply["sha256"],
        "answer": request.answer,
        "purged": request.purged,
        "error": request.error,
        "cost_usd": None if request.cost_usd is None else float(request.cost_usd),
    }


def _exact_sum(costs: list[float]) -> float:
    return float(sum(Decimal(str(cost)) for cost in costs))


def _lines(content: dict[str, Any]) -> Iterator[str]:
    runs = content["runs"]
    head = f"key {content['key']}  in {_count(len(runs), 'run')}  asked {_count(content['asked'], 'time')}"
    if content["asked"]:
        head += f"  {content['asked_before']} of them asked before  {_cost(content['cost_usd'])}"
    yield head
    if content["simulated"]:
        yield SIMULATED
    if content["purged_requests"]:
        yield f"{_count(content['purged_requests'], 'request')} purged: compared by hash alone"
    for run in runs:
        yield ""
        yield f"run {run['run']}  {run['pipeline']}  {run['status']}  {run['started_at']}"
        yield f"  row {run['row']}  source line {run['line']}  sha256 {run['hash']}"
        yield from _outcome_lines(run["outcomes"])
        if not run["asked"]:
            yield "  no model was asked"
        for request in run["asked"]:
            yield from _request_lines(request, run["run"], is_by_hash=bool(content["purged_requests"]))


def _outcome_lines(outcomes: list[dict[str, Any]]) -> Iterator[str]:
    if not outcomes:
        yield "  outcome: none yet"
    for outcome in outcomes:
        reason = f" ({outcome['reason']})" if outcome["reason"] else ""
        where = "discarded" if outcome["sink"] is None else f"sink {outcome['sink']}, line {outcome['line']}"
        yield f"  outcome: {outcome['outcome']}{reason}, {where}"


def _request_lines(request: dict[str, Any], run: str, *, is_by_hash: bool) -> Iterator[str]:
    reused = request["reused_from"]
    if reused is None:
        yield f"  {request['step']}, batch {request['batch']}, attempt {request['attempt'] + 1}"
    else:
        yield f"  {request['step']}, not asked again: {reused_words(reused, run)}"
    if request["shared_with"] is not None:
        yield f"    shares the request of row {request['shared_with']['row']}"
    yield f"    request sha256 {request['request_sha256'] or '-'}"
    if reused is None:
        yield f"    {_before_words(request['asked_before'], is_by_hash=is_by_hash)}"
    yield f"    reply sha256 {request['reply_sha256'] or '-'}"
    if request["answer"] is not None:
        yield f"    answer: {json.dumps(request['answer'], ensure_ascii=False)}"
    elif request["purged"] is not None:
        yield f"    answer: {purged_words(request['purged'])}"
    elif request["error"] is not None:
        yield f"    error: {request['error'].get('code')}: {request['error'].get('message')}"
    else:
        yield "    no answer was taken from it"
    yield f"    cost {_cost(request['cost_usd'])}"


def _before_words(before: dict[str, Any] | None, *, is_by_hash: bool) -> str:
    if before is None:
        return f"not asked before{' in the same bytes' if is_by_hash else ''}"
    return f"{_LIKE[Likeness(before['likeness'])]} run {before['run']}, batch {before['batch']}"


def _cost(usd: float | None) -> str:
    """To the millionth of a dollar: one row costs little."""
    return "unknown" if usd is None else f"${Decimal(str(usd)):,.6f}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
