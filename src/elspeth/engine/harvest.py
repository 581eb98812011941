"""Bringing a batch home: its files, every line of them, every row of it.

Result lines come in any order, twice, broken, or not at all, and a file may be larger
than memory. So the file is written out once, its lines are indexed by request, and the
rows are then taken in their own order. A row whose answer cannot be had may be sent
again, in a batch that belongs to this one and holds only such rows. A harvest that a
crash cut short is begun again and skips the rows that are recorded.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from msgspec import Struct, field

from elspeth.contracts import (
    BatchPhase,
    BatchTransform,
    BodyRef,
    FileRole,
    LineVerdict,
    RowError,
    RunError,
    TransformResult,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LineColumns
from elspeth.core.landscape.rows import Version
from elspeth.engine.answers import (
    MOST_SET_ASIDE,
    RESULT_FILES,
    Answers,
    SetAside,
    download_of,
    index_answers,
    lines_of,
    may_retry,
    result_of,
)
from elspeth.engine.batch import Batch, custom_id, has_counts, tokens_of
from elspeth.engine.batches import Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.processor import Processor, Sweep
from elspeth.engine.sharing import Sharing
from elspeth.engine.tokens import Token

__all__ = ["Harvester"]

_ROWS_AT_ONCE = 256
_MEMBERS_A_PAGE = 20_000


class Tally(Struct):
    """What a harvest came to, for the batch's last event."""

    answered: int = 0
    failed: int = 0
    failed_requests: int = 0
    retried: int = 0
    uncounted: int = 0
    shared: int = 0
    shared_tokens: list[int] = field(default_factory=lambda: [0, 0])
    reasons: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Counter[str]] = field(default_factory=dict)

    def count_usage(self, verdicts: Iterable[LineVerdict]) -> None:
        """Adds the provider's token counts, by model; those of answers that name the same ones by column."""
        alike: dict[tuple[str, tuple[str, ...]], list[Mapping[str, Any]]] = {}
        for verdict in verdicts:
            usage = verdict.usage
            if usage is not None:
                alike.setdefault((verdict.model or "unknown", tuple(usage)), []).append(usage)
        for (model, names), usages in alike.items():
            counts = self.usage.setdefault(model, Counter())
            counts["rows"] += len(usages)
            self.uncounted += 0 if has_counts(names) else len(usages)
            for name, column in zip(names, zip(*(usage.values() for usage in usages), strict=True), strict=False):
                whole = [value for value in column if type(value) is int]
                if whole:
                    counts[name] += sum(whole)

    def count_shared(self, verdict: LineVerdict) -> None:
        """Adds what a row would have cost that shares another one's line."""
        self.shared += 1
        for place, tokens in enumerate(tokens_of(verdict.usage or {})):
            self.shared_tokens[place] += tokens

    def count_row(self, verdict: LineVerdict, *, is_retry: bool, is_shared: bool) -> None:
        """Adds what became of a row; ``is_shared``: by the line of another one."""
        if verdict.failure is None:
            self.answered += 1
            return
        self.reasons[verdict.failure.code] += 1
        if is_retry:
            self.retried += 1
        else:
            self.failed += 1
            self.failed_requests += not is_shared

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        shared = {"shared_rows": self.shared, "shared_tokens": self.shared_tokens} if self.shared else {}
        return {
            "answered": self.answered,
            "failed_rows": self.failed,
            "failed_requests": self.failed_requests,
            "retried": self.retried,
            "reasons": dict(self.reasons),
            **shared,
            **self.cost(),
        }

    def cost(self) -> dict[str, Any]:
        """What of it is about money."""
        usage = {model: dict(counts) for model, counts in self.usage.items()}
        return {"usage": usage, "uncounted_rows": self.uncounted}


class _Home(Struct, frozen=True, kw_only=True):
    """A batch that comes home: its answers, and what is known of its rows before they are looked at.

    ``segments`` are those of its result files; ``has_retries``: some rows may have been asked again already.
    """

    step: Step
    transform: BatchTransform
    batch: Batch
    answers: Answers
    segments: Mapping[FileRole, int]
    sharing: Sharing
    has_retries: bool


