"""A recorded run, gone through again.

    the rows come from the trail's bytes, the answers from its files and calls
    the steps run as they did; what they give is compared with what is recorded
    the rows go to files in a folder apart, which are compared with the recorded outputs

The recorded decisions are obeyed and everything else is computed again: batches, attempts
and races are in the trail, so rows are taken in their own order, once, in flat memory.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct, structs

from elspeth.contracts import Clock, bulk_of
from elspeth.core.calls import NetworkGuard
from elspeth.core.canonical import RowCodec
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.engine.frontier import Frontier
from elspeth.engine.outputs import Output
from elspeth.engine.plan import Plan, Step
from elspeth.engine.processor import Processor, Sweep
from elspeth.engine.replay.answers import AnswerBook
from elspeth.engine.replay.asking import Asking
from elspeth.engine.replay.calls import CallBook
from elspeth.engine.replay.comparer import Comparer
from elspeth.engine.replay.context import ReplayContext, ReplayedTransform
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.folder import ReplayFolder
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.requests import Request
from elspeth.engine.replay.rows import RecordedRows
from elspeth.engine.replay.screen import RecordedScreen
from elspeth.engine.replay.stretch import Stretch, read_stretches
from elspeth.engine.replay.taken import TakenAnswers
from elspeth.engine.selection import Selection
from elspeth.engine.tokens import Arrivals, Flock, grouped

__all__ = ["Recorded", "ReplayedFile", "Replayer"]


class Recorded(Struct, frozen=True, kw_only=True):
    """What holds of the run whatever the plan: how its rows are read, their key, the names of its nodes."""

    codec: RowCodec
    key_field: str | None
    names: Mapping[int, str]


class ReplayedFile(Struct, frozen=True, kw_only=True):
    """An output as it came out of a replay."""

    sink_no: int
    path: Path
    size: int
    sha256: bytes
    records: int


class Replayer:
    """Replays one run by ``plan``: its own, or an edited one."""

    def __init__(
        self,
        plan: Plan,
        recorded: Recorded,
        *,
        run: RunHeader,
        reader: LandscapeReader,
        folder: ReplayFolder,
        beside: Path,
        pairing: Pairing,
        findings: Findings,
        guard: NetworkGuard,
        clock: Clock,
    ) -> None:
        self._plan = structs.replace(plan, steps={number: _guarded(step) for number, step in plan.steps.items()})
        self._run = run
        self._reader = reader
        self._folder = folder
        self._pairing = pairing
        self._findings = findings
        self._clock = clock
        self._selection = Selection(run)
        self._rows = RecordedRows(reader, run, findings, codec=recorded.codec, key_field=recorded.key_field)
        self._comparer = Comparer(plan, pairing, findings, rows=self._rows, recorded_names=recorded.names)
        self._screen = RecordedScreen(pairing, findings)
        self._calls = CallBook(reader, run, pairing, findings)
        self._contexts = {
            step.number: ReplayContext(
                self._calls, run_id=run.run_id, step=step.name, node_no=pairing.recorded.get(step.number)
            )
            for step in plan.steps.values()
        }
        self._processor = Processor(
            self._plan,
            context_of=lambda step: self._contexts[step.number],
            screen=self._screen,
            guard=guard,
            clock=clock,
            find=TakenAnswers(reader, run, pairing, findings).find,
        )
        self._outputs = {number: self._output(number, beside) for number in plan.sinks}
        self._frontier = Frontier(
            self._plan, outputs=self._outputs, recorder=self._comparer, released=0, selection=self._selection
        )

    def replay(self) -> Iterator[int]:
        """Goes through all rows; yields how many are done, stretch by stretch."""
        self._folder.clear(
            self._run.run_id,
            [path for output in self._outputs.values() for path in (output.path, output.part_path)],
        )
        for output in self._outputs.values():
            output.prepare()
            output.begin()
        done = 0
        with ExitStack() as stack:
            for output in self._outputs.values():
                stack.callback(output.part.close)
            for context in self._contexts.values():
                stack.callback(context.close)
            book = AnswerBook(self._reader, self._run, self._findings, scratch=self._folder.path)
            stack.callback(book.close)
            asking = Asking(book, self._pairing, self._findings, codecs=self._plan.codecs)
            after = 0
            for stretch in read_stretches(self._reader, self._run, has_batches=bool(self._plan.batch_steps)):
                self._compare_selection(stretch.rows, after, stretch.last + 1)
                after = stretch.last + 1
                book.close_before(stretch.first)
                self._go_through(stretch, asking)
                done += len(stretch.rows)
                yield done
            self._compare_selection({}, after, self._next_row())
            for output in self._outputs.values():
                output.part.cut()
                output.part.sync()

    def finish(self) -> list[ReplayedFile]:
        """Gives the files their names."""
        found = []
        for number, output in self._outputs.items():
            size, digest = output.finish()
            found.append(
                ReplayedFile(sink_no=number, path=output.path, size=size, sha256=digest, records=output.records)
            )
        return found

    def _output(self, number: int, beside: Path) -> Output:
        sink = self._plan.sinks[number]
        place = self._folder.place_of(sink.path, beside=beside)
        return Output(
            structs.replace(sink, path=str(place), must_not_exist=False),
            run_id=self._run.run_id,
            submit=lambda work: work(),
            state=None,
            extents=lambda: iter(()),
        )

    def _next_row(self) -> int:
        """Where the run stopped reading."""
        return int((self._reader.frontier(self._run.run_no).get("source") or {}).get("next_row", 0))

    def _compare_selection(self, rows: Container[int], start: int, stop: int) -> None:
        """Every record that the run took is a row; one of which the trail says nothing is missing."""
        for row in self._selection.between(start, stop):
            if row not in rows:
                self._findings.differ(
                    Sort.RECORD, row=row, step="source", field="row", recorded=ABSENT, replayed="taken from the source"
                )

    def _go_through(self, stretch: Stretch, asking: Asking) -> None:
        self._screen.stretch = stretch
        self._calls.begin(stretch)
        tokens = self._rows.tokens(stretch)
        self._comparer.begin(stretch)
        arrivals = grouped(self._rows.rejected(stretch, sink_no=self._plan.on_invalid))
        if tokens:
            sweep = self._processor.sweep(Flock.of(tokens), self._plan.first)
            arrivals += self._settle(sweep)
            arrivals += self._ask(sweep, asking, stretch)
        arrivals = self._not_ended(arrivals)
        if self._pairing.is_edited:
            self._comparer.compare_ends(arrivals)
        self._comparer.begin_writing(arrivals)
        self._frontier.write(arrivals, released=stretch.last + 1)
        self._comparer.end()
        self._calls.end(stretch)
        self._findings.end_stretch()

    def _not_ended(self, arrivals: Sequence[Arrivals]) -> list[Arrivals]:
        """The arrivals of rows that could be replayed to their end."""
        has_ended = self._findings.has_ended
        chosen = (
            group.at([place for place, row in enumerate(group.indexes) if not has_ended(row)]) for group in arrivals
        )
        return [group for group in chosen if len(group)]

    def _ask(self, sweep: Sweep, asking: Asking, stretch: Stretch) -> list[Arrivals]:
        """Gives waiting rows their answers, from the first batch step on, until none waits."""
        arrivals: list[Arrivals] = []
        waiting: dict[tuple[int, int], list[Request]] = {}
        self._gather(waiting, sweep, stretch)
        while waiting:
            number, attempt = place = min(waiting)  # a step is done with before the next one begins
            step = self._plan.steps[number]
            requests = sorted(waiting.pop(place), key=lambda request: request.token.index)
            started_at = self._clock.now_us()
            answered = asking.ask(step, requests, stretch)
            sweep = self._processor.resume_sweep(
                step, answered.tokens, answered.results, started_at=started_at, attempt=attempt
            )
            arrivals += self._settle(sweep)
            self._gather(waiting, sweep, stretch)
            for request in answered.again:
                waiting.setdefault((number, request.attempt), []).append(request)
        return arrivals

    def _gather(self, waiting: dict[tuple[int, int], list[Request]], sweep: Sweep, stretch: Stretch) -> None:
        """Adds the rows that wait, each at its first attempt; one that came late may have joined a later one."""
        for number, requests in sweep.requests.items():
            for token, line in requests:
                attempt = stretch.first_attempt(token.index, self._pairing.recorded.get(number))
                waiting.setdefault((number, attempt), []).append(Request(token, line, attempt))

    def _settle(self, sweep: Sweep) -> Sequence[Arrivals]:
        sweep.record(self._comparer)
        return sweep.arrivals


def _guarded(step: Step) -> Step:
    """The step; a transform that asks for what was never answered ends its row and no more."""
    if step.transform is None or bulk_of(step.transform) is not None:  # without a context it asks for nothing
        return step
    return structs.replace(step, transform=ReplayedTransform(step.transform))
