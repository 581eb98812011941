"""Moves a micro-batch of tokens through the steps.

Nodes are numbered by topological position, so visiting them in ascending order sends
every token through all of its steps in one sweep. Nothing is recorded on the way: the
sweep gathers what happened, and `Sweep.record` hands the whole of it to the recorder
at once, so that a commit forced in the middle (by a call that needs an intent) never
sees half a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import ne
from typing import Any, NamedTuple, Protocol, TypeGuard, TypeVar

from elspeth.contracts import (
    BulkTransform,
    Clock,
    Context,
    NodeStep,
    Outcome,
    Row,
    RowError,
    RunError,
    StateStatus,
    TransformResult,
    bulk_of,
    moves_values,
)
from elspeth.core.calls import NetworkGuard
from elspeth.core.canonical import NotEncodableError, sha256_each
from elspeth.core.expressions import ExpressionFailure
from elspeth.core.graph import route_label
from elspeth.engine.batch import custom_id
from elspeth.engine.plan import Plan, Step
from elspeth.engine.reuse import Taken
from elspeth.engine.screen import Screen
from elspeth.engine.tokens import Arrival, Arrivals, Flock, Token, at_places, grouped, in_source_order

__all__ = ["PassageRecorder", "Processor", "RowContext", "Sweep"]

_Value = TypeVar("_Value")
Result = Row | RowError
"""What a step made of a row."""


class RowContext(Context, Protocol):
    """A step's context, told on which row the step works."""

    row_index: int | None


class PassageRecorder(Protocol):
    """Takes what became of tokens in a sweep."""

    def add_versions(self, versions: Sequence[tuple[Sequence[int], Sequence[bytes]]]) -> None:
        """New bytes of rows, by column: as they came, and after each step that changed them."""
        ...

    def add_passages(self, rows: Sequence[int], steps: Sequence[NodeStep], hashes: Sequence[Sequence[bytes]]) -> None:
        """Tokens went the same way; ``hashes`` has a column for each step that changed them."""
        ...

    def add_failed_passage(
        self, row: int, steps: Sequence[NodeStep], hashes: Sequence[bytes], error: Mapping[str, Any]
    ) -> None:
        """A token failed at the last of these steps."""
        ...


class _FailedPassage(NamedTuple):
    row: int
    steps: tuple[NodeStep, ...]
    hashes: tuple[bytes, ...]
    error: Mapping[str, Any]


class Sweep:
    """What one pass of a micro-batch did."""

    def __init__(self) -> None:
        self.arrivals: list[Arrivals] = []
        self.requests: dict[int, list[tuple[Token, bytes]]] = {}
        self.taken: list[tuple[int, int, Taken]] = []
        self.versions: list[tuple[Sequence[int], Sequence[bytes]]] = []
        self._passages: list[Flock] = []
        self._failures: list[_FailedPassage] = []
        self._pending: dict[int, list[Flock]] = {}

    @property
    def failure_count(self) -> int:
        """How many tokens failed."""
        return len(self._failures)

    def wait(self, node_no: int, flock: Flock) -> None:
        """Tokens go on at a node."""
        self._pending.setdefault(node_no, []).append(flock)

    def next(self) -> tuple[int, list[Flock]] | None:
        """The lowest node at which tokens wait, and those; None when none do."""
        if not self._pending:
            return None
        number = min(self._pending)
        return number, self._pending.pop(number)

    def end(self, flock: Flock) -> None:
        """Tokens go no further in this sweep."""
        if flock.steps and len(flock):
            self._passages.append(flock)

    def fail(self, flock: Flock, place: int, step: NodeStep, error: Mapping[str, Any]) -> None:
        """A token goes no further because it failed at a step."""
        hashes = tuple(column[place] for column in flock.changed)
        self._failures.append(_FailedPassage(flock.indexes[place], (*flock.steps, step), hashes, error))

    def record(self, recorder: PassageRecorder) -> None:
        """Hands everything over."""
        if self.versions:
            recorder.add_versions(self.versions)
        for flock in self._passages:
            recorder.add_passages(flock.indexes, flock.steps, flock.changed)
        for failure in self._failures:
            recorder.add_failed_passage(*failure)


