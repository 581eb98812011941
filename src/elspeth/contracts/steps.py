"""What a token did at a node, as the engine tells it to whoever records it."""

from __future__ import annotations

from typing import NamedTuple

from elspeth.contracts.enums import StateStatus

__all__ = ["NodeStep"]


class NodeStep(NamedTuple):
    """A step of tokens that went the same way; ``is_changed``: each of them has other bytes after it.

    ``started_at`` in microseconds since the epoch; a micro-batch's time is shared equally by its tokens.
    """

    node_no: int
    attempt: int
    status: StateStatus
    route: str | None
    is_changed: bool
    started_at: int
    duration_us: int
