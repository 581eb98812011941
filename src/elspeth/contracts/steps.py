"""What a token did at a node, as the engine tells it to whoever records it."""

from __future__ import annotations

from typing import NamedTuple

from elspeth.contracts.enums import StateStatus

__all__ = ["NodeStep"]


class NodeStep(NamedTuple):
    """A step of tokens that went the same way; ``is_changed``: each of them has other bytes after it.

    ``started_at`` in microseconds since the epoch; a micro-batch's time is shared equally by its tokens. A gate alone
    has a ``route``.
    """

    node_no: int
    started_at: int
    duration_us: int = 0
    attempt: int = 0
    status: StateStatus = StateStatus.COMPLETED
    route: str | None = None
    is_changed: bool = False