class Harvester:
    """Harvests batches that have ended."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        *,
        processor: Processor,
        batches: Batches,
        settle: Callable[[Sweep, int], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
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
            rows, positions = self._members(batch)
            home = _Home(
                step=step,
                transform=_transform(step),
                batch=batch,
                answers=self._index(step, batch, rows, file, tally),
                segments={role: ref.segment_no for role, ref in _downloads(batch)},
                sharing=Sharing.of(batch, self._ledger) if _transform(step).limits.is_shared else Sharing(),
                has_retries=self._has_retries(batch),
            )
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                group = slice(start, start + _ROWS_AT_ONCE)
                self._take(home, rows[group], positions[group], tally)
                self._batches.seal_full()
        retry = self._batches.open_batch(step, batch)
        reach = {"first_row": batch.first_row, "last_row": batch.last_row}
        self._batches.note(batch, "harvested", BatchPhase.HARVESTED, {**reach, **tally.facts()})
        if retry is not None:
            self._batches.seal(retry)
        self._recorder.journal.commit_durably()

    def _settle_extra(self, step: Step, batch: Batch) -> None:
        """Counts what a job too many has cost; its answers stay in their files and go to no row."""
        transform = _transform(step)
        tally = Tally()
        for role, chunks in self._files(batch):
            for _, _, line in lines_of(chunks):
                tally.count_usage([transform.read_line(line, role).verdict])
        self._batches.note(batch, "settled", BatchPhase.HARVESTED, tally.cost())
        self._recorder.journal.commit_durably()

    # Lines

    def _index(self, step: Step, batch: Batch, rows: Iterable[int], file: IO[bytes], tally: Tally) -> Answers:
        """Files every line; those that are set aside go to no row, and are paid for all the same."""
        transform = _transform(step)
        known = self._set_aside(batch)

        def set_aside(line: SetAside) -> None:
            if line.kind != "duplicate":
                tally.count_usage([transform.read_line(line.line, line.role).verdict])
            if (line.role.word, line.position + 1) in known or len(known) >= MOST_SET_ASIDE:
                return
            known.add((line.role.word, line.position + 1))
            where = {"role": line.role.word, "line": line.position + 1, "start": line.start, "length": len(line.line)}
            detail = {**where, "line_sha256": sha256(line.line).hex(), "kind": line.kind, "message": line.message}
            self._batches.note(batch, "line_set_aside", batch.phase, detail)

        expected = {custom_id(row, batch.attempt) for row in rows}
        return index_answers(transform, expected, self._files(batch), file=file, on_set_aside=set_aside)

    def _files(self, batch: Batch) -> Iterator[tuple[FileRole, Iterator[bytes]]]:
        """The result files that a batch has, in pieces."""
        for role, ref in _downloads(batch):
            yield role, self._payloads.segment(ref.segment_no).chunks()

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

    # Rows

    def _members(self, batch: Batch) -> tuple[array[int], array[int]]:
        """The rows of a batch, ascending, and for each the place of its line in the request file.

        They are read page by page and kept as numbers: there are as many as rows, where rows share lines.
        """
        rows, positions = array("q"), array("q")
        first = batch.first_row
        while page := self._reader.query(
            "SELECT row_index, position FROM batch_members WHERE run_no = ? AND row_index BETWEEN ? AND ? "
            "AND batch_no = ? AND role = ? ORDER BY row_index LIMIT ?",
            self._run.run_no,
            first,
            batch.last_row,
            batch.number,
            FileRole.REQUEST.value,
            _MEMBERS_A_PAGE,
        ):
            rows.extend([row for row, _ in page])
            positions.extend([position for _, position in page])
            first = rows[-1] + 1
        return rows, positions

    def _take(self, home: _Home, rows: Sequence[int], positions: Sequence[int], tally: Tally) -> None:
        """Gives some rows, ascending, what came home for them."""
        step, transform, batch = home.step, home.transform, home.batch
        started_at = self._clock.now_us()
        tokens: list[Token] = []
        results: list[TransformResult] = []
        retries: list[tuple[Token, int]] = []
        lines = {role: LineColumns() for role in home.segments}
        asked: list[LineVerdict] = []
        waiting = self._rows.waiting_at(step.number, rows)
        for row in self._asked_again(batch, rows) if home.has_retries else ():
            waiting.pop(row, None)
        for row, position in zip(rows, positions, strict=True):
            owner = home.sharing.owner(row, position)
            verdict, place, line = home.answers.verdict(transform, batch, custom_id(owner, batch.attempt))
            is_shared = owner != row
            if is_shared:
                tally.count_shared(verdict)
            else:
                asked.append(verdict)
            is_retry = verdict.is_retryable and may_retry(transform, batch)
            tally.count_row(verdict, is_retry=is_retry, is_shared=is_shared)
            version = waiting.get(row)
            if version is None:
                continue
            token = self._token(row, version)
            if place is not None and line is not None:
                lines[place.role].add(
                    row, position=place.position, start=place.start, length=place.length, sha256=sha256(line)
                )
            if is_retry:
                retries.append((token, position))
            else:
                tokens.append(token)
                results.append(result_of(transform, token.row, verdict))
        tally.count_usage(asked)
        sweep = self._processor.resume_sweep(step, tokens, results, started_at=started_at, attempt=batch.attempt)
        for role, columns in lines.items():
            self._recorder.batches.add_lines(columns, batch_no=batch.number, role=role, segment_no=home.segments[role])
        for token, position in retries:
            self._ask_again(step, batch, token, position, home.sharing)
        self._settle(sweep, len(tokens))

    def _token(self, row: int, version: Version) -> Token:
        value = self._plan.codecs[version.writer].decode(version.data)
        return Token(row, value, version.data, version.sha256, version.writer)

    def _ask_again(self, step: Step, batch: Batch, token: Token, position: int, sharing: Sharing) -> None:
        """Rows that shared a line share the one of the next attempt."""
        slot = sharing.next_slot(position)
        if slot is not None:
            self._batches.join(token.index, slot)
            return
        line = _transform(step).request_line(token.row, custom_id(token.index, batch.attempt + 1))
        if isinstance(line, RowError):
            raise RunError(f"row {token.index}: its request cannot be made a second time: {line.message}")
        slot = self._batches.add(step, [(token, line)], attempt=batch.attempt + 1, parent=batch)
        sharing.asked_again(position, slot)

    def _has_retries(self, batch: Batch) -> bool:
        """Whether an interrupted harvest has begun a batch in which rows of this one are sent again."""
        return bool(
            self._reader.query(
                "SELECT 1 FROM batches WHERE run_no = ? AND parent_no = ? LIMIT 1", self._run.run_no, batch.number
            )
        )

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


def _downloads(batch: Batch) -> Iterator[tuple[FileRole, BodyRef]]:
    """The result files that a batch has, and where they lie."""
    for role in RESULT_FILES:
        ref = download_of(batch, role)
        if ref is not None:
            yield role, ref


def _transform(step: Step) -> BatchTransform:
    if step.batch is None:
        raise RuntimeError("only batch transforms have answers")
    return step.batch
