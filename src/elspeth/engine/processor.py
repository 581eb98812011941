"""Moves a micro-batch of tokens through the steps.

Nodes are numbered by topological position, so visiting them in ascending order sends
every token through all of its steps in one sweep. Nothing is recorded on the way: the
sweep gathers what happened, and `Sweep.record` hands the whole of it to the recorder
at once, so that a commit forced in the middle (by a call that needs an intent) never
sees half a micro-batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from elspeth.contracts import (
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
)
from elspeth.core.calls import NetworkGuard
from elspeth.core.canonical import NotEncodableError, sha256_each
from elspeth.core.expressions import ExpressionFailure
from elspeth.core.graph import route_label
from elspeth.engine.batch import custom_id
from elspeth.engine.plan import Plan, Step
from elspeth.engine.reuse import Taken
from elspeth.engine.screen import Screen
from elspeth.engine.tokens import Arrival, Token, by_index

__all__ = ["Processor", "RowContext", "StateRecorder", "Sweep"]

_Item = TypeVar("_Item")


class RowContext(Context, Protocol):
    """A step's context, told on which row the step works."""

    row_index: int | None


class StateRecorder(Protocol):
    """Takes what became of tokens on their way through the nodes."""

    def add_passages(self, rows: Sequence[int], steps: Sequence[NodeStep], hashes: Sequence[Sequence[bytes]]) -> None:
        """Tokens went the same way; ``hashes`` has a column for each step that changed them."""
        ...

    def add_failed_passage(
        self, row: int, steps: Sequence[NodeStep], hashes: Sequence[bytes], error: Mapping[str, Any]
    ) -> None:
        """A token failed at the last step."""
        ...


