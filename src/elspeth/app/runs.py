"""Running and resuming: one way in for a pipeline file, one for a recorded run, the same road after that.

    load and check -> record the run -> lock it -> execute -> record how it ended

Whatever ends a run, its last event says so, and the result carries the exit code, the
reason and what to do next.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from elspeth import __version__
from elspeth.app.composition import PRICE_HINT, Beginning, build_plan, needs_simulator, secrets_of
from elspeth.app.recorded import fields_json, recorded_beginning, recorded_pipeline
from elspeth.app.reusing import runs_to_reuse
from elspeth.app.sealing import seal_the_rest, signing_for
from elspeth.app.simulation import SimulatorProcess
from elspeth.app.state import State, database_path
from elspeth.contracts import (
    BatchPendingError,
    ElspethError,
    NodeKind,
    RunError,
    RunStatus,
    StoppedError,
    UsageError,
)
from elspeth.core.calls import NetworkGuard, Redactor
from elspeth.core.canonical import compact_json
from elspeth.core.clock import SystemClock
from elspeth.core.config import Pipeline, load_pipeline
from elspeth.core.config.environment import read_dotenv
from elspeth.core.heap import frozen_heap
from elspeth.core.landscape import (
    LandscapeReader,
    LandscapeRecorder,
    NewRun,
    RunHeader,
    Sample,
    SealFolder,
    Signing,
    create_database,
    create_run,
    open_journal,
)
from elspeth.core.landscape.locks import OutputLock, RunLock
from elspeth.core.landscape.retention import keeping_of, require_unpurged
from elspeth.engine.decisions import Decisions
from elspeth.engine.orchestrator import Orchestrator, Progress, Terms, Waiting
from elspeth.engine.plan import SOURCE_NODE, Plan, Step
from elspeth.plugins.registry import Registry

__all__ = ["Conditions", "RunResult", "resume_run", "start_run"]

_US = 1_000_000
_ROWS_A_COUNTED_STRETCH = 4_096
_MOST_STORED = 1 << 63


class Conditions(Struct, kw_only=True):
    """Under which a process works on a run. ``wait_s`` bounds the waiting for remote work, in seconds.

    ``max_cost_usd`` goes before the pipeline's limit, and before that of an earlier process on the same run.
    ``stop`` is set by whoever wants the run to end early, with ``stop_code`` as the exit code.
    """

    wait_s: float | None = None
    submit_only: bool = False
    max_cost_usd: Decimal | None = None
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_start: Callable[[str], None] = lambda _run_id: None
    decisions: Decisions = field(default_factory=Decisions)
    stop: threading.Event = field(default_factory=threading.Event)
    stop_code: int = 130
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


class RunResult(Struct, frozen=True, kw_only=True):
    """How a process's work on a run ended. ``error`` is what ended it, None when it completed."""

    run_id: str
    status: RunStatus
    exit_code: int
    database: Path
    summary: Mapping[str, Any]
    error: ElspethError | None = None


def start_run(
    path: Path,
    *,
    state: State,
    conditions: Conditions,
    db: str | None = None,
    limit: int | None = None,
    sample: tuple[int, int] | None = None,
    key: str | None = None,
    reuse: Sequence[str] = (),
    allow_second: bool = False,
) -> RunResult:
    """Runs a pipeline file: all rows, the first ``limit``, or a ``sample`` (so many rows, drawn by this seed).

    With a ``key`` at most one run of the pipeline is made under it: an unfinished one is gone on with, a
    complete one reported. ``reuse`` names the runs whose answers are taken. Raises `PipelineError`, `UsageError`,
    `MissingTrailError`, `CredentialsError` or `KeyFileError` before anything is recorded.
    """
    _require_storable(limit, *(sample or ()))
    registry = Registry()
    pipeline = load_pipeline(path, registry, environ=conditions.environ)
    plan = build_plan(pipeline, registry)
    _require_prices(plan, conditions.max_cost_usd)
    secrets = secrets_of(pipeline)
    database = _made_database(pipeline, state, db, conditions.environ)
    with LandscapeReader(database) as reader:
        SealFolder.beside(database).require_current(reader)
        if key is not None and (known := reader.run_with_key(pipeline.name, key)) is not None:
            return resume_run(known.run_id, state=state, conditions=conditions, db=str(database))
        if not allow_second:
            _refuse_second(reader, pipeline)
        others = runs_to_reuse(reader, reuse, pipeline=pipeline.name)
        signing = signing_for(reader, conditions.environ)
        new = NewRun(
            pipeline=pipeline.name,
            mode="simulated" if needs_simulator(pipeline) else "run",
            folder=pipeline.folder,
            config_json=compact_json(pipeline.recorded()),
            payloads=Path(pipeline.payloads.path or database.parent / "payloads"),
            code_version=__version__,
            row_limit=limit,
            sample=None if sample is None else _sample(plan, *sample),
            run_key=key,
            reuse=others,
        )
        run = reader.run_numbered(create_run(database, new, clock=SystemClock()))
        conditions.on_start(run.run_id)
        work = _Work(
            pipeline,
            registry,
            reader=reader,
            run=run,
            state=state,
            conditions=conditions,
            secrets=secrets,
            signing=signing,
        )
        return work.execute(first=plan)


