"""Batches of requests: what each one is, and the filling of new ones.

A batch is the fold of its events: `Batch.apply` serves the running engine and a resume
alike, so the two cannot drift apart. Nothing about a batch lives anywhere else.

    open -> sealed -> uploaded -> ready -> created -> ended -> harvested
                                                  \\-> lost (a person decides)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from elspeth.contracts import BatchPhase, FileRole, RowError, TrailError
from elspeth.core.landscape.reader import read_json, read_word
from elspeth.core.payloads import content_hash
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.tokens import Token

__all__ = ["Batch", "Batches", "custom_id"]


def custom_id(row_index: int, attempt: int) -> str:
    """The name of a row's request: from the token and the attempt, never from chance or the run."""
    return f"row-{row_index}-{attempt}"


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch as its events left it. Times in microseconds; ids are the provider's."""

    number: int
    node_no: int
    attempt: int
    parent_no: int | None
    segment_no: int = 0
    phase: BatchPhase = BatchPhase.OPEN
    requests: int = 0
    bytes: int = 0
    first_row: int = 0
    last_row: int = 0
    sha256: str = ""
    name: str = ""
    file_id: str | None = None
    batch_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    provider_status: str | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    downloads: dict[str, dict[str, str]] = field(default_factory=dict)
    unsure: str | None = None
    intended_at: int = 0
    created_at: int = 0
    next_at: int = 0
    tries: int = 0
    looks: int = 0
    times_gone: int = 0
    times_queued: int = 0
    is_overdue: bool = False

    def apply(self, phase: BatchPhase, detail: Mapping[str, Any]) -> None:
        """Takes what an event says: the phase, and every fact that is a field of a batch."""
        self.phase = phase
        for name in self.__slots__:
            if name in detail:
                setattr(self, name, detail[name])

    @property
    def is_live(self) -> bool:
        """Whether some of its rows still wait."""
        return self.phase is not BatchPhase.HARVESTED

    @property
    def is_with_provider(self) -> bool:
        """Whether it takes one of the places in flight."""
        return self.phase in {BatchPhase.UPLOADED, BatchPhase.READY, BatchPhase.CREATED, BatchPhase.ENDED}


