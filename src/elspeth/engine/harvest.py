"""Bringing a batch home: its files, every line of them, every row of it.

Result lines come in any order, twice, broken, or not at all, and a file may be larger
than memory. So the file is written out once, its lines are indexed by request, and the
rows are then taken in their own order. A row whose answer cannot be had may be sent
again, in a batch that belongs to this one and holds only such rows. A harvest that a
crash cut short is begun again and skips the rows that are recorded.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, NamedTuple

from elspeth.contracts import (
    BatchPhase,
    BodyRef,
    FileRole,
    LineVerdict,
    RowError,
    RunError,
    TransformResult,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape.rows import TrailRow
from elspeth.core.payloads import parse_reference
from elspeth.engine.batch import Batch, custom_id, has_counts, unanswered
from elspeth.engine.batches import Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.processor import Processor, Sweep
from elspeth.engine.remote import is_permanent
from elspeth.engine.tokens import Token

__all__ = ["Harvester"]

_ROWS_AT_ONCE = 256
_MOST_FAULTS_NOTED = 1_000


class Place(NamedTuple):
    """Where an answer's line stands: in the file on the disk, and in the provider's file."""

    role: FileRole
    offset: int
    length: int
    position: int
    start: int


@dataclass(slots=True)
class Answers:
    """The lines of a batch's result files by request, in one file on the disk."""

    file: IO[bytes]
    lines: dict[str, Place] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)

    def read(self, request_id: str) -> bytes | None:
        """The line that answers a request; None without one."""
        place = self.lines.get(request_id)
        if place is None:
            return None
        self.file.seek(place.offset)
        return self.file.read(place.length)


@dataclass(slots=True)
class Tally:
    """What a harvest came to, for the batch's last event."""

    answered: int = 0
    failed: int = 0
    retried: int = 0
    uncounted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Counter[str]] = field(default_factory=dict)

    def count_usage(self, verdict: LineVerdict) -> None:
        """Adds the provider's token counts, by model."""
        if verdict.usage is None:
            return
        counts = self.usage.setdefault(verdict.model or "unknown", Counter())
        counts["rows"] += 1
        self.uncounted += not has_counts(verdict.usage)
        for name, value in verdict.usage.items():
            if isinstance(value, int) and not isinstance(value, bool):
                counts[name] += value

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "answered": self.answered,
            "failed_rows": self.failed,
            "retried": self.retried,
            "reasons": dict(self.reasons),
            **self.cost(),
        }

    def cost(self) -> dict[str, Any]:
        """What of it is about money."""
        usage = {model: dict(counts) for model, counts in self.usage.items()}
        return {"usage": usage, "uncounted_rows": self.uncounted}


