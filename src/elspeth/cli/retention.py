"""The words of ``purge``: each run with its files by class, then the sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from elspeth.contracts import iso_time

if TYPE_CHECKING:
    from elspeth.app.retention import Outcome, Taken

__all__ = ["outcome_json", "outcome_lines"]

_LOWERED = "attributable"


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What went, or what would go."""
    if not outcome.taken:
        yield "nothing to purge"
        return
    for one in outcome.taken:
        yield from _taken_lines(one, is_done=outcome.is_done)
    whole = [one for one in outcome.taken if not one.faults]
    runs = f"{len(whole)} run{'' if len(whole) == 1 else 's'}"
    files = sum(part.files for one in whole for part in one.planned.parts)
    size = sum(part.bytes for one in whole for part in one.planned.parts)
    if outcome.is_done:
        yield f"purged {runs}: {_amount(files, size)}"
    else:
        yield f"would purge {runs}: {_amount(files, size)}; nothing was deleted: --yes does it"


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The same as one object."""
    return {
        "schema_version": 1,
        "is_done": outcome.is_done,
        "runs": [_taken_json(one) for one in outcome.taken],
        "kept": [{"run": one.run.run_id, "reason": one.reason.value, "message": one.message} for one in outcome.kept],
        "failed": [{"run": run.run_id, "message": error.message, "hint": error.hint} for run, error in outcome.failed],
    }


def _taken_lines(one: Taken, *, is_done: bool) -> Iterator[str]:
    planned = one.planned
    run = planned.run
    head = f"run {run.run_id}  {run.pipeline}  {planned.status.word}  last event {iso_time(planned.last_at)[:10]}"
    yield f"{head}  {'purged in part' if one.faults else 'purged'}" if is_done else head
    begun = {part.payload_class for part in planned.begun}
    for part in planned.parts:
        ending = "  (begun before)" if part.payload_class in begun else ""
        yield f"  {part.payload_class.word:<6} {_amount(part.files, part.bytes)}{ending}"
    if planned.is_unsealed and not planned.parts:
        yield "  what was done is sealed"
    if planned.remote:
        yield f"  {planned.remote} batches may still be with the provider: their answers are given up"
    if planned.unknown:
        yield f"  {planned.unknown} files there are not in the trail, and stay"
    yield f"  grade {planned.grade}" if planned.grade == _LOWERED else f"  grade {planned.grade} -> {_LOWERED}"


def _taken_json(one: Taken) -> dict[str, Any]:
    planned = one.planned
    begun = {part.payload_class for part in planned.begun}
    return {
        "run": planned.run.run_id,
        "pipeline": planned.run.pipeline,
        "status": planned.status.word,
        "last_event_at": iso_time(planned.last_at),
        "classes": [
            {
                "class": part.payload_class.word,
                "files": part.files,
                "bytes": part.bytes,
                "is_begun": part.payload_class in begun,
            }
            for part in planned.parts
        ],
        "unknown_files": planned.unknown,
        "remote_batches": planned.remote,
        "grade": planned.grade,
        "grade_after": _LOWERED,
        "faults": [fault.message for fault in one.faults],
    }


def _amount(files: int, size: int) -> str:
    return f"{files:,} file{'' if files == 1 else 's'}, {size:,} bytes"
