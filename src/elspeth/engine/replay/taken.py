"""Rows that took an answer which was there already: a replay gives them the lines that this run kept of it."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts import TrailError
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.request_lines import request_key
from elspeth.core.landscape.reuses import Reuse, reuses_of_row
from elspeth.core.payloads import parse_reference
from elspeth.engine.known_answers import KnownAnswer, answer_of_reuse
from elspeth.engine.plan import Step
from elspeth.engine.replay.answers import FILES
from elspeth.engine.replay.findings import Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.rows import DAMAGED
from elspeth.engine.reuse import Taken

__all__ = ["TakenAnswers"]


class TakenAnswers:
    """Finds the answers that rows of a run took instead of asking."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, pairing: Pairing, findings: Findings) -> None:
        self._reader = reader
        self._run = run
        self._pairing = pairing
        self._findings = findings
        self._payloads = Payloads(reader, run)
        self._has_some = bool(reader.query("SELECT 1 FROM reuses WHERE run_no = ? LIMIT 1", run.run_no))

    def find(self, step: Step, row: int, line: bytes) -> Taken | None:
        """What the row took at a step; None when it asked there.

        The custom id of the line that was answered is another row's. A request that differs in more is a difference,
        and its answer is taken all the same. An edited pipeline takes what the row took anywhere for the same request.
        """
        if step.batch is None:
            return None
        key = request_key(line, "")
        for known in self._known(step, row):
            is_same = key is not None and key == request_key(known.request.data, "")
            if not is_same and self._pairing.is_edited:
                continue
            if not is_same:
                self._differs(step, row, known, line)
            return Taken(known, step.batch.read_line(known.reply.data, known.role).verdict)
        return None

    def _known(self, step: Step, row: int) -> Iterator[KnownAnswer]:
        """What may be the answer to a row at a step: what it took there, in an edited pipeline elsewhere too."""
        if not self._has_some:
            return
        node_no = self._pairing.recorded.get(step.number)
        found = list(reuses_of_row(self._reader, self._run, row))
        there = [reuse for reuse in found if reuse.node_no == node_no]
        elsewhere = [reuse for reuse in found if reuse.node_no != node_no] if self._pairing.is_edited else []
        for reuse in (*there, *elsewhere):
            if (known := self._read(step, row, reuse)) is not None:
                yield known

    def _differs(self, step: Step, row: int, known: KnownAnswer, line: bytes) -> None:
        sides = [data.decode("utf-8", "replace").removesuffix("\n") for data in (known.request.data, line)]
        self._findings.differ(
            Sort.REQUEST, row=row, step=step.name, field="request", recorded=sides[0], replayed=sides[1]
        )

    def _read(self, step: Step, row: int, reuse: Reuse) -> KnownAnswer | None:
        """The lines; None when they cannot be read, which is noted."""
        refs = [(reuse.request_ref, reuse.request_hash), (reuse.reply_ref, reuse.reply_hash)]
        if any(self._payloads.is_missing(parse_reference(*ref).segment_no) for ref in refs):
            self._findings.cannot_replay(row, FILES)
            return None
        try:
            return answer_of_reuse(self._payloads, reuse)
        except TrailError as error:
            self._findings.cannot_replay(row, DAMAGED)
            self._findings.differ(
                Sort.PAYLOAD,
                row=row,
                step=step.name,
                field="answer that was taken",
                recorded=reuse.reply_hash.hex(),
                replayed=error.message,
            )
            return None
