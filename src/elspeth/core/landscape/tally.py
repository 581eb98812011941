"""Counting what became of a run's rows and batches, from the trail alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from elspeth.contracts import BatchPhase, Outcome
from elspeth.core.landscape.buffers import OutcomeKind
from elspeth.core.landscape.reader import LandscapeReader, read_json, read_word

__all__ = [
    "count_outcomes",
    "count_usage",
    "describe_batches",
    "describe_outcomes",
    "recorded_outcomes",
    "recount_outcomes",
    "row_equation",
]


_FEW_KINDS = 8
_LAST_SAID = ("message", "unsure", "answered", "failed_rows", "retried", "is_overdue", "extra_of", "cancelled_by")


def count_outcomes(reader: LandscapeReader, run_no: int) -> list[dict[str, Any]]:
    """How many tokens ended in which way: outcome, step, sink, reason, rows; the most frequent first."""
    return describe_outcomes(reader, run_no, _grouped_outcomes(reader, run_no))


def recount_outcomes(
    reader: LandscapeReader, run_no: int, kinds: Collection[OutcomeKind]
) -> tuple[int, dict[OutcomeKind, int]]:
    """How many tokens ended, and how many in each of these ways, as recorded; other ways may be left out.

    Of a few kinds in one pass, a fifth of the time of grouping, for which all outcomes are sorted.
    """
    if len(kinds) > _FEW_KINDS:
        counted = _grouped_outcomes(reader, run_no)
        return sum(counted.values()), counted
    of_kind = ", COUNT(*) FILTER (WHERE sink_no IS ? AND outcome IS ? AND step_no IS ? AND reason IS ?)"
    wanted = [value for outcome, step, sink, reason in kinds for value in (sink, outcome, step, reason)]
    ((ended, *counts),) = reader.query(
        f"SELECT COUNT(*){of_kind * len(kinds)} FROM outcomes WHERE run_no = ?", *wanted, run_no
    )
    return ended, dict(zip(kinds, counts, strict=True))


def recorded_outcomes(frontier: Mapping[str, Any]) -> dict[OutcomeKind, int]:
    """The same, by numbers, as the last commit has it: nothing is counted."""
    return {(outcome, step, sink, reason): rows for outcome, step, sink, reason, rows in frontier.get("outcomes", [])}


def describe_outcomes(reader: LandscapeReader, run_no: int, counted: Mapping[OutcomeKind, int]) -> list[dict[str, Any]]:
    """Outcomes by numbers, as people read them; the most frequent first, failures last."""
    names = dict(reader.query("SELECT node_no, name FROM nodes WHERE run_no = ?", run_no))
    counts = [
        {
            "outcome": read_word(Outcome, outcome, f"outcomes {run_no}").word,
            "step": names.get(step_no),
            "sink": names.get(sink_no),
            "reason": reason,
            "rows": rows,
        }
        for (outcome, step_no, sink_no, reason), rows in sorted(counted.items(), key=_most_frequent)
    ]
    return sorted(counts, key=lambda count: count["outcome"] in {"failed", "quarantined"})


def _grouped_outcomes(reader: LandscapeReader, run_no: int) -> dict[OutcomeKind, int]:
    counted = reader.query(
        "SELECT outcome, step_no, sink_no, reason, COUNT(*) FROM outcomes WHERE run_no = ? "
        "GROUP BY outcome, step_no, sink_no, reason",
        run_no,
    )
    return {(outcome, step, sink, reason): rows for outcome, step, sink, reason, rows in counted}


def _most_frequent(counted: tuple[OutcomeKind, int]) -> tuple[int, int, int, int, str]:
    (outcome, step_no, sink_no, reason), rows = counted
    return (-rows, outcome, -1 if step_no is None else step_no, -1 if sink_no is None else sink_no, reason or "")


def row_equation(rows: int, counts: list[dict[str, Any]]) -> str:
    """``1,000 in = 990 agreed + 10 failed (content_filter)``; rows still on their way are the last term."""
    terms: Counter[str] = Counter()
    for count in counts:
        if count["outcome"] in {"failed", "quarantined"}:
            terms[f"{count['outcome']} ({count['reason']})"] += count["rows"]
        else:
            terms[str(count["sink"])] += count["rows"]
    waiting = rows - sum(terms.values())
    if waiting:
        terms["on their way"] += waiting
    return f"{rows:,} in = " + (" + ".join(f"{number:,} {name}" for name, number in terms.items()) or "0")


def count_usage(reader: LandscapeReader, run_no: int) -> dict[str, dict[str, int]]:
    """Rows answered and tokens used by model, of all batches harvested so far."""
    usage: dict[str, Counter[str]] = {}
    for batch_no, detail in reader.query(
        "SELECT batch_no, detail_json FROM batch_events WHERE run_no = ? AND event = 'harvested'", run_no
    ):
        for model, counts in read_json(detail, f"batch_events {run_no}/{batch_no}").get("usage", {}).items():
            usage.setdefault(model, Counter()).update(counts)
    return {model: dict(counts) for model, counts in sorted(usage.items())}


def describe_batches(reader: LandscapeReader, run_no: int) -> list[dict[str, Any]]:
    """Every batch with the facts that its events left. Times in microseconds since the epoch."""
    batches: dict[int, dict[str, Any]] = {
        number: {"batch": number, "step": step, "attempt": attempt, "parent": parent, "opened_at": opened_at}
        for number, step, attempt, parent, opened_at in reader.query(
            "SELECT b.batch_no, n.name, b.attempt, b.parent_no, b.opened_at FROM batches b "
            "JOIN nodes n ON n.run_no = b.run_no AND n.node_no = b.node_no WHERE b.run_no = ? ORDER BY b.batch_no",
            run_no,
        )
    }
    for number, phase, at, detail in reader.query(
        "SELECT batch_no, phase, at, detail_json FROM batch_events WHERE run_no = ? ORDER BY batch_no, event_no", run_no
    ):
        place = f"batch_events {run_no}/{number}"
        facts = read_json(detail, place)
        batch = batches[number]
        batch["phase"] = read_word(BatchPhase, phase, place).word
        batch["changed_at"] = at
        for name in ("requests", "bytes", "file_id", "batch_id", "provider_status", "total", "completed", "created_at"):
            if facts.get(name) is not None:
                batch[name] = facts[name]
        batch.update({name: facts[name] for name in _LAST_SAID if name in facts})
    for number, polled_at in reader.query(
        "SELECT batch_no, MAX(started_at) FROM calls WHERE run_no = ? AND operation = 'batches.retrieve' "
        "GROUP BY batch_no",
        run_no,
    ):
        if number in batches:
            batches[number]["polled_at"] = polled_at
    return list(batches.values())
