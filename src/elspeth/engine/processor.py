"""Moves a micro-batch of tokens through the steps.

Nodes are numbered by topological position, so visiting them in ascending order sends
every token through all of its steps in one sweep. Nothing is recorded on the way: the
sweep gathers what happened, and `Sweep.record` hands the whole of it to the recorder
at once, so that a commit forced in the middle (by a call that needs an intent) never
sees half a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from elspeth.contracts import Clock, Context, Outcome, Row, RowError, RunError, TransformResult
from elspeth.core.calls import NetworkGuard
from elspeth.core.canonical import NotEncodableError, sha256
from elspeth.core.expressions import ExpressionFailure
from elspeth.core.graph import route_label
from elspeth.engine.batch import custom_id
from elspeth.engine.plan import Plan, Step
from elspeth.engine.reuse import Taken
from elspeth.engine.screen import Screen
from elspeth.engine.tokens import Arrival, Token

__all__ = ["Processor", "RowContext", "StateRecorder", "Sweep"]


class RowContext(Context, Protocol):
    """A step's context, told on which row the step works."""

    row_index: int | None


class StateRecorder(Protocol):
    """Takes what became of tokens at the nodes; the columns are those of ``node_states``."""

    def add_states(
        self,
        rows: Sequence[int],
        *,
        node_no: int,
        hashes: Sequence[bytes] | None,
        started_at: int,
        duration_us: int,
        route: str | None = None,
        attempt: int = 0,
    ) -> None:
        """Tokens passed a node; ``hashes`` is None where the node left the rows as they were."""
        ...

    def add_failure(
        self,
        row: int,
        *,
        node_no: int,
        error: Mapping[str, Any],
        started_at: int,
        duration_us: int,
        attempt: int = 0,
    ) -> None:
        """A token failed at a node."""
        ...


class Sweep:
    """What one pass of a micro-batch did."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.requests: dict[int, list[tuple[Token, bytes]]] = {}
        self.taken: list[tuple[int, int, Taken]] = []
        self._states: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []

    @property
    def failure_count(self) -> int:
        """How many tokens failed."""
        return len(self._failures)

    def passed(self, tokens: Sequence[Token], *, changed: bool, **columns: Any) -> None:
        """Notes that tokens passed a node."""
        if tokens:
            rows = [token.index for token in tokens]
            hashes = [token.sha256 for token in tokens] if changed else None
            self._states.append({"rows": rows, "hashes": hashes, **columns})

    def failed(self, token: Token, **columns: Any) -> None:
        """Notes that a token failed at a node."""
        self._failures.append({"row": token.index, **columns})

    def record(self, recorder: StateRecorder) -> None:
        """Hands the states over."""
        for state in self._states:
            recorder.add_states(**state)
        for failure in self._failures:
            recorder.add_failure(**failure)


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
            waiting = sorted(pending.pop(number), key=_by_index)
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
        transform = step.transform
        if transform is None:
            raise RuntimeError("a transform step has a transform")
        started_at = self._clock.now_us()
        context = self._contexts[step.number]
        results = []
        for token in tokens:
            context.row_index = token.index
            results.append(transform.process(token.row, context))
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
        changed: list[Token] = []
        same: list[Token] = []
        for token, result in zip(tokens, results, strict=True):
            if result.failure is not None:
                failures.append((token, result.failure))
                continue
            row = self._only_row(step, token, result)
            try:
                data = self._plan.codecs[step.number].encode(row)
            except NotEncodableError as error:
                failures.append((token, RowError(code="not_encodable", message=str(error))))
                continue
            if data == token.data:
                token.row = row  # the same bytes, but the plugin may have handed out another object
                same.append(token)
            elif self._screen.holds_secret(step, token, data):
                failures.append((token, RowError(code="secret", message="the row would hold a secret")))
            else:
                token.become(row, data, sha256(data), writer=step.number)
                changed.append(token)
        duration_us = (self._clock.now_us() - started_at) // max(len(tokens), 1)
        note = {"node_no": step.number, "started_at": started_at, "duration_us": duration_us, "attempt": attempt}
        sweep.passed(changed, changed=True, **note)
        sweep.passed(same, changed=False, **note)
        self._fail(sweep, step, failures, note)
        target, outcome = self._plan.end_at(step, "next")
        passed = changed if not same else sorted(changed + same, key=_by_index)
        self._move(sweep, pending, passed, target, outcome, step_no=None)

    def _gate(self, sweep: Sweep, pending: dict[int, list[Token]], step: Step, tokens: Sequence[Token]) -> None:
        gate = step.gate
        if gate is None:
            raise RuntimeError("a gate step has a gate")
        started_at = self._clock.now_us()
        routed: dict[str, list[Token]] = {}
        failures: list[tuple[Token, RowError]] = []
        for token in tokens:
            try:
                label = self.label(step, gate.evaluate(token.row))
            except ExpressionFailure as failure:
                failures.append((token, RowError(code="gate", message=failure.message)))
                continue
            routed.setdefault(label, []).append(token)
        duration_us = (self._clock.now_us() - started_at) // max(len(tokens), 1)
        note = {"node_no": step.number, "started_at": started_at, "duration_us": duration_us}
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
        may_leak = self._screen.may_hold_secret(step, [line for line in lines if isinstance(line, bytes)])
        for token, line in zip(tokens, lines, strict=True):
            if isinstance(line, RowError):
                failures.append((token, line))
            elif may_leak and self._screen.holds_secret(step, token, line):
                failures.append((token, RowError(code="secret", message="the request would hold a secret")))
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
        if target is None:
            raise RuntimeError("only failed rows are discarded")
        if not self._plan.is_sink(target):
            pending.setdefault(target, []).extend(tokens)
            return
        for token in tokens:
            sweep.arrivals.append(
                Arrival(
                    token.index,
                    outcome,
                    step_no=step_no if outcome is Outcome.ROUTED else None,
                    sink_no=target,
                    row=token.row,
                    data=token.data,
                )
            )


def _by_index(token: Token) -> int:
    return token.index
