"""A pipeline made ready to run: the graph with a live plugin at each node.

The composition root builds a plan from a pipeline file or from what the trail
recorded of one; the engine knows no other description of what it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from elspeth.contracts import BatchTransform, Fields, Outcome, Price, Sink, Source, Transform
from elspeth.core.canonical import RowCodec
from elspeth.core.expressions import Expression
from elspeth.core.graph import Graph

__all__ = ["ERROR_FIELD", "SOURCE_NODE", "Plan", "SinkPlan", "Step"]

SOURCE_NODE = 0
ERROR_FIELD = "_error"


class Step(Struct, frozen=True, kw_only=True):
    """A step: exactly one of ``transform``, ``batch`` and ``gate`` is there.

    ``targets`` lead from a label to a node, None where the row is discarded. ``price`` is that of a batch step's
    tokens, as the run began with it; None when nobody knows it.
    """

    number: int
    name: str
    targets: Mapping[str, int | None]
    transform: Transform | None = None
    batch: BatchTransform | None = None
    gate: Expression | None = None
    price: Price | None = None


class SinkPlan(Struct, frozen=True, kw_only=True):
    """A sink: its encoder, the fields that its rows may have, and what to do about an existing file."""

    number: int
    name: str
    sink: Sink
    fields: Fields
    path: str
    must_not_exist: bool


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a run needs to know.

    ``fields`` and ``codecs`` are those of rows after each node (at a sink: before it), ``names`` are the nodes'.
    """

    name: str
    graph: Graph
    source: Source
    key_field: str | None
    steps: Mapping[int, Step]
    sinks: Mapping[int, SinkPlan]
    codecs: Mapping[int, RowCodec]
    first: int
    on_invalid: int | None
    max_error_rate: float | None
    max_cost_usd: Decimal | None
    max_attempts: int
    initial_backoff_s: float
    max_backoff_s: float
    names: Mapping[int, str]
    fields: Mapping[int, Fields]

    @property
    def batch_steps(self) -> tuple[Step, ...]:
        """The steps at which rows wait for a provider, in order."""
        return tuple(step for step in self.steps.values() if step.batch is not None)

    @property
    def prices(self) -> Mapping[int, Price]:
        """What the tokens of batch steps cost, by node, where anybody knows."""
        return {number: step.price for number, step in self.steps.items() if step.price is not None}

    def is_sink(self, node_no: int) -> bool:
        """Whether rows end at that node."""
        return node_no in self.sinks

    def end_at(self, step: Step, label: str) -> tuple[int | None, Outcome]:
        """Where a token that leaves ``step`` by ``label`` goes, and how it ends if that is an end.

        A row that a gate sends to a sink other than the pipeline's output is routed.
        """
        if label == "on_error":
            return step.targets["on_error"], Outcome.FAILED
        target = step.targets[label]
        is_routed = step.gate is not None and target != self.graph.output
        return target, Outcome.ROUTED if is_routed else Outcome.COMPLETED
