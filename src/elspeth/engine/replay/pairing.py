"""Which recorded node each node of a plan stands for.

In a replay of the recorded pipeline they are the same; an edited pipeline's steps and
sinks stand for those of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Pairing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """``recorded`` by the plan's nodes, those that have a partner; ``is_edited`` when the pipeline is another one."""

    recorded: Mapping[int, int]
    is_edited: bool

    @classmethod
    def by_name(cls, names: Mapping[int, str], recorded: Mapping[int, str], *, is_edited: bool) -> Pairing:
        """Pairs nodes by their names, the source with the source."""
        numbers = {name: number for number, name in recorded.items() if number != 0}
        found = {number: numbers[name] for number, name in names.items() if number != 0 and name in numbers}
        return cls(recorded={0: 0, **found}, is_edited=is_edited)
