"""Equal requests of one run are sent once: where the line of a request stands already, or its answer.

    in a batch that is on its way    the row joins the line there, and gets what comes home for it
    answered                         the row takes the answer at once
    failed for good                  the row is asked, as if nobody had been before

For each request the index keeps one row that has it, and the place of its line while the batch
lives; what became of that row afterwards, the trail tells. A new process makes the index again
from the request files, when it is needed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from elspeth.contracts import FileRole, StateStatus
from elspeth.core.landscape import Slot
from elspeth.core.landscape.asked_lines import asked_lines, read_slice
from elspeth.core.landscape.reader import read_word
from elspeth.core.landscape.request_lines import request_key
from elspeth.core.landscape.scratch import ScratchTable
from elspeth.engine.batches import Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.tokens import Token

__all__ = ["Answered", "SharedRequests", "shared_key"]


class Answered(NamedTuple):
    """A row of this run whose request was answered, and the batch that brought the answer."""

    row: int
    batch_no: int
    attempt: int


def shared_key(step: Step, line: bytes) -> bytes | None:
    """The key of a request among those of its run; None where the step shares none."""
    if step.batch is None or not step.batch.limits.is_shared:
        return None
    return request_key(line, f"step {step.number}")


class SharedRequests:
    """Puts requests into batches, equal ones of a step that shares them only once."""

    def __init__(self, plan: Plan, ledger: Ledger, batches: Batches) -> None:
        self._ledger = ledger
        self._batches = batches
        self._steps = {step.number: step for step in plan.batch_steps if step.batch and step.batch.limits.is_shared}
        self._made: ScratchTable | None = None

    def ask(self, step: Step, requests: Sequence[tuple[Token, bytes]]) -> None:
        """Sees to it that requests are sent, with the next batch or with the one that has an equal one already."""
        if step.number not in self._steps:
            self._batches.add(step, requests, attempt=0)
            return
        for token, line in requests:
            key = shared_key(step, line)
            found = None if key is None else self._find(step, key)
            if isinstance(found, Slot):
                self._batches.join(token.index, found)
                continue
            slot = self._batches.add(step, [(token, line)], attempt=0)
            if key is not None:
                self._index.put(key, token.index, *slot)

    def answered(self, step: Step, line: bytes) -> Answered | None:
        """Who got the answer to an equal request; None while nobody has."""
        key = shared_key(step, line)
        found = None if key is None else self._find(step, key)
        return found if isinstance(found, Answered) else None

    def close(self) -> None:
        """Throws the index away."""
        if self._made is not None:
            self._made.close()

    def _find(self, step: Step, key: bytes) -> Slot | Answered | None:
        known = self._index.get(key)
        if known is None:
            return None
        row, slot = known[0], Slot(*known[1:])
        if slot.batch_no in self._batches.live:
            return slot
        return self._became(step, row)

    def _became(self, step: Step, row: int) -> Slot | Answered | None:
        """What became of a row whose batch was harvested; all of that is durable."""
        reader, run_no = self._ledger.reader, self._ledger.run.run_no
        ((attempt, *slot),) = reader.query(
            "SELECT b.attempt, m.batch_no, m.segment_no, m.position, m.start, m.length, m.line_hash "
            "FROM batch_members m JOIN batches b ON b.run_no = m.run_no AND b.batch_no = m.batch_no "
            "WHERE m.run_no = ? AND m.row_index = ? AND m.role = ? AND b.node_no = ? ORDER BY m.batch_no DESC LIMIT 1",
            run_no,
            row,
            FileRole.REQUEST.value,
            step.number,
        )
        states = reader.query(
            "SELECT status FROM node_states WHERE run_no = ? AND row_index = ? AND node_no = ? ORDER BY path, attempt",
            run_no,
            row,
            step.number,
        )
        if not states:
            return Slot(*slot)
        status = read_word(StateStatus, states[0][0], f"node_states {run_no}/{row}")
        return Answered(row, slot[0], attempt) if status is StateStatus.COMPLETED else None

    @property
    def _index(self) -> ScratchTable:
        if self._made is None:
            self._made = ScratchTable(("row_index", "batch_no", "segment_no", "position", "start", "length", "sha256"))
            for entry in self._recorded():
                self._made.put(*entry)
        return self._made

    def _recorded(self) -> Iterator[tuple[bytes, int, int, int, int, int, int, bytes]]:
        """What earlier processes have asked, the last attempt last."""
        ledger = self._ledger
        for asked in asked_lines(ledger.reader, ledger.run, self._steps):
            slot = Slot(asked.batch_no, asked.segment_no, asked.position, asked.start, asked.length, asked.line_hash)
            line = read_slice(ledger.payloads, asked.segment_no, asked.start, asked.length, asked.line_hash)
            key = shared_key(self._steps[asked.node_no], line)
            if key is not None:
                yield key, asked.row, *slot
