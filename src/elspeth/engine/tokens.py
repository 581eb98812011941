"""What moves through the graph, and where it ends.

Both are made for every row: records that are made in C, and that the garbage collector need
not look at, since nothing that they hold leads back to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec

from elspeth.contracts import Outcome, Row

__all__ = ["Arrival", "Token", "by_index"]


class Token(msgspec.Struct, gc=False, eq=False):
    """A row on its way: its index, its value, and the bytes and hash of that value.

    ``writer`` is the node whose codec made the bytes; ``row`` may be changed in place by a plugin, the bytes
    never are. ``versions`` gathers the bytes that are new in this micro-batch, to be stored together.
    """

    index: int
    row: Row
    data: bytes
    sha256: bytes
    writer: int
    versions: list[bytes]

    def become(self, row: Row, data: bytes, sha256: bytes, writer: int) -> None:
        """Takes the next version of the row."""
        self.row = row
        self.data = data
        self.sha256 = sha256
        self.writer = writer
        self.versions.append(data)


class Arrival(msgspec.Struct, gc=False, eq=False):
    """A token at its end: how it ended, at which step, in which sink (None: discarded), with what.

    ``row`` and ``data`` are the row and its bytes; for a rejected record ``row`` is what a sink gets of it
    and ``data`` is empty. ``error`` has the code and the message of a failure.
    """

    index: int
    outcome: Outcome
    step_no: int | None
    sink_no: int | None
    row: Row
    data: bytes
    error: Mapping[str, Any] | None = None


by_index = attrgetter("index")
"""Sorts tokens and arrivals into the order of the source."""