class Harvester:
    """Harvests batches that have ended."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        *,
        processor: Processor,
        batches: Batches,
        settle: Callable[[Sweep, Sequence[Token]], None],
    ) -> None:
        self._plan = plan
        self._processor = processor
        self._batches = batches
        self._recorder = ledger.recorder
        self._reader = ledger.reader
        self._run = ledger.run
        self._payloads = ledger.payloads
        self._rows = ledger.rows
        self._clock = ledger.clock
        self._settle = settle

    def harvest(self, batch: Batch) -> None:
        """Accounts for every row of a batch whose files are downloaded."""
        step = self._plan.steps[batch.node_no]
        self._recorder.journal.commit_durably()
        if batch.is_extra:
            self._settle_extra(step, batch)
            return
        with tempfile.TemporaryFile(prefix="elspeth-", dir=self._run.payload_folder) as file:
            tally = Tally()
            answers = self._index(step, batch, file, tally)
            members = self._members(batch)
            while group := list(islice(members, _ROWS_AT_ONCE)):
                self._take(step, batch, group, answers, tally)
                self._batches.seal_full()
        retry = self._batches.open_batch(step, batch)
        self._batches.note(batch, "harvested", BatchPhase.HARVESTED, tally.facts())
        if retry is not None:
            self._batches.seal(retry)
        self._recorder.journal.commit_durably()

    def _settle_extra(self, step: Step, batch: Batch) -> None:
        """Counts what a job too many has cost; its answers stay in their files and go to no row."""
        if step.batch is None:
            raise RuntimeError("only batch transforms have answers")
        tally = Tally()
        for role in (FileRole.OUTPUT, FileRole.ERROR):
            ref = _download(batch, role)
            if ref is not None:
                for _, _, line in _lines(self._payloads.segment(ref.segment_no).chunks()):
                    tally.count_usage(step.batch.read_line(line, role).verdict)
        self._batches.note(batch, "settled", BatchPhase.HARVESTED, tally.cost())
        self._recorder.journal.commit_durably()

    # Lines

    def _index(self, step: Step, batch: Batch, file: IO[bytes], tally: Tally) -> Answers:
        """Files every line; those that are set aside go to no row, and are paid for all the same."""
        answers = Answers(file)
        expected = {custom_id(row, batch.attempt) for row in self._members(batch)}
        known = self._set_aside(batch)
        for role in (FileRole.OUTPUT, FileRole.ERROR):
            ref = _download(batch, role)
            if ref is None:
                continue
            for position, start, line in _lines(self._payloads.segment(ref.segment_no).chunks()):
                fault = self._place(step, answers, expected, role, position, start, line)
                if fault is not None and fault["kind"] != "duplicate" and step.batch is not None:
                    tally.count_usage(step.batch.read_line(line, role).verdict)
                if fault is not None and (role.word, position + 1) not in known and len(known) < _MOST_FAULTS_NOTED:
                    known.add((role.word, position + 1))
                    where = {"role": role.word, "line": position + 1, "start": start, "length": len(line)}
                    detail = {**where, "line_sha256": sha256(line).hex(), **fault}
                    self._batches.note(batch, "line_set_aside", batch.phase, detail)
        return answers

    def _set_aside(self, batch: Batch) -> set[tuple[str, int]]:
        """The lines, by file and number, that an interrupted harvest has set aside already."""
        return {
            (role, line)
            for role, line in self._reader.query(
                "SELECT json_extract(detail_json, '$.role'), json_extract(detail_json, '$.line') FROM batch_events "
                "WHERE run_no = ? AND batch_no = ? AND event = 'line_set_aside'",
                self._run.run_no,
                batch.number,
            )
        }

    def _place(
        self,
        step: Step,
        answers: Answers,
        expected: set[str],
        role: FileRole,
        position: int,
        start: int,
        line: bytes,
    ) -> dict[str, Any] | None:
        """Files a line under its request; returns why when it is set aside."""
        if step.batch is None:
            raise RuntimeError("only batch transforms have answers")
        request_id = step.batch.line_id(line)
        if request_id is None:
            failure = step.batch.read_line(line, role).verdict.failure
            return {"kind": "quarantine", "message": "" if failure is None else failure.message}
        if request_id not in expected:
            return {"kind": "alarm", "message": f"an answer to {request_id[:80]!r}, which was never asked"}
        if request_id in answers.lines:
            if answers.read(request_id) == line:
                return {"kind": "duplicate", "message": f"the answer to {request_id!r} came twice, the same"}
            answers.conflicts.add(request_id)
            return {"kind": "conflict", "message": f"another answer to {request_id!r}"}
        answers.file.seek(0, 2)
        answers.lines[request_id] = Place(role, answers.file.tell(), len(line), position, start)
        answers.file.write(line)
        return None

    # Rows

    def _members(self, batch: Batch) -> Iterator[int]:
        """The rows of a batch, ascending."""
        for (row,) in self._reader.query(
            "SELECT row_index FROM batch_members WHERE run_no = ? AND row_index BETWEEN ? AND ? "
            "AND batch_no = ? AND role = ? ORDER BY row_index",
            self._run.run_no,
            batch.first_row,
            batch.last_row,
            batch.number,
            FileRole.REQUEST.value,
        ):
            yield row

    def _take(self, step: Step, batch: Batch, group: Sequence[int], answers: Answers, tally: Tally) -> None:
        started_at = self._clock.now_us()
        tokens: list[Token] = []
        results: list[TransformResult] = []
        retries: list[Token] = []
        places: list[tuple[int, Place]] = []
        asked_again = self._asked_again(batch, group)
        for row in self._rows.fetch(group):
            verdict, place = self._verdict(step, batch, row.index, answers)
            tally.count_usage(verdict)
            is_retry = verdict.is_retryable and self._may_retry(step, batch)
            self._count(tally, verdict, is_retry=is_retry)
            if row.index in asked_again or any(state.node_no == step.number for state in row.states):
                continue
            token = self._token(step, row)
            if place is not None:
                places.append((row.index, place))
            if is_retry:
                retries.append(token)
            else:
                tokens.append(token)
                results.append(self._result(step, token, verdict))
        sweep = self._processor.resume_sweep(step, tokens, results, started_at=started_at, attempt=batch.attempt)
        for index, place in places:
            self._record_answer(batch, index, answers, place)
        for token in retries:
            self._ask_again(step, batch, token)
        self._settle(sweep, tokens)

    def _verdict(self, step: Step, batch: Batch, row: int, answers: Answers) -> tuple[LineVerdict, Place | None]:
        request_id = custom_id(row, batch.attempt)
        line = answers.read(request_id)
        place = answers.lines.get(request_id)
        if line is None or place is None or step.batch is None:
            failure = unanswered(batch)
            return LineVerdict(None, failure, is_retryable=not is_permanent(batch.faults)), None
        if request_id in answers.conflicts:
            message = "the provider gave different answers to this row's request"
            paid = step.batch.read_line(line, place.role).verdict
            error = RowError(code="conflicting_answers", message=message)
            return LineVerdict(None, error, usage=paid.usage, model=paid.model), place
        return step.batch.read_line(line, place.role).verdict, place

    @staticmethod
    def _count(tally: Tally, verdict: LineVerdict, *, is_retry: bool) -> None:
        if verdict.failure is None:
            tally.answered += 1
            return
        tally.reasons[verdict.failure.code] += 1
        if is_retry:
            tally.retried += 1
        else:
            tally.failed += 1

    @staticmethod
    def _may_retry(step: Step, batch: Batch) -> bool:
        """Whether rows get another attempt; a cancelling of ours is not held against them."""
        if step.batch is None:
            return False
        return batch.cancelled_by is not None or batch.attempt + 1 < step.batch.limits.row_attempts

    def _token(self, step: Step, row: TrailRow) -> Token:
        version = row.version_before(step.number)
        data = self._rows.data(row, version)
        decoded = self._plan.codecs[version[0]].decode(data)
        return Token(row.index, decoded, data, version[1], writer=version[0], is_new=False)

    def _record_answer(self, batch: Batch, row: int, answers: Answers, place: Place) -> None:
        ref = _download(batch, place.role)
        if ref is None:
            raise RuntimeError("a line comes from a file that was downloaded")
        self._recorder.batches.add_member(
            row,
            batch_no=batch.number,
            role=place.role,
            segment_no=ref.segment_no,
            position=place.position,
            start=place.start,
            line=answers.read(custom_id(row, batch.attempt)) or b"",
        )

    def _ask_again(self, step: Step, batch: Batch, token: Token) -> None:
        if step.batch is None:
            raise RuntimeError("only batch transforms ask again")
        line = step.batch.request_line(token.row, custom_id(token.index, batch.attempt + 1))
        if isinstance(line, RowError):
            raise RunError(f"row {token.index}: its request cannot be made a second time: {line.message}")
        self._batches.add(step, token, line, attempt=batch.attempt + 1, parent=batch)

    @staticmethod
    def _result(step: Step, token: Token, verdict: LineVerdict) -> TransformResult:
        if verdict.failure is not None:
            return TransformResult((), verdict.failure)
        if step.batch is None:
            raise RuntimeError("only batch transforms merge answers")
        return step.batch.merge(token.row, verdict)

    def _asked_again(self, batch: Batch, group: Sequence[int]) -> set[int]:
        """The rows of ``group`` that an interrupted harvest has put into the retry batch already."""
        return {
            row
            for (row,) in self._reader.query(
                "SELECT m.row_index FROM batch_members m JOIN batches b "
                "ON b.run_no = m.run_no AND b.batch_no = m.batch_no "
                "WHERE m.run_no = ? AND m.row_index BETWEEN ? AND ? AND b.parent_no = ? AND m.role = ?",
                self._run.run_no,
                group[0],
                group[-1],
                batch.number,
                FileRole.REQUEST.value,
            )
        }


def _download(batch: Batch, role: FileRole) -> BodyRef | None:
    entry = batch.downloads.get(role.word)
    return None if entry is None else parse_reference(entry["ref"], bytes.fromhex(entry["sha256"]))


def _lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Position, offset and bytes (newline included) of each line that is not blank."""
    rest = b""
    start = 0
    position = 0
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for text in whole:
            if text.strip():
                yield position, start, text + b"\n"
            position += 1
            start += len(text) + 1
    if rest.strip():
        yield position, start, rest
