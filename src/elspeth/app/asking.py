"""What a model was asked for a row, what it answered, and what that has cost.

Taken from the steps of an explanation, whose hashes are checked, so the comparison of
runs and the account of a key say the same as ``explain``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from msgspec import Struct

from elspeth.contracts import Price
from elspeth.core.canonical import compact_json
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.engine.batch import tokens_of
from elspeth.plugins.llm.answers import line_usage

__all__ = ["Asked", "Likeness", "asked", "likeness", "prices_by_step", "request_body"]


class Likeness(Enum):
    """How like two requests are; the value is the word in JSON.

    The custom id names row and attempt: the same question for another row index, or at another attempt,
    differs in nothing but that. ``unknown``: the hashes differ, and a line is purged.
    """

    IDENTICAL = "identical"
    RENAMED = "identical_but_for_custom_id"
    OTHER = "other"
    UNKNOWN = "unknown"


class Asked(Struct, frozen=True, kw_only=True):
    """One request for a row. ``request`` and ``reply`` are lines; ``answer`` holds the fields it gave the row.

    A request that was answered by nobody, or whose answer failed, has no answer; the step's ``error`` stands with
    its last attempt. ``cost_usd`` is None where the price or the usage is not known; nothing for an answer that was
    taken (``reused_from``) or came to the request of another row (``shared_with``), where it is counted. ``purged`` is
    the mark of the purge that took the answer.
    """

    step: str
    batch: int | None
    attempt: int
    request: Mapping[str, Any] | None
    reply: Mapping[str, Any] | None
    answer: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    cost_usd: Decimal | None
    purged: Mapping[str, str] | None = None
    reused_from: Mapping[str, Any] | None = None
    shared_with: Mapping[str, Any] | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a request was made; an answer that was there already is not asked for again."""
        return self.reused_from is None


def asked(steps: Iterable[Mapping[str, Any]], prices: Mapping[str, Price]) -> Iterator[Asked]:
    """Every request for a row in order, from the steps of its explanation."""
    for step in steps:
        attempts = step.get("attempts", [])
        for attempt in attempts:
            is_last = attempt is attempts[-1]
            answer = _answer(step) if is_last else None
            purged = step.get("purged") if is_last and step.get("output_hash") is not None else None
            reused, shared = attempt.get("reused_from"), attempt.get("shared_with")
            is_answered = answer is not None or purged is not None
            cost = _cost(attempt["reply"], prices.get(step["name"]), is_answered=is_answered)
            yield Asked(
                step=step["name"],
                batch=attempt["batch"],
                attempt=attempt["attempt"],
                request=attempt["request"],
                reply=attempt["reply"],
                answer=answer,
                error=step.get("error") if is_last else None,
                cost_usd=cost if reused is None and shared is None else Decimal(0),
                reused_from=reused,
                shared_with=shared,
                purged=purged,
            )


def likeness(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Likeness:
    """How like two request lines are; one that is not there is like nothing."""
    if one is None or other is None:
        return Likeness.OTHER
    if one["sha256"] == other["sha256"]:
        return Likeness.IDENTICAL
    if one["line"] is None or other["line"] is None:
        return Likeness.UNKNOWN
    body = request_body(one)
    return Likeness.RENAMED if body is not None and body == request_body(other) else Likeness.OTHER


def request_body(request: Mapping[str, Any]) -> str | None:
    """A request line without its custom id; None for one that is purged or not of the Batch API's shape."""
    if request["line"] is None:
        return None
    try:
        line = json.loads(request["line"])
    except ValueError:
        return None
    if not isinstance(line, dict) or "custom_id" not in line:
        return None
    return compact_json({name: value for name, value in line.items() if name != "custom_id"})


def prices_by_step(reader: LandscapeReader, run: RunHeader) -> dict[str, Price]:
    """The prices that a run began with, by the name of the step."""
    names = dict(reader.query("SELECT node_no, name FROM nodes WHERE run_no = ?", run.run_no))
    return {names[node]: price for node, price in reader.prices(run.run_no).items()}


def _answer(step: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields that the step gave the row."""
    before, after = step["input"], step["output"]
    if after is None:
        return None
    return {
        name: value
        for name, value in after.items()
        if name not in before or compact_json(before[name]) != compact_json(value)
    }


def _cost(reply: Mapping[str, Any] | None, price: Price | None, *, is_answered: bool) -> Decimal | None:
    """As the account counts it: a failure for which the provider tells no usage costs nothing."""
    if reply is None or price is None or reply["line"] is None:
        return None
    usage = line_usage(reply["line"].encode())
    if usage is None:
        return None if is_answered else Decimal(0)
    return price.cost_usd(*tokens_of(usage))