def resume_run(reference: str, *, state: State, conditions: Conditions, db: str | None = None) -> RunResult:
    """Goes on with a run, as recorded; a completed one is only reported."""
    database = state.to_read(db, conditions.environ)
    registry = Registry()
    with LandscapeReader(database) as reader:
        SealFolder.beside(database).require_current(reader)
        run = reader.run(reference)
        status, detail = reader.status(run.run_no)
        if status is RunStatus.COMPLETED:
            seal_the_rest(reader, run, conditions.environ)
            code = 1 if detail.get("is_over_error_rate") else 0
            return RunResult(run_id=run.run_id, status=status, exit_code=code, database=database, summary=detail)
        require_unpurged(reader, run)
        signing = signing_for(reader, conditions.environ)
        pipeline = _pipeline_to_resume(reader, run, registry, environ=conditions.environ)
        conditions.on_start(run.run_id)
        work = _Work(
            pipeline,
            registry,
            reader=reader,
            run=run,
            state=state,
            conditions=conditions,
            secrets=secrets_of(pipeline),
            signing=signing,
        )
        return work.execute(first=None)


def _pipeline_to_resume(
    reader: LandscapeReader, run: RunHeader, registry: Registry, *, environ: Mapping[str, str]
) -> Pipeline:
    """The recorded pipeline; secrets are looked up afresh.

    Of a run that ended before its first commit nothing was done, and its files are only on the disk.
    """
    dotenv, _ = read_dotenv(run.folder / ".env")
    pipeline = recorded_pipeline(reader, run, registry, environ={**dotenv, **environ})
    if pipeline is not None:
        return pipeline
    pipeline = load_pipeline(json.loads(run.config_json)["path"], registry, environ=environ)
    if compact_json(pipeline.recorded()) != run.config_json:
        raise RunError(
            f"run {run.run_id} ended before it did anything, and its pipeline has been edited since",
            hint=f"Begin another one: elspeth run {pipeline.path} --new",
        )
    return pipeline


