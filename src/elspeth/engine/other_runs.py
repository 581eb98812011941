"""The good answers of other runs, by what was asked.

An index over the named runs is made when the first request looks for one: each request line
whose row passed its step, and each answer that such a run took in its turn. What cannot be
read, since its payloads were purged or do not have their hashes, is nobody's answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from elspeth.contracts import TrailError
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.asked_lines import asked_lines, read_slice
from elspeth.core.landscape.request_lines import request_key
from elspeth.core.landscape.reuses import reuses_of_row, taken_answers
from elspeth.core.landscape.scratch import ScratchTable
from elspeth.engine.known_answers import KnownAnswer, answer_of_batch, answer_of_reuse
from elspeth.engine.plan import Plan, Step

__all__ = ["OtherRuns"]

_MOST_KEPT = 2_048
_COLUMNS = ("run_no", "node_no", "row_index", "batch_no", "attempt")


class OtherRuns:
    """Finds answers in other runs of the trail, those in ``runs`` that come first before the others.

    Answers recently found are kept: what is taken again is read once, and copied once by who takes it.
    """

    def __init__(self, plan: Plan, reader: LandscapeReader, runs: Sequence[str]) -> None:
        self._reader = reader
        self._runs = runs
        self._answers_from = {
            step.number: step.batch.answers_from()
            for step in plan.batch_steps
            if step.batch is not None and step.batch.limits.may_reuse and runs
        }
        self._open: dict[int, tuple[RunHeader, Payloads]] = {}
        self._made: ScratchTable | None = None
        self._known = lru_cache(_MOST_KEPT)(self._read)

    def find(self, step: Step, line: bytes) -> KnownAnswer | None:
        """The answer to an equal request; None when there is none, or it can no longer be read."""
        answers_from = self._answers_from.get(step.number)
        key = None if answers_from is None else request_key(line, answers_from)
        found = None if key is None else self._index.get(key)
        if found is None:
            return None
        try:
            return self._known(*found)
        except TrailError:  # purged, or not what it was: the row is asked as if it had never been there
            return None

    def close(self) -> None:
        """Throws the index away."""
        if self._made is not None:
            self._made.close()

    def _read(self, run_no: int, node_no: int, row: int, batch_no: int | None, attempt: int | None) -> KnownAnswer:
        run, payloads = self._opened(run_no)
        if batch_no is None or attempt is None:
            reuse = next(one for one in reuses_of_row(self._reader, run, row) if one.node_no == node_no)
            return answer_of_reuse(payloads, reuse)
        return answer_of_batch(self._reader, payloads, run, row=row, batch_no=batch_no, attempt=attempt)

    def _opened(self, run_no: int) -> tuple[RunHeader, Payloads]:
        if run_no not in self._open:
            run = self._reader.run_numbered(run_no)
            self._open[run_no] = run, Payloads(self._reader, run)
        return self._open[run_no]

    @property
    def _index(self) -> ScratchTable:
        if self._made is None:
            self._made = ScratchTable(_COLUMNS)
            for run_id in self._runs:
                self._made.add_all(self._entries(self._reader.run(run_id)))
        return self._made

    def _entries(self, run: RunHeader) -> Iterator[tuple[Any, ...]]:
        _, payloads = self._opened(run.run_no)
        nodes = self._nodes(run)
        unreadable: set[int] = set()
        for asked in asked_lines(self._reader, run, nodes, are_answered=True):
            if asked.segment_no in unreadable:
                continue
            try:
                line = read_slice(payloads, asked.segment_no, asked.start, asked.length, asked.line_hash)
            except TrailError:
                unreadable.add(asked.segment_no)
                continue
            if key := request_key(line, nodes[asked.node_no]):
                yield key, run.run_no, asked.node_no, asked.row, asked.batch_no, asked.attempt
        for row, reuse in taken_answers(self._reader, run, nodes):
            try:
                line = payloads.body_at(reuse.request_ref, reuse.request_hash)
            except TrailError:
                return
            if key := request_key(line, nodes[reuse.node_no]):
                yield key, run.run_no, reuse.node_no, row, None, None

    def _nodes(self, run: RunHeader) -> Mapping[int, str]:
        """The nodes of a run whose requests the same ones answer as some step of this run."""
        wanted = set(self._answers_from.values())
        return {
            node_no: answers_from
            for node_no, answers_from in self._reader.query(
                "SELECT node_no, answers_from FROM nodes WHERE run_no = ? AND answers_from IS NOT NULL", run.run_no
            )
            if answers_from in wanted
        }
