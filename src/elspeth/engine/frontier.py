"""The order in which rows reach the sinks: their order in the source.

A row may be written when every earlier one has arrived or ended elsewhere. Up to that
low watermark rows are *released*. A micro-batch that begins at the watermark is
written as it comes; whatever has to wait lies in the trail, not in memory, and is read
back when the watermark has passed it. Both ways lead through `Frontier.write`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from elspeth.contracts import Outcome, StateStatus, TrailError
from elspeth.core.landscape.rows import TrailRow, TrailRows
from elspeth.engine.admission import rejected_row
from elspeth.engine.outputs import Output
from elspeth.engine.plan import SOURCE_NODE, Plan
from elspeth.engine.selection import Selection
from elspeth.engine.tokens import Arrival, Arrivals, grouped

__all__ = ["Frontier", "OutcomeRecorder"]

_ROWS_AT_ONCE = 2_000


class OutcomeRecorder(Protocol):
    """Takes how tokens ended."""

    def add_outcomes(
        self,
        rows: Sequence[int],
        *,
        outcome: Outcome,
        step_no: int | None,
        sink_no: int | None,
        sink_lines: Sequence[int],
        reason: str | None = None,
    ) -> None:
        """Tokens ended alike; ``sink_lines`` (1-based, one for each) count only with a sink."""
        ...


class Frontier:
    """Writes arrivals to the sinks in source order. ``released`` is the watermark: the first row not yet out."""

    def __init__(
        self,
        plan: Plan,
        *,
        outputs: Mapping[int, Output],
        recorder: OutcomeRecorder,
        released: int,
        selection: Selection,
    ) -> None:
        self._plan = plan
        self._selection = selection
        self._outputs = outputs
        self._recorder = recorder
        self.released = released

    def write(self, arrivals: Iterable[Arrivals], *, released: int) -> None:
        """Writes what has arrived, each sink's rows in source order, and moves the watermark to ``released``."""
        by_sink: dict[int | None, list[Arrivals]] = {}
        for group in arrivals:
            by_sink.setdefault(group.sink_no, []).append(group)
        for sink_no, groups in by_sink.items():
            if sink_no is None:
                lines: Sequence[Sequence[int]] = [[0] * len(group) for group in groups]
            else:
                lines = self._outputs[sink_no].write(groups, self._plan.names)
            for group, of_group in zip(groups, lines, strict=True):
                self._recorder.add_outcomes(
                    group.indexes,
                    outcome=group.outcome,
                    step_no=group.step_no,
                    sink_no=sink_no,
                    sink_lines=of_group,
                    reason=group.reason,
                )
        self.released = released

    def release(self, watermark: int, rows: TrailRows) -> Iterator[int]:
        """Writes what the trail holds below ``watermark``; yields after each stretch, so that it can be committed.

        Everything recorded so far must be durable.
        """
        while self.released < watermark:
            end = min(self.released + _ROWS_AT_ONCE, watermark)
            self.write(self.recorded(self.released, end, rows), released=end)
            yield end

    def taken(self, start: int, stop: int) -> Sequence[int]:
        """The rows that the run has, from ``start`` to before ``stop``."""
        return self._selection.between(start, stop)

    def recorded(self, start: int, stop: int, rows: TrailRows) -> list[Arrivals]:
        """How rows of the trail ended, ``start`` to before ``stop``; the same as the processor says at once."""
        return grouped(self._arrival(row, rows) for row in rows.fetch(self.taken(start, stop)))

    def _arrival(self, row: TrailRow, rows: TrailRows) -> Arrival:
        if row.is_rejected:
            raw = rows.raw(row)
            error = row.states[0].error
            return Arrival(
                row.index,
                Outcome.QUARANTINED,
                step_no=SOURCE_NODE,
                sink_no=self._plan.on_invalid,
                row=rejected_row(row.index, error, raw),
                data=b"",
                error=error,
            )
        target, outcome, step_no = self._end(row)
        version = row.version_before(step_no if outcome is Outcome.FAILED and step_no is not None else 1 << 30)
        data = rows.data(row, version)
        return Arrival(
            row.index,
            outcome,
            step_no=step_no,
            sink_no=target,
            row=self._plan.codecs[version[0]].decode(data),
            data=data,
            error=row.states[-1].error if outcome is Outcome.FAILED else None,
        )

    def _end(self, row: TrailRow) -> tuple[int | None, Outcome, int | None]:
        target: int | None = self._plan.first
        outcome, step_no = Outcome.COMPLETED, None
        if row.states:
            last = row.states[-1]
            step = self._plan.steps[last.node_no]
            if last.status is StateStatus.FAILED:
                return step.targets["on_error"], Outcome.FAILED, step.number
            target, outcome = self._plan.end_at(step, "next" if last.route is None else f"route:{last.route}")
            if outcome is Outcome.ROUTED:
                step_no = step.number
        if target is None or not self._plan.is_sink(target):
            raise TrailError(f"row {row.index} is below the watermark, but has not arrived anywhere")
        return target, outcome, step_no