class _Work:
    """One process's work on one run."""

    def __init__(
        self,
        pipeline: Pipeline,
        registry: Registry,
        *,
        reader: LandscapeReader,
        run: RunHeader,
        state: State,
        conditions: Conditions,
        secrets: list[str],
        signing: Signing,
    ) -> None:
        self._pipeline = pipeline
        self._registry = registry
        self._reader = reader
        self._run = run
        self._state = state
        self._conditions = conditions
        self._redactor = Redactor(secrets)
        self._clock = SystemClock(conditions.stop)
        self._signing = signing

    def execute(self, *, first: Plan | None) -> RunResult:
        """Executes under the run's lock; ``first`` is the plan of a run that is new, if it is made already."""
        with RunLock(self._reader.database.parent, self._run.run_id):
            status, detail = self._reader.status(self._run.run_no)
            if status is RunStatus.COMPLETED:  # by another process, while this one waited or read
                return self._result(status, 1 if detail.get("is_over_error_rate") else 0, detail, None)
            require_unpurged(self._reader, self._run)
            try:
                if first is None and not self._reader.frontier(self._run.run_no):
                    first = build_plan(self._pipeline, self._registry)
                summary = self._orchestrate(first)
            except ElspethError as error:
                return self._ended(error)
            except KeyboardInterrupt:
                self._record_end(RunStatus.INTERRUPTED, {"message": "interrupted; everything is saved"})
                raise
            except BaseException as error:
                self._record_end(RunStatus.FAILED, {"message": f"a fault of elspeth: {type(error).__name__}"})
                raise
        code = 1 if summary.get("is_over_error_rate") else 0
        return self._result(RunStatus.COMPLETED, code, summary, None)

    def _orchestrate(self, first: Plan | None) -> Mapping[str, Any]:
        with ExitStack() as stack:
            recorder = self._recorder()
            stack.callback(recorder.journal.close)
            if first is not None:
                _define(recorder, self._pipeline, first)
            limit = self._cost_limit()
            detail = None if limit is None else {"max_cost_usd": str(limit)}
            recorder.add_run_event(RunStatus.RUNNING, detail)
            simulator = None
            if needs_simulator(self._pipeline):
                folder = self._state.folder / "simulator" / self._run.run_id
                simulator = stack.enter_context(SimulatorProcess(folder))
            url = None if simulator is None else simulator.url
            guard = stack.enter_context(NetworkGuard())
            plan = build_plan(self._pipeline, self._registry, simulator_url=url, begun=self._beginning(first))
            _require_prices(plan, limit)
            for sink in plan.sinks.values():
                path = Path(sink.path.replace("{run}", self._run.run_id))
                stack.enter_context(OutputLock(self._reader.database.parent, path))
            orchestrator = Orchestrator(
                plan,
                run=self._run,
                reader=self._reader,
                recorder=recorder,
                redactor=self._redactor,
                guard=guard,
                clock=self._clock,
                terms=self._terms(limit),
            )
            stack.callback(orchestrator.close)
            with frozen_heap():
                summary = orchestrator.execute()
            recorder.journal.seal(RunStatus.COMPLETED.word)
            recorder.journal.drain()
        if simulator is not None:
            simulator.forget()
        return summary

    def _beginning(self, first: Plan | None) -> Beginning:
        """What the run began with: the plan that is being recorded, or the record."""
        if first is None:
            return recorded_beginning(self._reader, self._run)
        return Beginning(source_fields=first.fields[SOURCE_NODE], prices=first.prices)

    def _cost_limit(self) -> Decimal | None:
        """The limit of this process: what it was told, else what the one before it went by, else the pipeline's."""
        told = self._conditions.max_cost_usd
        before = self._reader.cost_limit(self._run.run_no)
        return next((one for one in (told, before, self._pipeline.limits.max_cost_usd) if one is not None), None)

    def _recorder(self) -> LandscapeRecorder:
        journal = open_journal(self._reader, self._run, clock=self._clock, signing=self._signing)
        last = self._reader.frontier(self._run.run_no)
        journal.checkpoint_with(lambda: last, {})
        return LandscapeRecorder(
            journal, run_id=self._run.run_id, started_at=self._run.started_at, code_version=__version__
        )

    def _terms(self, limit: Decimal | None) -> Terms:
        wait_s = self._conditions.wait_s
        deadline = None if wait_s is None else self._clock.now_us() + int(wait_s * _US)
        return Terms(
            waiting=Waiting(deadline=deadline, submit_only=self._conditions.submit_only),
            max_cost_usd=limit,
            decisions=self._conditions.decisions,
            is_stopping=self._conditions.stop.is_set,
            on_progress=self._conditions.on_progress,
        )

    def _ended(self, error: ElspethError) -> RunResult:
        """Records why the work ended before the run was complete."""
        error.message = self._redactor.redact_text(error.message)
        error.hint = None if error.hint is None else self._redactor.redact_text(error.hint)
        code = error.exit_code
        match error:
            case BatchPendingError() | UsageError():  # a decision that fits no batch changes nothing
                status = RunStatus.PENDING
            case StoppedError():
                status, code = RunStatus.INTERRUPTED, self._conditions.stop_code
            case _:
                status = RunStatus.FAILED
        detail = {
            "code": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": code,
        }
        if isinstance(error, BatchPendingError):
            detail["next_poll_at"] = error.next_poll_at
        try:
            self._record_end(status, detail)
        except ElspethError as second:
            error.hint = f"{error.hint or ''} (That could not be recorded either: {second.message}.)".strip()
        return self._result(status, code, {**detail, "hint": error.hint}, error)

    def _record_end(self, status: RunStatus, detail: Mapping[str, Any]) -> None:
        """Writes the last event through a journal of its own: what the failed one had gathered is dropped."""
        recorder = self._recorder()
        try:
            recorder.add_run_event(status, detail)
            recorder.journal.commit_durably()
            recorder.journal.seal(status.word)
            recorder.journal.drain()
        finally:
            recorder.journal.close()

    def _result(
        self, status: RunStatus, code: int, summary: Mapping[str, Any], error: ElspethError | None
    ) -> RunResult:
        return RunResult(
            run_id=self._run.run_id,
            status=status,
            exit_code=code,
            database=self._reader.database,
            summary=summary,
            error=error,
        )


