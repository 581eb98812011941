"""One run, top to bottom; a resume is the same code with another beginning.

    read      records become rows and move through the steps until they arrive or wait
    remote    batches go to the provider and come home; their rows move on
    finish    everything is written, the rows balance, the files get their names

A commit about every five thousand rows or every second is the checkpoint. What a resume
needs is in the trail: the frontier of the last commit, the batches' events, the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any

from msgspec import Struct

from elspeth.contracts import (
    BatchPendingError,
    BatchPhase,
    BatchProvider,
    Clock,
    CostLimitError,
    CredentialsError,
    RunError,
    RunStatus,
    SourceBatch,
    SourcePosition,
    StoppedError,
    makes_plain_values,
)
from elspeth.core.calls import NetworkGuard, Redactor
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder, RunHeader
from elspeth.core.landscape.extents import PART_EXTENT, extents_of
from elspeth.core.landscape.savings import savings_of
from elspeth.core.landscape.tally import count_usage, describe_outcomes, recount_outcomes
from elspeth.engine.account import savings_as_json
from elspeth.engine.admission import Admission
from elspeth.engine.allowance import Allowance
from elspeth.engine.attempts import Attempts
from elspeth.engine.batches import Batches
from elspeth.engine.context import StepContext
from elspeth.engine.decisions import Decisions, person, take_decisions
from elspeth.engine.frontier import Frontier
from elspeth.engine.harvest import Harvester
from elspeth.engine.ledger import Ledger
from elspeth.engine.outputs import Output
from elspeth.engine.plan import SOURCE_NODE, Plan, Step
from elspeth.engine.processor import Processor, Sweep
from elspeth.engine.rebuild import rebuild_part
from elspeth.engine.remote import RemoteSteps
from elspeth.engine.reuse import KnownAnswers
from elspeth.engine.screen import RedactingScreen
from elspeth.engine.selection import Selection
from elspeth.engine.standstill import Standstill
from elspeth.engine.tokens import grouped

__all__ = ["Orchestrator", "Progress", "Terms", "Waiting"]

_US = 1_000_000
_ROWS_A_MICRO_BATCH = 256
_ROWS_A_COMMIT = 5_000
_COMMIT_EVERY_US = _US
_SOON_S = 30.0
_LONGEST_SUBMITTING_S = 600.0
_LONGEST_SLEEP_S = 5.0
_ONLY_EXTRA = (
    "Every row is done; only jobs too many are watched until their cost is known. A resume with --declare-lost N gives "
    "one up and takes it for as dear as it can be."
)


class Waiting(Struct, frozen=True, kw_only=True):
    """How long to wait for remote work: ``deadline`` in microseconds since the epoch, None for as long as it takes.

    ``submit_only`` ends as soon as everything that can be submitted is.
    """

    deadline: int | None = None
    submit_only: bool = False


class Progress(Struct, frozen=True, kw_only=True):
    """Where the run stands, for whoever watches."""

    rows_read: int
    is_source_done: bool
    rows_out: int
    batches: Mapping[str, int]
    waiting_s: float = 0.0


class Terms(Struct, frozen=True, kw_only=True):
    """On which a process works on a run: how long, for how much money, on whose decisions."""

    waiting: Waiting
    max_cost_usd: Decimal | None
    decisions: Decisions
    is_stopping: Callable[[], bool]
    on_progress: Callable[[Progress], None]


class Orchestrator:
    """Runs one plan over one journal."""

    def __init__(
        self,
        plan: Plan,
        *,
        run: RunHeader,
        reader: LandscapeReader,
        recorder: LandscapeRecorder,
        redactor: Redactor,
        guard: NetworkGuard,
        clock: Clock,
        terms: Terms,
    ) -> None:
        self._plan = plan
        self._run = run
        self._recorder = recorder
        self._reader = reader
        self._guard = guard
        self._clock = clock
        self._terms = terms
        self._contexts = _contexts(plan, recorder, redactor, clock)
        self._providers: dict[int, BatchProvider] = {}
        ledger = Ledger.of(run, reader, recorder, clock)
        self._rows = ledger.rows
        self._selection = Selection(run)
        self._restore_frontier(reader)
        self._admission = Admission(
            codec=plan.codecs[SOURCE_NODE],
            are_plain=makes_plain_values(plan.source),
            key_field=plan.key_field,
            on_invalid=plan.on_invalid,
            redactor=redactor,
            recorder=recorder,
            reader=reader,
        )
        self._batches = Batches(plan, ledger)
        self._known = KnownAnswers.of(plan, ledger, batches=self._batches, redactor=redactor)
        self._processor = Processor(
            plan,
            context_of=lambda step: self._contexts[step.number],
            screen=RedactingScreen(redactor),
            guard=guard,
            clock=clock,
            find=self._known.find,
        )
        self._allowance = Allowance(plan, self._batches, max_cost_usd=terms.max_cost_usd)
        self._attempts = Attempts(plan, ledger, batches=self._batches, redactor=redactor)
        self._remote = RemoteSteps(
            plan,
            ledger,
            batches=self._batches,
            allowance=self._allowance,
            attempts=self._attempts,
            providers=self._provider,
        )
        self._standstill = Standstill(plan, batches=self._batches, allowance=self._allowance, attempts=self._attempts)
        self._harvester = Harvester(
            plan, ledger, processor=self._processor, batches=self._batches, settle=self._settle_harvested
        )

    def execute(self) -> dict[str, Any]:
        """Runs to completion and returns the summary; raises what ends the process before that.

        `BatchPendingError` when only remote work is left, `StoppedError` when asked to stop, any other
        `ElspethError` when somebody has to act. All that happened up to the last whole micro-batch is durable
        by then, or is done again by a resume.
        """
        self._begin()
        try:
            self._read()
            self._finish_remote()
        except StoppedError:
            self._recorder.journal.commit_durably()
            if self._terms.decisions.cancel_on_stop:
                self._cancel_remote()
            raise
        except (BatchPendingError, CostLimitError, CredentialsError):
            self._recorder.journal.commit_durably()
            raise
        return self._finish()

    def close(self) -> None:
        """Closes the providers' connections."""
        for context in self._contexts.values():
            context.close()
        self._known.close()

    # Beginning

    def _restore_frontier(self, reader: LandscapeReader) -> None:
        frontier = reader.frontier(self._run.run_no)
        source = frontier.get("source")
        self._next_row = 0 if source is None else int(source["next_row"])
        self._cursor: Mapping[str, Any] | None = None if source is None else source["cursor"]
        self._is_source_done = bool(frontier.get("is_source_done", False))
        self._bad_rows = int(frontier.get("bad_rows", 0))
        states = frontier.get("sinks", {})
        submit = self._recorder.journal.submit
        self._outputs = {
            number: Output(
                sink,
                run_id=self._run.run_id,
                submit=submit,
                state=states.get(str(number)),
                extents=partial(
                    extents_of, reader, self._run.run_no, kind=PART_EXTENT, file_no=number, newest_first=True
                ),
            )
            for number, sink in self._plan.sinks.items()
        }
        self._frontier = Frontier(
            self._plan,
            outputs=self._outputs,
            recorder=self._recorder,
            released=int(frontier.get("released", 0)),
            selection=self._selection,
        )
        self._rows_since_commit = 0
        self._committed_at = self._clock.now_us()
        self._slept_s = 0.0

    def _begin(self) -> None:
        for output in self._outputs.values():
            output.prepare()
            rebuild_part(output, rows=self._rows, frontier=self._frontier, names=self._plan.names)
        self._batches.restore()
        self._check_error_rate()
        self._recorder.journal.checkpoint_with(
            self._checkpoint, {number: output.part for number, output in self._outputs.items()}
        )
        for output in self._outputs.values():
            output.begin()
        self._recorder.journal.commit_durably()
        take_decisions(
            self._terms.decisions,
            plan=self._plan,
            batches=self._batches,
            recorder=self._recorder,
            providers=self._provider,
        )
        self._recorder.journal.commit_durably()
        if self._terms.decisions.cancel_now:
            self._allowance.is_cancelling = True
            self._remote.want_cancelled(person())

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "source": None if self._cursor is None else {"next_row": self._next_row, "cursor": dict(self._cursor)},
            "rows": self._row_count,
            "is_source_done": self._is_source_done,
            "released": self._frontier.released,
            "bad_rows": self._bad_rows,
            "open_batches": self._batches.checkpoint(),
            **self._batches.reach(),
            "sinks": {str(number): output.state() for number, output in self._outputs.items()},
        }

    @property
    def _row_count(self) -> int:
        """How many records have become rows or were rejected."""
        return self._selection.below(self._next_row)

    def _provider(self, step: Step) -> BatchProvider:
        if step.number not in self._providers:
            if step.batch is None:
                raise RuntimeError("only batch transforms have providers")
            self._providers[step.number] = step.batch.provider(self._contexts[step.number])
        return self._providers[step.number]

    # Reading

    def _read(self) -> None:
        if self._is_source_done:
            return
        stop = self._selection.stop
        start = None if self._cursor is None else SourcePosition(next_row=self._next_row, cursor=self._cursor)
        for batch in self._plan.source.read(start, size=_ROWS_A_MICRO_BATCH):
            self._take(self._selection.cut(batch))
            self._stop_if_asked()
            self._batches.seal_full()
            self._pump()
            if stop is not None and self._next_row >= stop:
                break
        self._is_source_done = True
        self._recorder.journal.commit_durably()

    def _take(self, batch: SourceBatch) -> None:
        started_at = self._clock.now_us()
        admitted = self._admission.admit(batch)
        sweep = self._processor.sweep(admitted.flock, self._plan.first)
        rejected = self._admission.record(admitted, started_at=started_at)
        first, self._next_row, self._cursor = self._next_row, batch.end.next_row, batch.end.cursor
        self._bad_rows += len(admitted.rejected)
        self._settle(sweep)
        if self._frontier.released == first and not self._batches.live:
            self._frontier.write([*grouped(rejected), *sweep.arrivals], released=self._next_row)
        self._commit_if_due(len(batch.indexes) + len(batch.rejected))

    def _settle(self, sweep: Sweep) -> None:
        """Hands everything that a sweep did to the recorder, between two commits."""
        sweep.record(self._recorder)
        self._bad_rows += sweep.failure_count
        self._known.record(sweep.taken)
        for node_no, requests in sweep.requests.items():
            self._known.ask(self._plan.steps[node_no], requests)

    def _settle_harvested(self, sweep: Sweep, rows: int) -> None:
        """The same for rows that come home. Those that are next go out; of the others the trail tells in their turn."""
        self._settle(sweep)
        arrived = sorted(chain.from_iterable(group.indexes for group in sweep.arrivals))
        if arrived:
            turn = self._frontier.taken(self._frontier.released, arrived[-1] + 1)
            due = [row for row, in_turn in zip(arrived, turn, strict=False) if row == in_turn]
            if due:
                stop = due[-1] + 1
                groups = (group.before(stop) for group in sweep.arrivals)
                self._frontier.write((group for group in groups if len(group)), released=stop)
        self._commit_if_due(rows)

    def _commit_if_due(self, rows: int) -> None:
        self._rows_since_commit += rows
        now = self._clock.now_us()
        if self._rows_since_commit >= _ROWS_A_COMMIT or now - self._committed_at >= _COMMIT_EVERY_US:
            self._recorder.journal.commit()
            self._admission.forget_older_keys()
            self._rows_since_commit = 0
            self._committed_at = now
            self._report()

    # Remote work

    def _pump(self) -> bool:
        """Takes every step that is due; whether there was one."""
        has_moved = False
        if self._allowance.has_failed:
            self._check_error_rate()
        for batch in list(self._batches.live.values()):
            if self._remote.is_ready_to_harvest(batch):
                self._harvester.harvest(batch)
                self._check_error_rate()
                self._release()
                has_moved = True
            elif self._remote.is_due(batch):
                self._remote.take(batch)
                has_moved = True
        self._guard.check()
        return has_moved

    def _finish_remote(self) -> None:
        while True:
            self._batches.seal_full()
            self._batches.seal_exhausted(is_source_done=True)
            if not self._batches.live:
                break
            self._stop_if_asked()
            if not self._pump():
                self._wait_or_suspend()
            elif self._batches.live and self._is_late():
                raise self._pending(self._clock.now_us())
        self._release()

    def _release(self) -> None:
        """Writes the rows that no longer wait for earlier ones."""
        watermark = self._batches.watermark(self._next_row)
        if self._frontier.released >= watermark:
            return
        self._recorder.journal.commit_durably()
        for _ in self._frontier.release(watermark, self._rows):
            self._recorder.journal.commit()
        self._recorder.journal.drain()

    def _wait_or_suspend(self) -> None:
        now = self._clock.now_us()
        due = [batch for batch in self._batches.live.values() if self._remote.can_move(batch)]
        next_at = min((batch.next_at for batch in due), default=None)
        if next_at is None:
            self._standstill.stop(now=now, bad_rows=self._bad_rows, rows=self._row_count)
        if self._terms.waiting.submit_only:
            submitting = [b.next_at for b in due if b.phase is not BatchPhase.CREATED]
            is_far = min(submitting, default=next_at + 1) > now + _SOON_S * _US
            if is_far or not submitting or self._slept_s > _LONGEST_SUBMITTING_S:
                raise self._pending(next_at)
            next_at = min(submitting)
        deadline = self._terms.waiting.deadline
        if deadline is not None and (next_at > deadline or now >= deadline):
            raise self._pending(next_at)
        if self._recorder.journal.has_records:
            self._commit_if_due(0)
        seconds = (next_at - now) / _US
        self._report(waiting_s=seconds)
        nap_s = min(max(seconds, 0.001), _LONGEST_SLEEP_S)
        self._slept_s += nap_s
        self._clock.sleep_s(nap_s)

    def _is_late(self) -> bool:
        deadline = self._terms.waiting.deadline
        return deadline is not None and self._clock.now_us() >= deadline

    def _pending(self, next_at: int) -> BatchPendingError:
        hint = self._standstill.undecided() if self._batches.with_rows() else _ONLY_EXTRA
        return BatchPendingError(sorted(self._batches.live), next_at, hint=hint)

    def _cancel_remote(self) -> None:
        """Asks the provider once to stop every job; a resume sees what became of them, and asks again if need be."""
        for batch in self._remote.want_cancelled(person()):
            self._remote.take(batch)

    def _check_error_rate(self) -> None:
        """After a harvest; and again while it keeps work back, since more rows may have been read by then."""
        is_dead = any(self._batches.is_canary_dead(step.number) for step in self._plan.batch_steps)
        self._allowance.has_failed = is_dead or self._is_over_error_rate()

    def _is_over_error_rate(self) -> bool:
        limit = self._plan.max_error_rate
        return limit is not None and self._row_count > 0 and self._bad_rows / self._row_count > limit

    def _stop_if_asked(self) -> None:
        if self._terms.is_stopping():
            raise StoppedError

    def _report(self, *, waiting_s: float = 0.0) -> None:
        phases: dict[str, int] = {}
        for batch in self._batches.live.values():
            phases[batch.phase.word] = phases.get(batch.phase.word, 0) + 1
        self._terms.on_progress(
            Progress(
                rows_read=self._row_count,
                is_source_done=self._is_source_done,
                rows_out=self._selection.below(self._frontier.released),
                batches=phases,
                waiting_s=waiting_s,
            )
        )

    # Finishing

    def _finish(self) -> dict[str, Any]:
        self._recorder.journal.commit_durably()
        summary = self._row_equation()
        for number, output in self._outputs.items():
            rebuild_part(output, rows=self._rows, frontier=self._frontier, names=self._plan.names, is_final=True)
            size, digest = output.finish()
            self._recorder.journal.add(
                "artifacts", node_no=number, path=str(output.path), size=size, hash=digest, records=output.records
            )
        summary["is_over_error_rate"] = self._is_over_error_rate()
        self._recorder.add_run_event(RunStatus.COMPLETED, summary)
        self._recorder.journal.commit_durably()
        return summary

    def _row_equation(self) -> dict[str, Any]:
        """Counts what became of every row; raises `RunError` when they do not balance."""
        ((rows,),) = self._reader.query("SELECT COUNT(*) FROM rows WHERE run_no = ?", self._run.run_no)
        known = dict(self._recorder.journal.counters.outcomes)
        ended, counted = recount_outcomes(self._reader, self._run.run_no, known)
        if not rows == ended == self._row_count:
            raise RunError(
                f"the rows do not balance: {self._row_count} read, {rows} recorded, {ended} ended",
                hint="This is a fault of elspeth. The trail is whole; please report it with `elspeth status --json`.",
            )
        if counted != known or sum(counted.values()) != ended:
            raise RunError(
                "the last commit counts the outcomes otherwise than they are recorded",
                hint="This is a fault of elspeth. The trail is whole; please report it with `elspeth status --json`.",
            )
        return {
            "rows": rows,
            "bad_rows": self._bad_rows,
            "outcomes": describe_outcomes(self._reader, self._run.run_no, counted),
            "usage": count_usage(self._reader, self._run.run_no),
            "money": {
                **self._batches.account().as_json(self._plan.names),
                **savings_as_json(savings_of(self._reader, self._run), self._plan.prices),
            },
        }


def _contexts(plan: Plan, recorder: LandscapeRecorder, redactor: Redactor, clock: Clock) -> dict[int, StepContext]:
    return {
        number: StepContext(step=step.name, node_no=number, recorder=recorder, redactor=redactor, clock=clock)
        for number, step in plan.steps.items()
    }
