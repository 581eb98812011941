"""Both ends of a run's trail, as the parts of the engine share them."""

from __future__ import annotations

from msgspec import Struct

from elspeth.contracts import Clock
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder, Payloads, RunHeader
from elspeth.core.landscape.rows import TrailRows

__all__ = ["Ledger"]


class Ledger(Struct, frozen=True, kw_only=True):
    """One run's trail: the recorder that writes it, and what reads back what is durable."""

    run: RunHeader
    recorder: LandscapeRecorder
    reader: LandscapeReader
    payloads: Payloads
    rows: TrailRows
    clock: Clock

    @classmethod
    def of(cls, run: RunHeader, reader: LandscapeReader, recorder: LandscapeRecorder, clock: Clock) -> Ledger:
        """The ledger of a run."""
        payloads = Payloads(reader, run)
        rows = TrailRows(reader, run, payloads)
        return cls(run=run, recorder=recorder, reader=reader, payloads=payloads, rows=rows, clock=clock)