class Processor:
    """Runs the steps of a plan. It keeps nothing between micro-batches.

    ``find`` gives the answer of a row to a request that need not be made, if there is one.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        context_of: Callable[[Step], RowContext],
        screen: Screen,
        guard: NetworkGuard,
        clock: Clock,
        find: Callable[[Step, int, bytes], Taken | None] = lambda _step, _row, _line: None,
    ) -> None:
        self._plan = plan
        self._find = find
        self._contexts = {step.number: context_of(step) for step in plan.steps.values()}
        self._bulk = {step.number: bulk_of(step.transform) for step in plan.steps.values()}
        self._moving = _moving(plan, self._bulk)
        self._screen = screen
        self._guard = guard
        self._clock = clock

    def sweep(self, flock: Flock, start: int) -> Sweep:
        """Sends rows of the source on from node ``start`` until each has arrived, or waits at a batch transform."""
        sweep = Sweep()
        if len(flock):
            sweep.versions.append((flock.indexes, flock.data))
            self._send(sweep, flock, start, Outcome.COMPLETED, step_no=None)
        self._run(sweep)
        return sweep

    def resume_sweep(
        self,
        step: Step,
        tokens: Sequence[Token],
        results: Sequence[TransformResult],
        *,
        started_at: int,
        attempt: int,
    ) -> Sweep:
        """Gives tokens that waited at ``step``, in source order, their results and sends them on."""
        sweep = Sweep()
        by_writer: dict[int, tuple[list[Token], list[Result]]] = {}
        for token, result in zip(tokens, results, strict=True):
            alike = by_writer.get(token.writer) or by_writer.setdefault(token.writer, ([], []))
            alike[0].append(token)
            alike[1].append(_only(step, token.index, result))
        flocks = [Flock.of(alike) for alike, _ in by_writer.values()]
        by_flock = [of_flock for _, of_flock in by_writer.values()]
        self._conclude(sweep, step, flocks, by_flock, started_at=started_at, attempt=attempt)
        self._run(sweep)
        return sweep

    def _run(self, sweep: Sweep) -> None:
        while (waiting := sweep.next()) is not None:
            number, flocks = waiting
            step = self._plan.steps[number]
            if step.gate is not None:
                self._gate(sweep, step, flocks)
            elif step.transform is not None:
                started_at = self._clock.now_us()
                results = in_source_order(flocks, partial(self._transform, step))
                self._guard.check()
                self._conclude(sweep, step, flocks, results, started_at=started_at)
            else:
                self._ask(sweep, step, flocks)

    def _transform(self, step: Step, indexes: Sequence[int], rows: Sequence[Row]) -> Sequence[Result]:
        if step.transform is None:
            raise RuntimeError("a transform step has a transform")
        bulk = self._bulk[step.number]
        made = None if bulk is None else bulk.process_bulk(rows)
        if made is not None:
            if len(made) != len(rows):
                raise RunError(f"step {step.name!r} made {len(made)} rows of {len(rows)}", hint=_ONE_OF_ONE)
            return made
        context = self._contexts[step.number]
        results: list[Result] = []
        for index, row in zip(indexes, rows, strict=True):
            context.row_index = index
            results.append(_only(step, index, step.transform.process(row, context)))
        context.row_index = None
        return results

    def _conclude(
        self,
        sweep: Sweep,
        step: Step,
        flocks: Sequence[Flock],
        results: Sequence[Sequence[Result]],
        *,
        started_at: int,
        attempt: int = 0,
    ) -> None:
        """Gives tokens what a transform made of them and moves them on."""
        done = NodeStep(step.number, started_at, self._share_us(started_at, flocks), attempt, is_changed=True)
        target, outcome = self._plan.end_at(step, "next")
        for flock, of_flock in zip(flocks, results, strict=True):
            for moved in self._changed(sweep, step, flock, of_flock, done):
                self._send(sweep, moved, target, outcome, step_no=None)

    def _share_us(self, started_at: int, flocks: Sequence[Flock]) -> int:
        """Each token's share of the time since then."""
        return (self._clock.now_us() - started_at) // max(sum(map(len, flocks)), 1)

    def _changed(
        self, sweep: Sweep, step: Step, flock: Flock, results: Sequence[Result], done: NodeStep
    ) -> list[Flock]:
        """The tokens with what a step made of them: those whose bytes are the same, and those with new ones."""
        sound, rows = self._sound(sweep, step, flock, results, done)
        flock = flock.at(sound)
        sound, versions = self._sound(sweep, step, flock, self._encoded(step, rows), done)
        flock, rows = flock.at(sound), at_places(rows, sound)
        codecs = self._plan.codecs
        if not codecs[step.number].reads_like(codecs[flock.writer]):  # the same bytes would come back as another row
            return [self._renewed(sweep, step, flock, rows, versions, done)]
        is_new = list(map(ne, versions, flock.data))
        if all(is_new):
            return [self._renewed(sweep, step, flock, rows, versions, done)]
        new = [place for place, is_one in enumerate(is_new) if is_one]
        same = [place for place, is_one in enumerate(is_new) if not is_one]
        return [
            flock.at(same).after(done._replace(is_changed=False), at_places(rows, same)),
            self._renewed(sweep, step, flock.at(new), at_places(rows, new), at_places(versions, new), done),
        ]

    def _encoded(self, step: Step, rows: Sequence[Row]) -> Sequence[bytes | RowError]:
        codec = self._plan.codecs[step.number]
        try:
            return codec.encode_batch(rows, are_plain=step.number in self._moving)
        except NotEncodableError:
            return [
                RowError(code="not_encodable", message=str(data)) if isinstance(data, NotEncodableError) else data
                for data in codec.encode_each(rows)
            ]

    def _renewed(
        self, sweep: Sweep, step: Step, flock: Flock, rows: Sequence[Row], versions: Sequence[bytes], done: NodeStep
    ) -> Flock:
        """The tokens with new bytes, which hold no secret."""
        if refused := self._screen.with_secret(step, flock.indexes, versions):
            looked_at = [_SECRET_ROW if place in refused else data for place, data in enumerate(versions)]
            sound, versions = self._sound(sweep, step, flock, looked_at, done)
            flock, rows = flock.at(sound), at_places(rows, sound)
        hashes = sha256_each(versions)
        if versions:
            sweep.versions.append((flock.indexes, versions))
        return flock.become(done, rows, versions, hashes, writer=step.number)

    def _sound(
        self, sweep: Sweep, step: Step, flock: Flock, values: Sequence[_Value | RowError], done: NodeStep
    ) -> tuple[Sequence[int], Sequence[_Value]]:
        """Ends the tokens that have a fault for a value; the places of the others, and their values."""
        if _are_sound(values):
            return range(len(values)), values
        faults = {place: value for place, value in enumerate(values) if isinstance(value, RowError)}
        self._fail(sweep, step, flock, faults, done)
        sound = [(place, value) for place, value in enumerate(values) if not isinstance(value, RowError)]
        return [place for place, _ in sound], [value for _, value in sound]

    def _gate(self, sweep: Sweep, step: Step, flocks: Sequence[Flock]) -> None:
        started_at = self._clock.now_us()
        labels = [self._labels(step, flock.rows) for flock in flocks]
        passed = NodeStep(step.number, started_at, self._share_us(started_at, flocks))
        for flock, of_flock in zip(flocks, labels, strict=True):
            routed: dict[str, list[int]] = {}
            faults: dict[int, RowError] = {}
            for place, label in enumerate(of_flock):
                if isinstance(label, RowError):
                    faults[place] = label
                else:
                    (routed.get(label) or routed.setdefault(label, [])).append(place)
            self._fail(sweep, step, flock, faults, passed)
            for label, places in routed.items():
                group = flock.at(places)
                target, outcome = self._plan.end_at(step, f"route:{label}")
                group = group.after(passed._replace(route=label), group.rows)
                self._send(sweep, group, target, outcome, step_no=step.number)

    def _labels(self, step: Step, rows: Sequence[Row]) -> list[str | RowError]:
        """The routes that a gate gives to rows."""
        gate = step.gate
        if gate is None:
            raise RuntimeError("a gate step has a gate")
        truths: dict[bool, str | RowError] = {}
        labels: list[str | RowError] = []
        for value in gate.evaluate_each(rows):
            if isinstance(value, bool):
                labels.append(truths.get(value) or truths.setdefault(value, self._route(step, value)))
            else:
                labels.append(self._route(step, value))
        return labels

    def _route(self, step: Step, value: object) -> str | RowError:
        """The route that a gate's value names, or why there is none."""
        try:
            if isinstance(value, ExpressionFailure):
                raise value
            return self.label(step, value)
        except ExpressionFailure as failure:
            return RowError(code="gate", message=failure.message)

    @staticmethod
    def label(step: Step, value: object) -> str:
        """The route that a gate's value names; raises `ExpressionFailure` for a value without one."""
        label = route_label(value)
        if label is not None and f"route:{label}" in step.targets:
            return label
        if "route:default" in step.targets:
            return "default"
        shown = f"the value {label[:80]!r}" if label is not None else f"a value of type {type(value).__name__}"
        raise ExpressionFailure(f"{shown} has no route")

    def _ask(self, sweep: Sweep, step: Step, flocks: Sequence[Flock]) -> None:
        requests: list[tuple[Token, bytes]] = []
        for flock in flocks:
            requests += self._asked(sweep, step, flock)
        if requests:
            sweep.requests[step.number] = sorted(requests, key=lambda request: request[0].index)

    def _asked(self, sweep: Sweep, step: Step, flock: Flock) -> list[tuple[Token, bytes]]:
        """The requests of a flock whose answers are not known; rows whose answers are go on."""
        started_at = self._clock.now_us()
        if step.batch is None:
            raise RuntimeError("only batch transforms make requests")
        ids = [custom_id(index, 0) for index in flock.indexes]
        lines = list(map(step.batch.request_line, flock.rows, ids))
        asked = NodeStep(step.number, started_at)
        places, requests = self._sound(sweep, step, flock, lines, asked)
        flock = flock.at(places)
        if refused := self._screen.with_secret(step, flock.indexes, requests):
            looked_at = [_SECRET_REQUEST if place in refused else line for place, line in enumerate(requests)]
            places, requests = self._sound(sweep, step, flock, looked_at, asked)
            flock = flock.at(places)
        taken = [self._find(step, row, line) for row, line in zip(flock.indexes, requests, strict=True)]
        open_places = [place for place, answer in enumerate(taken) if answer is None]
        sweep.end(flock.at(open_places))
        answered = [(place, answer) for place, answer in enumerate(taken) if answer is not None]
        if answered:
            results = []
            for place, answer in answered:
                index, row = flock.indexes[place], flock.rows[place]
                sweep.taken.append((step.number, index, answer))
                results.append(_only(step, index, step.batch.merge(row, answer.verdict)))
            group = flock.at([place for place, _ in answered])
            self._conclude(sweep, step, [group], [results], started_at=started_at)
        return [(flock.token(place), requests[place]) for place in open_places]

    def _fail(self, sweep: Sweep, step: Step, flock: Flock, faults: Mapping[int, RowError], done: NodeStep) -> None:
        """Ends the tokens at some places of a flock with these errors."""
        if not faults:
            return
        target, outcome = self._plan.end_at(step, "on_error")
        failed = done._replace(status=StateStatus.FAILED, is_changed=False)
        decode = self._plan.codecs[flock.writer].decode
        arrivals = []
        for place, fault in faults.items():
            index, data = flock.indexes[place], flock.data[place]
            error = self._screen.error(step, index, fault)
            sweep.fail(flock, place, failed, error)
            arrivals.append(Arrival(index, outcome, step.number, target, row=decode(data), data=data, error=error))
        sweep.arrivals += grouped(arrivals)

    def _send(self, sweep: Sweep, flock: Flock, target: int | None, outcome: Outcome, *, step_no: int | None) -> None:
        """Moves tokens on to a node, or to the sink where they end."""
        if not len(flock):
            return
        if target is None:
            raise RuntimeError("only failed rows are discarded")
        if not self._plan.is_sink(target):
            sweep.wait(target, flock)
            return
        sweep.end(flock)
        decided_by = step_no if outcome is Outcome.ROUTED else None
        sweep.arrivals.append(
            Arrivals(flock.indexes, flock.rows, flock.data, outcome=outcome, step_no=decided_by, sink_no=target)
        )


def _only(step: Step, index: int, result: TransformResult) -> Result:
    """The one row that a step may make of a row in this version, or why it made none."""
    if result.failure is not None:
        return result.failure
    if len(result.rows) != 1:
        raise RunError(f"step {step.name!r} made {len(result.rows)} rows of row {index}", hint=_ONE_OF_ONE)
    return result.rows[0]


def _moving(plan: Plan, bulk: Mapping[int, BulkTransform | None]) -> frozenset[int]:
    """The steps whose values need not be looked at again.

    None where a field may be a date or a decimal: a step that moves one and no longer declares it makes a row that
    has no bytes.
    """
    if any(codec.converts for codec in plan.codecs.values()):
        return frozenset()
    return frozenset(number for number, one in bulk.items() if one is not None and moves_values(one))


def _are_sound(values: Sequence[_Value | RowError]) -> TypeGuard[Sequence[_Value]]:
    return not any(issubclass(kind, RowError) for kind in set(map(type, values)))


_ONE_OF_ONE = "Steps that make several rows of one, or none, are not in this version."
_SECRET_ROW, _SECRET_REQUEST = (
    RowError(code="secret", message=f"the {what} would hold a secret") for what in ("row", "request")
)
