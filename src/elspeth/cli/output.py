"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from elspeth.contracts import ElspethError, PipelineError, dollars

__all__ = ["age", "note", "print_error", "print_json", "print_json_lists", "print_text", "status_lines"]

_US = 1_000_000
SIMULATED = "SIMULATED ANSWERS"


def print_text(text: str) -> None:
    """A result."""
    sys.stdout.write(text + "\n")


def print_json(value: Mapping[str, Any]) -> None:
    """A result as one JSON object. Half a surrogate pair, which is no text, is written as JSON escapes it."""
    text = json.dumps(value, ensure_ascii=False)
    sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")


def print_json_lists(head: Mapping[str, Any], lists: Mapping[str, Iterable[Any]]) -> None:
    """A result as one JSON object whose last members are lists, written as they are read: they may be long."""
    sys.stdout.write(json.dumps(head, ensure_ascii=False)[:-1])
    for name, entries in lists.items():
        sys.stdout.write(f", {json.dumps(name)}: [")
        for number, entry in enumerate(entries):
            sys.stdout.write((", " if number else "") + json.dumps(entry, ensure_ascii=False))
        sys.stdout.write("]")
    sys.stdout.write("}\n")


def note(text: str) -> None:
    """A word to whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_error(error: ElspethError) -> None:
    """What went wrong and what to do about it."""
    if isinstance(error, PipelineError):
        from elspeth.core.config import render_text

        for diagnostic in error.diagnostics:
            note(render_text(diagnostic))
        note(f"elspeth: {error.message}; nothing was sent")
        return
    note(f"elspeth: {error.message}")
    if error.hint:
        note(f"  hint: {error.hint}")


def status_lines(status: Mapping[str, Any], *, now_us: int | None = None) -> list[str]:
    """Where a run stands, as people read it."""
    now = int(datetime.now(UTC).timestamp() * _US) if now_us is None else now_us
    batches = status["batches"]
    done = sum(batch["phase"] == "harvested" for batch in batches)
    rows = status["rows"]
    head = f"run {status['run']}  {status['pipeline']}  {status['status'].upper()}"
    is_dead = status["status"] == "running" and not status["is_worked_on"]
    if is_dead:
        head += " when its process died"
    if batches:
        head += f"   {done} of {len(batches)} batches done"
    head += f"   {rows['out']:,} of {rows['read']:,} rows out"
    if not rows["is_source_done"]:
        head += " (source not read to its end)"
    lines = [head]
    if status["simulated"]:
        lines.append(SIMULATED)
    lines += [_batch_line(batch, now) for batch in batches if batch["phase"] != "harvested"]
    lines += _keeping_lines(status)
    lines.append(rows["equation"])
    lines += _money_lines(status)
    lines += _usage_lines(status["usage"])
    if status["is_over_error_rate"]:
        lines.append("more rows failed than limits.max_error_rate allows")
    if status["reason"]:
        lines.append(str(status["reason"]))
    if status["hint"]:
        lines.append(f"  hint: {status['hint']}")
    if status["next"] and not status["is_worked_on"]:
        is_pending = status["status"] == "pending" and not status["hint"]
        lines.append(f"{'Safe to close. Nothing polls until' if is_pending else 'Go on with'}: {status['next']}")
    return lines


def complete_line(status: Mapping[str, Any]) -> str:
    """One line for a run that completed."""
    parts = [f"complete: {status['rows']['equation']}", *_money_lines(status), *_usage_lines(status["usage"])]
    if status["simulated"]:
        parts.append(SIMULATED)
    return " · ".join(parts)


def age(since_us: int, now_us: int) -> str:
    """How long ago, in the two largest units."""
    seconds = max(0, (now_us - since_us) // _US)
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // smaller:02d}{small_unit}"
    return f"{seconds}s"


def _batch_line(batch: Mapping[str, Any], now: int) -> str:
    parts = [f"batch {batch['batch']}", str(batch.get("provider_status") or batch["phase"])]
    if batch.get("total") is not None and batch.get("completed") is not None:
        parts.append(f"{batch['completed']:,}/{batch['total']:,}")
    elif batch.get("requests"):
        parts.append(f"{batch['requests']:,} requests")
    parts.append(f"age {age(batch.get('created_at') or batch['opened_at'], now)}")
    if "polled_at" in batch:
        parts.append(f"polled {age(batch['polled_at'], now)} ago")
    if batch.get("extra_of") is not None:
        parts.append(f"(a job too many for batch {batch['extra_of']}; it was told to stop)")
    elif batch.get("cancelled_by"):
        parts.append(f"(cancelled by {batch['cancelled_by']})")
    if batch.get("is_overdue"):
        parts.append("(takes longer than usual; it is still yours)")
    if batch.get("unsure"):
        parts.append(f"(whether {batch['unsure']} arrived is not known yet; it is looked up before anything is sent)")
    elif batch.get("message"):
        parts.append(f"({batch['message']})")
    return "  ".join(parts)


def _keeping_lines(status: Mapping[str, Any]) -> list[str]:
    """What was purged of the payloads, and whether they are held; nothing when they are simply there."""
    lines = []
    for mark in status["purged"]:
        unfinished = "" if mark["is_done"] else " (begun, not finished: elspeth purge --resume)"
        what = f"{mark['class']} purged on {mark['at'][:10]} by {mark['by']}: {mark['why']}"
        lines.append(f"{what}{unfinished}")
    if lines:
        lines.insert(0, f"grade {status['grade']}")
    if (held := status["held"]) is not None:
        lines.append(f"held since {held['at'][:10]} by {held['by']}: {held['why']}")
    return lines


def _money_lines(status: Mapping[str, Any]) -> list[str]:
    """What was spent, what is in flight, what bought nothing, and the limit; nothing for a run that asks no model."""
    money = status["money"]
    is_over = status["status"] == "completed"
    parts = []
    if money["unpriced_steps"]:
        parts.append(f"cost unknown: no price for {', '.join(money['unpriced_steps'])}")
    elif money["spent_usd"] is None:
        parts.append("cost unknown: the answers do not say how many tokens they used")
    elif status["batches"]:
        parts.append(dollars(money["spent_usd"]) if is_over else f"spent {dollars(money['spent_usd'])}")
    if money["orphaned_usd"]:
        parts.append(f"of it {dollars(money['orphaned_usd'])} for jobs too many")
    if money["in_flight_at_most_usd"]:
        parts.append(f"in flight at most {dollars(money['in_flight_at_most_usd'])}")
    if money["lost_at_most_usd"]:
        parts.append(f"for what is lost or was not counted at most {dollars(money['lost_at_most_usd'])}")
    if money["answers_reused"] or money["requests_shared"]:
        parts.append(_saved(money))
    if money["limit_usd"] is not None and not is_over:
        parts.append(f"limit {dollars(money['limit_usd'])}")
    return [" · ".join(parts)] if parts else []


def _saved(money: Mapping[str, Any]) -> str:
    """``saved $0.31 (120 answers reused, 7 requests shared)``."""
    counts = (("answer", "reused", money["answers_reused"]), ("request", "shared", money["requests_shared"]))
    what = ", ".join(f"{n:,} {noun}{'' if n == 1 else 's'} {verb}" for noun, verb, n in counts if n)
    return what if money["saved_usd"] is None else f"saved {dollars(money['saved_usd'])} ({what})"


def _usage_lines(usage: Mapping[str, Mapping[str, int]]) -> list[str]:
    if not usage:
        return []
    return ["models: " + ", ".join(f"{model} ×{counts.get('rows', 0):,}" for model, counts in usage.items())]