class Sweep:
    """What one pass of a micro-batch did."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.requests: dict[int, list[tuple[Token, bytes]]] = {}
        self.taken: list[tuple[int, int, Taken]] = []
        self._steps: defaultdict[int, list[NodeStep]] = defaultdict(list)
        self._hashes: defaultdict[int, list[bytes]] = defaultdict(list)
        self._errors: dict[int, Mapping[str, Any]] = {}

    @property
    def failure_count(self) -> int:
        """How many tokens failed."""
        return len(self._errors)

    def passed(
        self,
        tokens: Sequence[Token],
        *,
        changed: bool,
        node_no: int,
        started_at: int,
        duration_us: int,
        route: str | None = None,
        attempt: int = 0,
    ) -> None:
        """Notes that tokens passed a node."""
        step = NodeStep(node_no, attempt, StateStatus.COMPLETED, route, changed, started_at, duration_us)
        for token in tokens:
            self._steps[token.index].append(step)
            if changed:
                self._hashes[token.index].append(token.sha256)

    def failed(
        self,
        token: Token,
        *,
        error: Mapping[str, Any],
        node_no: int,
        started_at: int,
        duration_us: int,
        attempt: int = 0,
    ) -> None:
        """Notes that a token failed at a node."""
        step = NodeStep(node_no, attempt, StateStatus.FAILED, None, False, started_at, duration_us)
        self._steps[token.index].append(step)
        self._errors[token.index] = error

    def record(self, recorder: StateRecorder) -> None:
        """Hands over how the tokens went, those that went the same way at once."""
        same: defaultdict[tuple[NodeStep, ...], list[int]] = defaultdict(list)
        for row, steps in self._steps.items():
            if row not in self._errors:
                same[tuple(steps)].append(row)
        for journey, rows in same.items():
            hashes = zip(*[self._hashes[row] for row in rows], strict=True)
            recorder.add_passages(rows, journey, list(hashes))
        for row, error in self._errors.items():
            recorder.add_failed_passage(row, self._steps[row], self._hashes[row], error)


class Processor:
    """Runs the steps of a plan. It keeps nothing between micro-batches.

    ``find`` gives the answer to a request that need not be made, if there is one.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        context_of: Callable[[Step], RowContext],
        screen: Screen,
        guard: NetworkGuard,
        clock: Clock,
        find: Callable[[Step, Token, bytes], Taken | None] = lambda _step, _token, _line: None,
    ) -> None:
        self._plan = plan
        self._find = find
        self._contexts = {step.number: context_of(step) for step in plan.steps.values()}
        self._bulk = {step.number: bulk_of(step.transform) for step in plan.steps.values()}
        self._screen = screen
        self._guard = guard
        self._clock = clock

    def sweep(self, tokens: Sequence[Token], start: int) -> Sweep:
        """Sends tokens on from node ``start`` until each has arrived, or waits at a batch transform."""
        sweep = Sweep()
        pending: dict[int, list[Token]] = {}
        self._move(sweep, pending, tokens, start, Outcome.COMPLETED, step_no=None)
        self._run(sweep, pending)
        return sweep

    def _run(self, sweep: Sweep, pending: dict[int, list[Token]]) -> None:
        while pending:
            number = min(pending)
            waiting = sorted(pending.pop(number), key=by_index)
            step = self._plan.steps[number]
            if step.gate is not None:
                self._gate(sweep, pending, step, waiting)
            elif step.transform is not None:
                self._transform(sweep, pending, step, waiting)
            else:
                self._ask(sweep, pending, step, waiting)

    def resume_sweep(
        self,
        step: Step,
        tokens: Sequence[Token],
        results: Sequence[TransformResult],
        *,
        started_at: int,
        attempt: int,
    ) -> Sweep:
        """Gives tokens that waited at ``step`` their results and sends them on."""
        sweep = Sweep()
        pending: dict[int, list[Token]] = {}
        self._conclude(sweep, pending, step, tokens, results, started_at=started_at, attempt=attempt)
        self._run(sweep, pending)
        return sweep

    def _transform(self, sweep: Sweep, pending: dict[int, list[Token]], step: Step, tokens: Sequence[Token]) -> None:
        if step.transform is None:
            raise RuntimeError("a transform step has a transform")
        started_at = self._clock.now_us()
        bulk = self._bulk[step.number]
        rows = None if bulk is None else bulk.process_bulk([token.row for token in tokens])
        if rows is not None:
            self._guard.check()
            self._advance(sweep, pending, step, tokens, rows, failures=[], started_at=started_at)
            return
        context = self._contexts[step.number]
        results = []
        for token in tokens:
            context.row_index = token.index
            results.append(step.transform.process(token.row, context))
        context.row_index = None
        self._guard.check()
        self._conclude(sweep, pending, step, tokens, results, started_at=started_at)

    def _conclude(
        self,
        sweep: Sweep,
        pending: dict[int, list[Token]],
        step: Step,
        tokens: Sequence[Token],
        results: Sequence[TransformResult],
        *,
        started_at: int,
        attempt: int = 0,
    ) -> None:
        """Notes the results of a transform for its tokens and moves them on."""
        failures: list[tuple[Token, RowError]] = []
        kept: list[Token] = []
        rows: list[Row] = []
        for token, result in zip(tokens, results, strict=True):
            if result.failure is not None:
                failures.append((token, result.failure))
            else:
                kept.append(token)
                rows.append(self._only_row(step, token, result))
        self._advance(sweep, pending, step, kept, rows, failures=failures, started_at=started_at, attempt=attempt)

    def _advance(
        self,
        sweep: Sweep,
        pending: dict[int, list[Token]],
        step: Step,
        tokens: Sequence[Token],
        rows: Sequence[Row],
        *,
        failures: list[tuple[Token, RowError]],
        started_at: int,
        attempt: int = 0,
    ) -> None:
        """Gives tokens their rows after a transform and moves them on; ``failures`` are those that got none."""
        encoded = self._plan.codecs[step.number].encode_each(rows)
        changed: list[Token] = []
        values: list[Row] = []
        versions: list[bytes] = []
        same: list[Token] = []
        for token, row, data in zip(tokens, rows, encoded, strict=True):
            if isinstance(data, NotEncodableError):
                failures.append((token, RowError(code="not_encodable", message=str(data))))
            elif data == token.data:
                token.row = row  # the same bytes, but the plugin may have handed out another object
                same.append(token)
            else:
                changed.append(token)
                values.append(row)
                versions.append(data)
        if refused := self._screen.with_secret(step, changed, versions):
            failures += [(changed[place], _would_hold_secret("row")) for place in sorted(refused)]
            changed, values = _without(changed, refused), _without(values, refused)
            versions = _without(versions, refused)
        number = step.number
        for token, row, data, digest in zip(changed, values, versions, sha256_each(versions), strict=True):
            token.become(row, data, digest, number)
        duration_us = self._clock.now_us() - started_at
        note: dict[str, Any] = {
            "node_no": number,
            "started_at": started_at,
            "duration_us": duration_us // max(len(changed) + len(same) + len(failures), 1),
            "attempt": attempt,
        }
        sweep.passed(changed, changed=True, **note)
        sweep.passed(same, changed=False, **note)
        self._fail(sweep, step, failures, note)
        target, outcome = self._plan.end_at(step, "next")
        passed = changed if not same else sorted(changed + same, key=by_index)
        self._move(sweep, pending, passed, target, outcome, step_no=None)

    def _gate(self, sweep: Sweep, pending: dict[int, list[Token]], step: Step, tokens: Sequence[Token]) -> None:
        gate = step.gate
        if gate is None:
            raise RuntimeError("a gate step has a gate")
        started_at = self._clock.now_us()
        routed: dict[str, list[Token]] = {}
        failures: list[tuple[Token, RowError]] = []
        truths: dict[bool, str] = {}
        for token in tokens:
            try:
                value = gate.evaluate(token.row)
                if isinstance(value, bool):
                    label = truths.get(value) or truths.setdefault(value, self.label(step, value))
                else:
                    label = self.label(step, value)
            except ExpressionFailure as failure:
                failures.append((token, RowError(code="gate", message=failure.message)))
                continue
            routed.setdefault(label, []).append(token)
        duration_us = (self._clock.now_us() - started_at) // max(len(tokens), 1)
        note: dict[str, Any] = {"node_no": step.number, "started_at": started_at, "duration_us": duration_us}
        for label, group in routed.items():
            sweep.passed(group, changed=False, route=label, **note)
            target, outcome = self._plan.end_at(step, f"route:{label}")
            self._move(sweep, pending, group, target, outcome, step_no=step.number)
        self._fail(sweep, step, failures, note)

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

    def _ask(self, sweep: Sweep, pending: dict[int, list[Token]], step: Step, tokens: Sequence[Token]) -> None:
        started_at = self._clock.now_us()
        failures: list[tuple[Token, RowError]] = []
        answered: list[Token] = []
        results: list[TransformResult] = []
        if step.batch is None:
            raise RuntimeError("only batch transforms make requests")
        requests: list[tuple[Token, bytes]] = []
        lines = [step.batch.request_line(token.row, custom_id(token.index, 0)) for token in tokens]
        asking = [token for token, line in zip(tokens, lines, strict=True) if isinstance(line, bytes)]
        refused = self._screen.with_secret(step, asking, [line for line in lines if isinstance(line, bytes)])
        secret = {asking[place].index for place in refused}
        for token, line in zip(tokens, lines, strict=True):
            if isinstance(line, RowError):
                failures.append((token, line))
            elif token.index in secret:
                failures.append((token, _would_hold_secret("request")))
            elif (taken := self._find(step, token, line)) is not None:
                sweep.taken.append((step.number, token.index, taken))
                answered.append(token)
                results.append(step.batch.merge(token.row, taken.verdict))
            else:
                requests.append((token, line))
        if requests:
            sweep.requests[step.number] = requests
        if answered:
            self._conclude(sweep, pending, step, answered, results, started_at=started_at)
        self._fail(sweep, step, failures, {"node_no": step.number, "started_at": started_at, "duration_us": 0})

    def _fail(
        self,
        sweep: Sweep,
        step: Step,
        failures: Sequence[tuple[Token, RowError]],
        note: Mapping[str, Any],
    ) -> None:
        for token, failure in failures:
            error = self._screen.error(step, token, failure)
            sweep.failed(token, error=error, **note)
            target, outcome = self._plan.end_at(step, "on_error")
            sweep.arrivals.append(
                Arrival(
                    token.index,
                    outcome,
                    step_no=step.number,
                    sink_no=target,
                    row=self._plan.codecs[token.writer].decode(token.data),
                    data=token.data,
                    error=error,
                )
            )

    def _only_row(self, step: Step, token: Token, result: TransformResult) -> Row:
        if len(result.rows) != 1:
            raise RunError(
                f"step {step.name!r} made {len(result.rows)} rows of row {token.index}",
                hint="Steps that make several rows of one, or none, are not in this version.",
            )
        return result.rows[0]

    def _move(
        self,
        sweep: Sweep,
        pending: dict[int, list[Token]],
        tokens: Sequence[Token],
        target: int | None,
        outcome: Outcome,
        *,
        step_no: int | None,
    ) -> None:
        if not tokens:
            return
        if target is None:
            raise RuntimeError("only failed rows are discarded")
        if not self._plan.is_sink(target):
            pending.setdefault(target, []).extend(tokens)
            return
        decided_by = step_no if outcome is Outcome.ROUTED else None
        sweep.arrivals += [
            Arrival(token.index, outcome, step_no=decided_by, sink_no=target, row=token.row, data=token.data)
            for token in tokens
        ]


def _would_hold_secret(what: str) -> RowError:
    return RowError(code="secret", message=f"the {what} would hold a secret")


def _without(items: Sequence[_Item], places: Collection[int]) -> list[_Item]:
    return [item for place, item in enumerate(items) if place not in places]
