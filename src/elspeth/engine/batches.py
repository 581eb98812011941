"""All batches of a run: the filling of new ones, and what of the others still counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from elspeth.contracts import BatchFacts, BatchPhase, BatchTransform, FileRole, TrailError
from elspeth.core.canonical import sha256_each
from elspeth.core.landscape import LineColumns, Slot
from elspeth.core.payloads import content_digest
from elspeth.engine.account import Account, account_of
from elspeth.engine.batch import Batch, fold_batches, open_intents
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.tokens import Token

__all__ = ["Batches", "is_full"]

_FILLING = ("requests", "bytes", "first_row", "last_row")
_REACH = ("first_row", "last_row")


class Batches:
    """All batches of a run, and the ones that take rows now."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan = plan
        self._recorder = ledger.recorder
        self._reader = ledger.reader
        self._run = ledger.run
        self._payloads = ledger.payloads
        self.live: dict[int, Batch] = {}
        self._prices = plan.prices
        self._closed = Account()
        self._account: Account | None = None
        self._enqueued: dict[int, list[Batch]] | None = None
        self._canaries: dict[int, list[Batch]] = {}
        self._begun: set[int] = set()
        self._taking: dict[tuple[int, int | None], Batch] = {}
        self._full: list[Batch] = []
        self._with_provider: Counter[int] = Counter()
        self._joined: set[int] = set()
        self._digests: dict[int, hashlib._Hash] = {}  # of the lines so far, of batches that this process began

    def restore(self) -> None:
        """Rebuilds the batches from the trail, and the open ones from what `checkpoint` said of them."""
        frontier = self._reader.frontier(self._run.run_no)
        filling, joined = frontier.get("open_batches", {}), frontier.get("joined_batches", {})
        for batch in fold_batches(self._reader, self._run.run_no):
            self._begin(batch)
            if not batch.is_live:
                self._close(batch)
                continue
            if batch.phase is BatchPhase.OPEN:
                batch.apply(batch.phase, self._read_filling(batch, filling))
                self._take_rows(batch)
            elif str(batch.number) in joined:
                batch.apply(batch.phase, joined[str(batch.number)])
                self._joined.add(batch.number)
            self.live[batch.number] = batch
            self._with_provider[batch.node_no] += batch.is_with_provider
        for number, (operation, at) in open_intents(self._reader, self._run.run_no, self.live.values()).items():
            batch = self.live[number]
            detail = {"unsure": operation, "intended_at": at, "message": "a process ended before there was an answer"}
            self.note(batch, "outcome_unknown", batch.phase, detail)

    def checkpoint(self) -> dict[str, dict[str, int]]:
        """How far the open batches are filled, for the frontier: no event says it before they are sealed."""
        return {
            str(batch.number): {name: getattr(batch, name) for name in _FILLING}
            for batch in self.live.values()
            if batch.phase is BatchPhase.OPEN
        }

    def reach(self) -> dict[str, dict[str, dict[str, int]]]:
        """Which rows those batches have that took in more after they were sealed, for the frontier likewise."""
        joined = sorted(self._joined & self.live.keys())
        reach = {str(number): {name: getattr(self.live[number], name) for name in _REACH} for number in joined}
        return {"joined_batches": reach} if reach else {}

    def add(
        self, step: Step, requests: Iterable[tuple[Token, bytes]], *, attempt: int, parent: Batch | None = None
    ) -> Slot:
        """Puts request lines into the batch that takes rows for that step and parent, or into new ones.

        Returns the place of the last one. Commits nothing: a batch that is full is sealed by `seal_full` when the
        whole micro-batch is recorded.
        """
        if step.batch is None:
            raise RuntimeError("only batch transforms have batches")
        batch = self.open_batch(step, parent)
        rows: list[int] = []
        lines: list[bytes] = []
        for token, line in requests:
            if batch is None or is_full(
                step.batch,
                requests=batch.requests + 1,
                size_bytes=batch.bytes + len(line),
                is_canary=batch.is_canary and parent is None,
            ):
                if batch is not None and lines:
                    self._write(batch, rows, lines)
                batch, rows, lines = self._open(step, attempt, parent), [], []
                batch.first_row = token.index
            rows.append(token.index)
            lines.append(line)
            batch.requests += 1
            batch.bytes += len(line)
        if batch is None or not lines:
            raise RuntimeError("no request was given")
        return self._write(batch, rows, lines)

    def join(self, row: int, slot: Slot) -> None:
        """Lets a row share a request line of a live batch, whatever became of the batch since the line was made."""
        batch = self.live[slot.batch_no]
        lines = LineColumns()
        lines.add(row, position=slot.position, start=slot.start, length=slot.length, sha256=slot.sha256)
        self._record(batch, lines)
        if batch.phase is not BatchPhase.OPEN:
            self._joined.add(batch.number)

    def open_batch(self, step: Step, parent: Batch | None) -> Batch | None:
        """The batch that takes rows for a step: fresh ones, or those of ``parent`` again."""
        return self._taking.get((step.number, None if parent is None else parent.number))

    def seal(self, batch: Batch) -> None:
        """Gives a batch its final bytes and name; durable when it returns."""
        if self._taking.get((batch.node_no, batch.parent_no)) is batch:
            del self._taking[batch.node_no, batch.parent_no]
        self._recorder.journal.commit_durably()
        self._payloads.forget(batch.segment_no)
        transform = self._plan.steps[batch.node_no].batch
        if transform is None:
            raise RuntimeError("only batch transforms have batches")
        tokens = transform.estimate(requests=batch.requests, size_bytes=batch.bytes)
        digest = self._digests.pop(batch.number, None)
        if digest is None:
            digest = content_digest(self._payloads.segment(batch.segment_no).chunks())
        self.note(
            batch,
            "sealed",
            BatchPhase.SEALED,
            {
                "requests": batch.requests,
                "bytes": batch.bytes,
                "first_row": batch.first_row,
                "last_row": batch.last_row,
                "sha256": digest.hexdigest(),
                "name": self._file_name(batch),
                "tokens": tokens.as_json(),
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
            is_upstream_done = is_upstream_done and not any(b.node_no == step.number for b in self.with_rows())

    def with_rows(self) -> list[Batch]:
        """The live batches whose rows wait for them."""
        return [batch for batch in self.live.values() if not batch.is_extra]

    def watermark(self, next_row: int) -> int:
        """The lowest row that still waits for a provider; ``next_row`` when none does."""
        return min((batch.first_row for batch in self.with_rows()), default=next_row)

    def account(self) -> Account:
        """What the run has cost and may still cost. It is asked for each batch that waits, and changes with events."""
        if self._account is None:
            self._account = self._closed + account_of(self.live.values(), self._prices)
        return self._account

    def enqueued(self, node_no: int) -> list[Batch]:
        """The batches of a step that are in the provider's queue, for all that is known."""
        if self._enqueued is None:
            self._enqueued = {}
            for batch in self.live.values():
                if batch.is_enqueued:
                    self._enqueued.setdefault(batch.node_no, []).append(batch)
        return self._enqueued.get(node_no, [])

    def canary(self, node_no: int) -> list[Batch]:
        """The rows of a step that go first, alone: their batch and the batches of their further attempts."""
        return self._canaries.get(node_no, [])

    def is_canary_dead(self, node_no: int) -> bool:
        """Whether more of the first rows failed than the run's limit allows; without a limit, all of them."""
        family = self.canary(node_no)
        if not family or any(batch.is_live for batch in family):
            return False
        requests, failed = family[0].requests, sum(batch.failed_requests for batch in family)
        limit = self._plan.max_error_rate
        return failed >= requests if limit is None else failed > requests * limit

    def add_extra(self, batch: Batch, facts: BatchFacts) -> Batch:
        """Takes in a job too many for the file of ``batch``, to be cancelled and paid for."""
        number = self._recorder.batches.open_batch(node_no=batch.node_no, attempt=batch.attempt, parent_no=None)
        extra = Batch(number=number, node_no=batch.node_no, attempt=batch.attempt, parent_no=None)
        self.live[number] = extra
        detail = {
            "extra_of": batch.number,
            "requests": batch.requests,
            "bytes": batch.bytes,
            "tokens": batch.tokens,
            "file_id": batch.file_id,
            "batch_id": facts.id,
            "provider_status": facts.raw_status,
            "created_at": self._recorder.journal.clock.now_us(),
            "is_cancel_due": not facts.state.is_terminal,
        }
        self.note(extra, "opened", BatchPhase.CREATED, detail)
        return extra

    def note(self, batch: Batch, event: str, phase: BatchPhase, detail: Mapping[str, Any] | None = None) -> None:
        """Records an event of a batch and applies it."""
        facts = dict(detail or {})
        self._account = self._enqueued = None
        self._recorder.batches.add_event(batch.number, event, phase, facts)
        self._with_provider[batch.node_no] -= batch.is_with_provider
        batch.apply(phase, facts)
        self._account = None
        self._with_provider[batch.node_no] += batch.is_with_provider
        if not batch.is_live:
            self.live.pop(batch.number, None)
            self._close(batch)

    def in_flight(self, node_no: int) -> int:
        """How many batches of a step are with the provider."""
        return self._with_provider[node_no]

    def _write(self, batch: Batch, rows: list[int], lines: list[bytes]) -> Slot:
        """Writes request lines that the batch has counted already; returns the place of the last one."""
        first = batch.requests - len(lines)
        file = self._recorder.batches.reopen_file(batch.segment_no)
        columns = LineColumns(
            rows=rows,
            positions=list(range(first, batch.requests)),
            starts=list(map(file.append, lines)),
            lengths=list(map(len, lines)),
            hashes=sha256_each(lines),
        )
        if batch.number in self._digests:
            self._digests[batch.number].update(b"".join(lines))
        self._record(batch, columns)
        place = (columns.positions[-1], columns.starts[-1], columns.lengths[-1], columns.hashes[-1])
        return Slot(batch.number, batch.segment_no, *place)

    def _record(self, batch: Batch, lines: LineColumns) -> None:
        self._recorder.batches.add_lines(
            lines, batch_no=batch.number, role=FileRole.REQUEST, segment_no=batch.segment_no
        )
        batch.first_row = min(batch.first_row, *lines.rows)
        batch.last_row = max(batch.last_row, *lines.rows)

    def _open(self, step: Step, attempt: int, parent: Batch | None) -> Batch:
        parent_no = None if parent is None else parent.number
        number = self._recorder.batches.open_batch(node_no=step.number, attempt=attempt, parent_no=parent_no)
        segment_no, _ = self._recorder.batches.open_file(
            number, FileRole.REQUEST, name=f"{step.name}-b{number:04d}-a{attempt}-request.jsonl"
        )
        batch = Batch(number=number, node_no=step.number, attempt=attempt, parent_no=parent_no)
        self.live[number] = batch
        self._digests[number] = hashlib.sha256()
        is_first = step.number not in self._begun
        has_canary = step.batch is not None and step.batch.limits.canary > 0
        is_canary = is_first and has_canary if parent is None else parent.is_canary
        self.note(batch, "opened", BatchPhase.OPEN, {"segment_no": segment_no, "is_canary": is_canary})
        self._begin(batch)
        self._take_rows(batch)
        return batch

    def _begin(self, batch: Batch) -> None:
        self._begun.add(batch.node_no)
        if batch.is_canary:
            self._canaries.setdefault(batch.node_no, []).append(batch)

    def _take_rows(self, batch: Batch) -> None:
        """From now on rows go into this one; the one before it, if any, is full."""
        place = (batch.node_no, batch.parent_no)
        if place in self._taking:
            self._full.append(self._taking[place])
        self._taking[place] = batch

    def _close(self, batch: Batch) -> None:
        self._closed += account_of([batch], self._prices)

    def _file_name(self, batch: Batch) -> str:
        step = self._plan.names[batch.node_no]
        return f"elspeth-{self._run.run_id}-{step}-b{batch.number:04d}-a{batch.attempt}.jsonl"

    def _read_filling(self, batch: Batch, filling: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
        facts = filling.get(str(batch.number), {})
        if set(facts) != set(_FILLING):
            raise TrailError(f"run {self._run.run_id}: the last commit does not say how full batch {batch.number} is")
        return facts


def is_full(transform: BatchTransform, *, requests: int, size_bytes: int, is_canary: bool) -> bool:
    """Whether so many requests of so many bytes are more than one file may hold."""
    limits = transform.limits
    if requests > limits.max_requests or size_bytes > limits.max_bytes or (is_canary and requests > limits.canary):
        return True
    if limits.max_enqueued_tokens is None:
        return False
    tokens = transform.estimate(requests=requests, size_bytes=size_bytes).input
    return tokens.likely > limits.max_enqueued_tokens