def _define(recorder: LandscapeRecorder, pipeline: Pipeline, plan: Plan) -> None:
    """Records what the run is made of."""
    for node in plan.graph.nodes:
        step = plan.steps.get(node.number)
        recorder.journal.add(
            "nodes",
            node_no=node.number,
            name=node.name,
            kind=_kind(node.kind, step).value,
            plugin=node.plugin,
            expression=step.gate.text if step is not None and step.gate is not None else None,
            fields_json=fields_json(plan.fields[node.number]),
            price_json=None if step is None or step.price is None else compact_json(step.price.as_json()),
            answers_from=None if step is None or step.batch is None else step.batch.answers_from(),
        )
    for edge in plan.graph.edges:
        recorder.journal.add("edges", from_no=edge.source, label=edge.label, to_no=edge.target)
    for path, data in pipeline.assets().items():
        recorder.add_file(path, data)


def _sample(plan: Plan, rows: int, seed: int) -> Sample:
    """The sample of a source, whose records must be counted for it: one pass."""
    position = None
    for batch in plan.source.read(None, size=_ROWS_A_COUNTED_STRETCH):
        position = batch.end
    count = 0 if position is None else position.next_row
    return Sample(rows=min(rows, count), seed=seed, of=count)


def _require_storable(*numbers: int | None) -> None:
    """Raises `UsageError` for a number that the trail cannot hold."""
    for number in numbers:
        if number is not None and not -_MOST_STORED <= number < _MOST_STORED:
            raise UsageError(f"{number} is out of range", hint="Numbers have at most 63 bits.")


def _require_text(*places: Path) -> None:
    """Raises `UsageError` for a path that the trail cannot hold; those in a pipeline file are text anyway."""
    for place in places:
        try:
            str(place).encode()
        except UnicodeEncodeError:
            raise UsageError(f"the path {str(place)!r} is not UTF-8", hint="Rename it, or use another one.") from None


def _require_prices(plan: Plan, limit: Decimal | None) -> None:
    """Raises `UsageError` for a cost limit that could not be kept."""
    unpriced = [step.name for step in plan.batch_steps if step.price is None]
    if limit is not None and unpriced:
        raise UsageError(
            f"a cost limit cannot be kept: nobody knows what the tokens of step {unpriced[0]!r} cost",
            hint=f"In the pipeline file {PRICE_HINT}.",
        )


def _kind(kind: NodeKind, step: Step | None) -> NodeKind:
    """The graph knows plugin steps as transforms; which of them are batch transforms the plan knows."""
    return NodeKind.BATCH_TRANSFORM if step is not None and step.batch is not None else kind


def _database_of(pipeline: Pipeline, state: State, db: str | None, environ: Mapping[str, str]) -> Path:
    named = db or environ.get("ELSPETH_LANDSCAPE_URL")
    if named:
        return database_path(named)
    return Path(pipeline.landscape.path) if pipeline.landscape.path else state.database


def _made_database(pipeline: Pipeline, state: State, db: str | None, environ: Mapping[str, str]) -> Path:
    """The database of a run, made unless it is there."""
    database = _database_of(pipeline, state, db, environ)
    _require_text(pipeline.folder, database)
    state.create()
    create_database(database)
    state.point_to(database)
    return database


def _refuse_second(reader: LandscapeReader, pipeline: Pipeline) -> None:
    """Raises `UsageError` when a run of this pipeline and source is unfinished: its batches may be paid already."""
    source = pipeline.recorded()["source"]
    for run_no, run_id, config in reader.query(
        "SELECT run_no, run_id, config_json FROM runs WHERE pipeline = ? ORDER BY run_no DESC", pipeline.name
    ):
        status, _ = reader.status(run_no)
        if status is RunStatus.COMPLETED or json.loads(config)["source"] != source:
            continue
        if keeping_of(reader, reader.run_numbered(run_no)).begun:  # nobody can go on with it
            continue
        paid = reader.query("SELECT 1 FROM call_intents WHERE run_no = ? LIMIT 1", run_no)
        if status is RunStatus.FAILED and not paid:
            continue
        raise UsageError(
            f"run {run_id} of this pipeline and source is {status.word}",
            hint=f"Go on with it: elspeth resume {run_id}. To begin another one, and pay again: --new.",
        )
