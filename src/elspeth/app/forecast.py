"""What a run would send, found out without sending anything.

The rows come through the same source, the same boundary and the same processor as in a
run, so what is counted and shown is what the run will count and send. Nothing reaches
the project's trail; a scratch one, thrown away at the end, remembers the keys that have
been read, so that memory stays flat however many rows there are.

Only what does not depend on answers can be forecast: a batch step that takes rows which
came home from another one is named, not counted.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from elspeth import __version__
from elspeth.contracts import (
    BatchTransform,
    CallStatus,
    CallType,
    Outcome,
    Price,
    SourceBatch,
    TokenEstimate,
    UsageError,
    makes_plain_values,
)
from elspeth.core.calls import NetworkGuard, Redactor
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import (
    LandscapeReader,
    LandscapeRecorder,
    NewRun,
    Signing,
    create_database,
    create_run,
    open_journal,
)
from elspeth.core.landscape.scratch import ScratchTable
from elspeth.engine.admission import Admission, Admitted, key_text
from elspeth.engine.batches import is_full
from elspeth.engine.context import StepContext
from elspeth.engine.other_runs import OtherRuns
from elspeth.engine.plan import SOURCE_NODE, Plan, Step
from elspeth.engine.processor import Processor, Sweep
from elspeth.engine.reuse import Taken, take
from elspeth.engine.screen import RedactingScreen
from elspeth.engine.shared_requests import shared_key
from elspeth.engine.tokens import Flock

__all__ = ["Ending", "Forecast", "StepForecast", "forecast"]

_ROWS_A_MICRO_BATCH = 256
_ROWS_A_COMMIT = 10_000


class StepForecast(Struct, frozen=True, kw_only=True):
    """What a batch step would send.

    ``reused`` rows would take an answer, ``shared`` rows join a request that is counted. ``waits_for`` names the batch
    steps whose answers bring it rows to come.
    """

    name: str
    requests: int
    reused: int
    shared: int
    files: int
    bytes: int
    tokens: TokenEstimate
    price: Price | None
    waits_for: tuple[str, ...]

    @property
    def cost_usd(self) -> tuple[Decimal, Decimal, Decimal] | None:
        """Low, likely and ceiling; None without a price."""
        return None if self.price is None else self.price.bounds_usd(self.tokens)


class Ending(Struct, frozen=True, kw_only=True):
    """How rows end without having been sent. ``step`` and ``code`` are None unless they failed there."""

    outcome: Outcome
    step: str | None
    code: str | None
    sink: str | None
    rows: int


class Forecast(Struct, frozen=True, kw_only=True):
    """What a run would do before the first answer: ``rows`` are those of ``steps`` and ``endings`` together.

    ``lines`` are the first request lines, verbatim and without their newlines.
    """

    pipeline: str
    rows: int
    steps: Sequence[StepForecast]
    max_cost_usd: Decimal | None
    endings: Sequence[Ending]
    lines: Sequence[bytes]


def forecast(
    plan: Plan, *, secrets: Sequence[str], limit: int | None = None, show: int = 0, others: OtherRuns | None = None
) -> Forecast:
    """Reads the source, the first ``limit`` rows of it, and counts; keeps the first ``show`` request lines.

    ``others`` are the runs whose answers would be taken.
    Raises `SourceError` when the source cannot be read to its end.
    """
    tally = _Tally(plan, show)
    redactor = Redactor(secrets)
    clock = SystemClock()
    with _scratch_trail(plan.name) as (reader, recorder), NetworkGuard() as guard:
        admission = Admission(
            codec=plan.codecs[SOURCE_NODE],
            are_plain=makes_plain_values(plan.source),
            key_field=plan.key_field,
            on_invalid=plan.on_invalid,
            redactor=redactor,
            recorder=recorder,
            reader=reader,
        )
        processor = Processor(
            plan,
            context_of=lambda step: _NoWayOut(
                step=step.name, node_no=step.number, recorder=recorder, redactor=redactor, clock=clock
            ),
            screen=RedactingScreen(redactor),
            guard=guard,
            clock=clock,
            find=_finder(others, redactor),
        )
        keys = _Keys(plan.key_field, admission, recorder)
        for batch in _batches(plan, limit):
            admitted = _below(admission.admit(batch), limit)
            keys.remember(admitted.flock)
            sweep = processor.sweep(admitted.flock, plan.first)
            tally.count(admitted, sweep)
    return tally.result()


def _finder(others: OtherRuns | None, redactor: Redactor) -> Callable[[Step, int, bytes], Taken | None]:
    """How the processor finds answers that need not be paid for."""

    def find(step: Step, _row: int, line: bytes) -> Taken | None:
        known = None if others is None else others.find(step, line)
        return None if known is None else take(step, known, redactor)

    return find


class _NoWayOut(StepContext):
    """The context of a step while nothing may be sent."""

    def http(self, service: str) -> NoReturn:
        self._refuse(service)

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,  # noqa: ARG002
        request_data: bytes | Mapping[str, Any],  # noqa: ARG002
        response_data: bytes | Mapping[str, Any] | None = None,  # noqa: ARG002
        error: Mapping[str, Any] | None = None,  # noqa: ARG002
        latency_ms: float | None = None,  # noqa: ARG002
    ) -> str:
        self._refuse(call_type.word)

    def _refuse(self, system: str) -> NoReturn:
        raise UsageError(
            f"step {self.step!r} calls an external system ({system}), so what follows it cannot be forecast",
            hint="A run does it: elspeth run FILE --limit 10 tries it with a few rows.",
        )


class _Keys:
    """Remembers the keys of a source in the scratch trail, where `Admission` looks for those it has seen."""

    def __init__(self, field: str | None, admission: Admission, recorder: LandscapeRecorder) -> None:
        self._field = field
        self._admission = admission
        self._recorder = recorder
        self._rows_since_commit = 0

    def remember(self, flock: Flock) -> None:
        """Takes the keys of a micro-batch."""
        if self._field is None:
            return
        for index, row in zip(flock.indexes, flock.rows, strict=True):
            self._recorder.add_key(key_text(row.get(self._field)), index)
        self._rows_since_commit += len(flock)
        if self._rows_since_commit >= _ROWS_A_COMMIT:
            self._recorder.journal.commit()
            self._admission.forget_older_keys()
            self._rows_since_commit = 0


class _Filling:
    """The files of a batch step, as the engine fills them: a request that does not fit begins the next file."""

    def __init__(self, transform: BatchTransform) -> None:
        self._transform = transform
        self.requests = self.bytes = self.files = self.reused = self.shared = 0
        self._requests_in_file = self._bytes_in_file = 0
        self._keys: ScratchTable | None = None

    def add(self, step: Step, line: bytes) -> bool:
        """Takes one request; whether it would be sent, and not shared with another one."""
        if (key := shared_key(step, line)) is not None and not self._is_new(key):
            self.shared += 1
            return False
        if self.files == 0 or is_full(
            self._transform,
            requests=self._requests_in_file + 1,
            size_bytes=self._bytes_in_file + len(line),
            is_canary=self.files == 1 and self._transform.limits.canary > 0,
        ):
            self.files += 1
            self._requests_in_file = self._bytes_in_file = 0
        self._requests_in_file += 1
        self._bytes_in_file += len(line)
        self.requests += 1
        self.bytes += len(line)
        return True

    def _is_new(self, key: bytes) -> bool:
        if self._keys is None:
            self._keys = ScratchTable(("row",))
        is_new = self._keys.get(key) is None
        self._keys.put(key, 0)
        return is_new

    @property
    def tokens(self) -> TokenEstimate:
        """What all of it comes to."""
        return self._transform.estimate(requests=self.requests, size_bytes=self.bytes)


class _Tally:
    """Counts what became of the rows."""

    def __init__(self, plan: Plan, show: int) -> None:
        self._plan = plan
        self._show = show
        self._rows = 0
        self._endings: Counter[tuple[Outcome, int | None, str | None, int | None]] = Counter()
        self._fillings = {step.number: _Filling(step.batch) for step in plan.batch_steps if step.batch}
        self._lines: list[bytes] = []

    def count(self, admitted: Admitted, sweep: Sweep) -> None:
        """Takes what became of one micro-batch."""
        self._rows += len(admitted.flock) + len(admitted.rejected)
        for rejected in admitted.rejected:
            self._endings[Outcome.QUARANTINED, SOURCE_NODE, rejected.error.code, self._plan.on_invalid] += 1
        for group in sweep.arrivals:
            self._endings[group.outcome, group.step_no, group.reason, group.sink_no] += len(group)
        for number, _, _ in sweep.taken:
            self._fillings[number].reused += 1
        for number, requests in sweep.requests.items():
            for _, line in requests:
                if self._fillings[number].add(self._plan.steps[number], line) and len(self._lines) < self._show:
                    self._lines.append(line.removesuffix(b"\n"))

    def result(self) -> Forecast:
        """The forecast, in the order of the graph."""
        names: dict[int | None, str] = dict(self._plan.names.items())
        endings = sorted(self._endings.items(), key=lambda item: [str(part) for part in item[0]])
        return Forecast(
            pipeline=self._plan.name,
            rows=self._rows,
            steps=tuple(self._step(step) for step in self._plan.batch_steps),
            max_cost_usd=self._plan.max_cost_usd,
            endings=tuple(
                Ending(outcome=outcome, step=names.get(step), code=code, sink=names.get(sink), rows=rows)
                for (outcome, step, code, sink), rows in endings
            ),
            lines=tuple(self._lines),
        )

    def _step(self, step: Step) -> StepForecast:
        filling = self._fillings[step.number]
        return StepForecast(
            name=step.name,
            requests=filling.requests,
            reused=filling.reused,
            shared=filling.shared,
            files=filling.files,
            bytes=filling.bytes,
            tokens=filling.tokens,
            price=step.price,
            waits_for=tuple(
                other.name for other in self._plan.batch_steps if step.number in _beyond(self._plan, other)
            ),
        )


def _beyond(plan: Plan, step: Step) -> set[int]:
    """The nodes that rows may reach after ``step``; every edge leads to a later node, so one pass finds them."""
    found = {step.number}
    for edge in plan.graph.edges:
        is_way_on = edge.source in found and edge.target is not None and edge.label != "on_error"
        if is_way_on and edge.target is not None:
            found.add(edge.target)
    return found - {step.number}


def _batches(plan: Plan, limit: int | None) -> Iterator[SourceBatch]:
    """The source's records, at least the first ``limit`` of them."""
    if limit == 0:
        return
    for batch in plan.source.read(None, size=_ROWS_A_MICRO_BATCH):
        yield batch
        if limit is not None and batch.end.next_row >= limit:
            return


def _below(admitted: Admitted, limit: int | None) -> Admitted:
    """The rows and rejected records below the limit."""
    if limit is not None:
        admitted.flock = admitted.flock.at([p for p, row in enumerate(admitted.flock.indexes) if row < limit])
        admitted.rejected = [rejected for rejected in admitted.rejected if rejected.index < limit]
    return admitted


@contextmanager
def _scratch_trail(pipeline: str) -> Iterator[tuple[LandscapeReader, LandscapeRecorder]]:
    """A trail of no run, in a temporary folder that is gone afterwards."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="elspeth-plan-") as name:
        database = Path(name) / "scratch.db"
        create_database(database)
        new = NewRun(
            pipeline=pipeline,
            mode="plan",
            folder=Path(name),
            config_json="{}",
            payloads=Path(name) / "payloads",
            code_version=__version__,
            row_limit=None,
        )
        with LandscapeReader(database) as reader:
            run = reader.run_numbered(create_run(database, new, clock=clock))
            journal = open_journal(reader, run, clock=clock, signing=Signing.throwaway(database))
            try:
                yield (
                    reader,
                    LandscapeRecorder(journal, run_id=run.run_id, started_at=run.started_at, code_version=__version__),
                )
            finally:
                journal.close()
