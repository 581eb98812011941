"""Rows that take an answer which is there already, and the record of it.

    this run      an earlier row of a step that shares equal requests got the answer
    other runs    those that the run was told of (--reuse)

A request is the same when its bytes are, but for the id that names the row, and when the same
one answers (`BatchTransform.answers_from`). Only the answer of a row that passed its step is
taken, only when its bytes have their hash, and only when this run's step reads it as an answer,
too. Otherwise the row is asked. The lines of another run are copied, so that this one explains
and replays itself when the other is purged.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import lru_cache
from typing import NamedTuple

from elspeth.contracts import BatchLimits, LineVerdict
from elspeth.core.calls import Redactor
from elspeth.core.landscape.reuses import Reuse
from elspeth.engine.batch import has_counts, tokens_of
from elspeth.engine.batches import Batches
from elspeth.engine.known_answers import KnownAnswer, Line, answer_of_batch
from elspeth.engine.ledger import Ledger
from elspeth.engine.other_runs import OtherRuns
from elspeth.engine.plan import Plan, Step
from elspeth.engine.shared_requests import Answered, SharedRequests
from elspeth.engine.tokens import Token

__all__ = ["KnownAnswers", "Taken", "take"]

_MOST_KEPT = 2_048


class Taken(NamedTuple):
    """An answer that a row takes, and what it means for the row."""

    known: KnownAnswer
    verdict: LineVerdict


def take(step: Step, known: KnownAnswer, redactor: Redactor) -> Taken | None:
    """An answer as a step of this run reads it; None for one that is none here, or holds one of its secrets."""
    if step.batch is None or redactor.is_in(known.request.data) or redactor.is_in(known.reply.data):
        return None
    verdict = step.batch.read_line(known.reply.data, known.role).verdict
    return Taken(known, verdict) if verdict.failure is None else None


def _may_know(limits: BatchLimits, ledger: Ledger) -> bool:
    return limits.is_shared or (limits.may_reuse and bool(ledger.run.reuse))


class KnownAnswers:
    """Finds answers and records who took them. ``steps`` are those whose requests may have one."""

    def __init__(
        self, ledger: Ledger, *, steps: Container[int], shared: SharedRequests, others: OtherRuns, redactor: Redactor
    ) -> None:
        self._ledger = ledger
        self._steps = steps
        self._shared = shared
        self._others = others
        self._redactor = redactor
        self._own = lru_cache(_MOST_KEPT)(self._read_own)

    @classmethod
    def of(cls, plan: Plan, ledger: Ledger, *, batches: Batches, redactor: Redactor) -> KnownAnswers:
        """Those of the ledger's run, and of the runs that it was told of."""
        shared = SharedRequests(plan, ledger, batches)
        others = OtherRuns(plan, ledger.reader, ledger.run.reuse)
        steps = {step.number for step in plan.batch_steps if step.batch and _may_know(step.batch.limits, ledger)}
        return cls(ledger, steps=steps, shared=shared, others=others, redactor=redactor)

    def ask(self, step: Step, requests: Sequence[tuple[Token, bytes]]) -> None:
        """Sees to it that requests are sent whose answers were not found."""
        self._shared.ask(step, requests)

    def find(self, step: Step, row: int, line: bytes) -> Taken | None:  # noqa: ARG002 - any row may take it
        """The answer to an equal request, if one can be taken."""
        if step.number not in self._steps:
            return None
        answered = self._shared.answered(step, line)
        known = self._others.find(step, line) if answered is None else self._own(answered)
        return None if known is None else take(step, known, self._redactor)

    def record(self, taken: Sequence[tuple[int, int, Taken]]) -> None:
        """Records who took what: node, row, answer."""
        for node_no, row, (known, verdict) in taken:
            counts = verdict.usage if verdict.usage is not None and has_counts(verdict.usage) else None
            tokens = (None, None) if counts is None else tokens_of(counts)
            reuse = Reuse(
                node_no=node_no,
                from_run=known.from_run,
                from_row=known.from_row,
                from_batch=known.from_batch,
                from_attempt=known.from_attempt,
                request_hash=known.request.sha256,
                request_ref=self._ref(known.request),
                role=known.role,
                reply_hash=known.reply.sha256,
                reply_ref=self._ref(known.reply),
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                is_simulated=known.is_simulated,
            )
            self._ledger.recorder.add_reuse(row, reuse)

    def close(self) -> None:
        """Throws the indexes away."""
        self._shared.close()
        self._others.close()

    def _read_own(self, answered: Answered) -> KnownAnswer:
        ledger = self._ledger
        return answer_of_batch(
            ledger.reader,
            ledger.payloads,
            ledger.run,
            row=answered.row,
            batch_no=answered.batch_no,
            attempt=answered.attempt,
            is_own=True,
        )

    def _ref(self, line: Line) -> str:
        if line.ref is None:
            line.ref = str(self._ledger.recorder.add_reused_line(line.data))
        return line.ref