class Batches:
    """All batches of a run, and the ones that take rows now."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan = plan
        self._recorder = ledger.recorder
        self._reader = ledger.reader
        self._run = ledger.run
        self._payloads = ledger.payloads
        self.live: dict[int, Batch] = {}
        self._taking: dict[tuple[int, int | None], Batch] = {}
        self._full: list[Batch] = []
        self._with_provider: Counter[int] = Counter()

    def restore(self) -> None:
        """Rebuilds the live batches from the trail; what an intent without an answer did is unsure."""
        for number, node_no, attempt, parent_no in self._reader.query(
            "SELECT batch_no, node_no, attempt, parent_no FROM batches WHERE run_no = ? ORDER BY batch_no",
            self._run.run_no,
        ):
            batch = Batch(number=number, node_no=node_no, attempt=attempt, parent_no=parent_no)
            last_commit = self._replay_events(batch)
            if not batch.is_live:
                continue
            if batch.phase is BatchPhase.OPEN:
                self._restore_open(batch)
                if (node_no, parent_no) in self._taking:
                    self._full.append(self._taking[node_no, parent_no])
                self._taking[node_no, parent_no] = batch
            self._restore_intent(batch, last_commit)
            self.live[number] = batch
            self._with_provider[node_no] += batch.is_with_provider

    def add(self, step: Step, token: Token, line: bytes, *, attempt: int, parent: Batch | None = None) -> None:
        """Puts a request line into the batch that takes rows for that step and parent, or into a new one.

        Commits nothing: a batch that is full is sealed by `seal_full` when the whole micro-batch is recorded.
        """
        if step.batch is None:
            raise RuntimeError("only batch transforms have batches")
        limits = step.batch.limits
        batch = self.open_batch(step, parent)
        if batch is not None and (
            batch.requests + 1 > limits.max_requests or batch.bytes + len(line) > limits.max_bytes
        ):
            self._full.append(batch)
            batch = None
        if batch is None:
            batch = self._open(step, attempt, parent)
        start = self._recorder.batches.reopen_file(batch.segment_no).append(line)
        self._recorder.batches.add_member(
            token.index,
            batch_no=batch.number,
            role=FileRole.REQUEST,
            segment_no=batch.segment_no,
            position=batch.requests,
            start=start,
            line=line,
        )
        batch.first_row = token.index if batch.requests == 0 else min(batch.first_row, token.index)
        batch.last_row = max(batch.last_row, token.index)
        batch.requests += 1
        batch.bytes += len(line)

    def open_batch(self, step: Step, parent: Batch | None) -> Batch | None:
        """The batch that takes rows for a step: fresh ones, or those of ``parent`` again."""
        return self._taking.get((step.number, None if parent is None else parent.number))

    def seal(self, batch: Batch) -> None:
        """Gives a batch its final bytes and name; durable when it returns."""
        if self._taking.get((batch.node_no, batch.parent_no)) is batch:
            del self._taking[batch.node_no, batch.parent_no]
        self._recorder.journal.commit_durably()
        self._payloads.forget(batch.segment_no)
        digest = content_hash(self._payloads.segment(batch.segment_no).chunks())
        self.note(
            batch,
            "sealed",
            BatchPhase.SEALED,
            {
                "requests": batch.requests,
                "bytes": batch.bytes,
                "first_row": batch.first_row,
                "last_row": batch.last_row,
                "sha256": digest.hex(),
                "name": self._file_name(batch),
            },
        )
        self._recorder.journal.commit_durably()
        self._recorder.batches.finish_file(batch.segment_no)

    def seal_full(self) -> None:
        """Seals the batches that have reached a limit."""
        full, self._full = self._full, []
        for batch in full:
            self.seal(batch)

    def seal_exhausted(self, *, is_source_done: bool) -> None:
        """Seals what can get no more rows: the batch it repeats is harvested, or its step's ways in are all used up."""
        for repeat in [b for b in self._taking.values() if b.parent_no is not None and b.parent_no not in self.live]:
            self.seal(repeat)
        is_upstream_done = is_source_done
        for step in self._plan.batch_steps:
            batch = self.open_batch(step, None)
            if is_upstream_done and batch is not None:
                self.seal(batch)
            is_upstream_done = is_upstream_done and not any(b.node_no == step.number for b in self.live.values())

    def watermark(self, next_row: int) -> int:
        """The lowest row that still waits for a provider; ``next_row`` when none does."""
        return min((batch.first_row for batch in self.live.values()), default=next_row)

    def note(self, batch: Batch, event: str, phase: BatchPhase, detail: Mapping[str, Any] | None = None) -> None:
        """Records an event of a batch and applies it."""
        facts = dict(detail or {})
        self._recorder.batches.add_event(batch.number, event, phase, facts)
        self._with_provider[batch.node_no] -= batch.is_with_provider
        batch.apply(phase, facts)
        self._with_provider[batch.node_no] += batch.is_with_provider
        if not batch.is_live:
            self.live.pop(batch.number, None)

    def in_flight(self, node_no: int) -> int:
        """How many batches of a step are with the provider."""
        return self._with_provider[node_no]

    def _open(self, step: Step, attempt: int, parent: Batch | None) -> Batch:
        number = self._recorder.batches.open_batch(
            node_no=step.number, attempt=attempt, parent_no=None if parent is None else parent.number
        )
        segment_no, _ = self._recorder.batches.open_file(
            number, FileRole.REQUEST, name=f"{step.name}-b{number:04d}-a{attempt}-request.jsonl"
        )
        batch = Batch(
            number=number,
            node_no=step.number,
            attempt=attempt,
            parent_no=None if parent is None else parent.number,
        )
        self.live[number] = self._taking[step.number, batch.parent_no] = batch
        self.note(batch, "opened", BatchPhase.OPEN, {"segment_no": segment_no})
        return batch

    def _file_name(self, batch: Batch) -> str:
        step = self._plan.names[batch.node_no]
        return f"elspeth-{self._run.run_id}-{step}-b{batch.number:04d}-a{batch.attempt}.jsonl"

    def _replay_events(self, batch: Batch) -> int:
        last_commit = -1
        for event_no, commit_no, phase, detail in self._reader.query(
            "SELECT event_no, commit_no, phase, detail_json FROM batch_events "
            "WHERE run_no = ? AND batch_no = ? ORDER BY event_no",
            self._run.run_no,
            batch.number,
        ):
            place = f"batch_events {self._run.run_no}/{batch.number}/{event_no}"
            batch.apply(read_word(BatchPhase, phase, place), read_json(detail, place))
            last_commit = commit_no
        if last_commit < 0:
            raise TrailError(f"batch {batch.number} of run {self._run.run_id} has no event")
        return last_commit

    def _restore_open(self, batch: Batch) -> None:
        ((requests, first_row, last_row, size),) = self._reader.query(
            "SELECT COUNT(*), MIN(row_index), MAX(row_index), COALESCE(MAX(start + length), 0) FROM batch_members "
            "WHERE run_no = ? AND batch_no = ? AND role = ?",
            self._run.run_no,
            batch.number,
            FileRole.REQUEST.value,
        )
        batch.requests, batch.bytes = requests, size
        batch.first_row, batch.last_row = first_row or 0, last_row or 0

    def _restore_intent(self, batch: Batch, last_commit: int) -> None:
        intents = self._reader.query(
            "SELECT operation, at, commit_no FROM call_intents WHERE run_no = ? AND batch_no = ? "
            "ORDER BY intent_no DESC LIMIT 1",
            self._run.run_no,
            batch.number,
        )
        if intents and intents[0][2] >= last_commit:
            batch.unsure, batch.intended_at = intents[0][0], intents[0][1]


def unanswered(batch: Batch) -> RowError:
    """The error of a row for which a batch has no line."""
    if batch.faults:
        fault = batch.faults[0]
        return RowError(
            code="batch_failed",
            message=f"batch {batch.number} failed: {fault['code']}: {fault['message']}",
            detail={"faults": batch.faults},
        )
    return RowError(code="unanswered", message=f"batch {batch.number} ended without an answer for this row")
