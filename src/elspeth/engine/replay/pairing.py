"""Which recorded node each node of a plan stands for.

In a replay of the recorded pipeline they are the same; an edited pipeline's steps and
sinks stand for those of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from elspeth.contracts import NodeKind

__all__ = ["Pairing"]


Named = tuple[int, str, NodeKind]
"""A node: number, name, kind."""


class Pairing(Struct, frozen=True, kw_only=True):
    """``recorded`` by the plan's nodes, those that have a partner; ``is_edited`` when the pipeline is another one."""

    recorded: Mapping[int, int]
    is_edited: bool

    @classmethod
    def by_name(cls, nodes: Iterable[Named], recorded: Iterable[Named], *, is_edited: bool) -> Pairing:
        """Pairs steps with steps and sinks with sinks by their names, and the source with the source."""
        numbers = {_label(name, kind): number for number, name, kind in recorded}
        labels = {number: _label(name, kind) for number, name, kind in nodes}
        found = {number: numbers[label] for number, label in labels.items() if label in numbers}
        return cls(recorded=found, is_edited=is_edited)


def _label(name: str, kind: NodeKind) -> tuple[str, str]:
    match kind:
        case NodeKind.SOURCE:
            return "source", ""
        case NodeKind.SINK:
            return "sink", name
        case NodeKind.TRANSFORM | NodeKind.GATE | NodeKind.BATCH_TRANSFORM:
            return "step", name
