"""The recorded answers to the requests of a run.

What a provider's file holds is indexed again as the harvest did it, from the whole file;
the slices that the harvest recorded are compared, not trusted.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import BatchTransform, FileRole, LineVerdict, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.engine.answers import MOST_SET_ASIDE, RESULT_FILES, Answers, SetAside, download_of, index_answers
from elspeth.engine.batch import Batch, custom_id, fold_batches
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.rows import DAMAGED
from elspeth.engine.replay.stretch import Member, Stretch

__all__ = ["FILES", "AnswerBook"]

FILES = "files"
Aside = tuple[str, int, str]


class _Open(Struct, frozen=True):
    """A batch whose files are indexed; without ``answers`` they cannot be read, and ``fault`` says why."""

    batch: Batch
    answers: Answers | None
    fault: str = ""


class AnswerBook:
    """Finds answers by batch and row. Indexes stay for as long as rows of their batches may come."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, findings: Findings, *, scratch: Path) -> None:
        self._reader = reader
        self._run = run
        self._findings = findings
        self._scratch = scratch
        self._payloads = Payloads(reader, run)
        self._batches = {batch.number: batch for batch in fold_batches(reader, run.run_no)}
        self._open: dict[int, _Open] = {}

    def batch(self, number: int) -> Batch:
        """A batch as its events left it."""
        if number not in self._batches:
            raise TrailError(f"batch_members of run {self._run.run_id} name batch {number}, which is not recorded")
        return self._batches[number]

    def close_before(self, row: int) -> None:
        """Lets go of the batches that have only rows before ``row``."""
        for number, entry in list(self._open.items()):
            if entry.batch.last_row < row:
                self._close(number)

    def close(self) -> None:
        """Lets go of all."""
        for number in list(self._open):
            self._close(number)

    def verdict(
        self, transform: BatchTransform, step: str, member: Member, request_id: str, row: int, *, stretch: Stretch
    ) -> LineVerdict | None:
        """What was answered to a request that a row took part in; None when that cannot be read, which is noted."""
        entry = self._indexed(transform, step, member.batch_no)
        if entry.answers is None:
            self._findings.cannot_replay(row, entry.fault)
            return None
        verdict, place, line = entry.answers.verdict(transform, entry.batch, request_id)
        found = None
        if place is not None and line is not None and (ref := download_of(entry.batch, place.role)) is not None:
            where = Member(member.batch_no, ref.segment_no, place.position, place.start, len(line), sha256(line))
            found = (place.role, where)
        recorded = stretch.replies.get((row, member.batch_no))
        if recorded != found:
            self._compare(step, row, recorded, found)
        return verdict

    def line(self, member: Member) -> bytes | None:
        """A recorded line; None when it cannot be read."""
        try:
            return self._payloads.segment(member.segment_no).read(member.start, member.length)
        except TrailError:
            return None

    def _compare(
        self, step: str, row: int, recorded: tuple[FileRole, Member] | None, found: tuple[FileRole, Member] | None
    ) -> None:
        if recorded is not None and found is not None and recorded[1].line_hash != found[1].line_hash:
            one, other = recorded[1].line_hash.hex(), found[1].line_hash.hex()
            self._findings.differ(Sort.REPLY, row=row, step=step, field="reply (sha256)", recorded=one, replayed=other)
            return
        places = [
            ABSENT if side is None else f"line {side[1].position + 1} of the {side[0].word} file, byte {side[1].start}"
            for side in (recorded, found)
        ]
        self._findings.differ(
            Sort.REPLY, row=row, step=step, field="place of the reply", recorded=places[0], replayed=places[1]
        )

    def _indexed(self, transform: BatchTransform, step: str, batch_no: int) -> _Open:
        if batch_no not in self._open:
            self._open[batch_no] = self._index(transform, step, self.batch(batch_no))
        return self._open[batch_no]

    def _index(self, transform: BatchTransform, step: str, batch: Batch) -> _Open:
        refs = [ref for role in RESULT_FILES if (ref := download_of(batch, role)) is not None]
        if any(self._payloads.is_missing(ref.segment_no) for ref in refs):
            return _Open(batch, None, FILES)
        expected = {custom_id(row, batch.attempt) for row in self._members(batch)}
        aside: list[Aside] = []

        def set_aside(line: SetAside) -> None:
            if len(aside) < MOST_SET_ASIDE:
                aside.append((line.role.word, line.position + 1, line.kind))

        file = tempfile.TemporaryFile(prefix="elspeth-", dir=self._scratch)  # noqa: SIM115 - closed with its batch
        try:
            answers = index_answers(transform, expected, self._files(step, batch), file=file, on_set_aside=set_aside)
        except TrailError as error:
            file.close()
            self._differs(step, batch, "files", "as recorded", error.message)
            return _Open(batch, None, DAMAGED)
        self._compare_aside(step, batch, aside)
        return _Open(batch, answers)

    def _files(self, step: str, batch: Batch) -> Iterator[tuple[FileRole, Iterator[bytes]]]:
        for role in RESULT_FILES:
            ref = download_of(batch, role)
            if ref is not None:
                yield role, self._checked(step, batch, role)

    def _checked(self, step: str, batch: Batch, role: FileRole) -> Iterator[bytes]:
        """The pieces of a file; a hash that is not the recorded one is noted, and they are used all the same."""
        ref = download_of(batch, role)
        if ref is None:
            return
        digest = hashlib.sha256()
        segment = self._payloads.segment(ref.segment_no)
        for chunk in segment.chunks():
            digest.update(chunk)
            yield chunk
        if digest.digest() != ref.sha256:
            place = f"{segment.path.name} (sha256)"
            self._differs(step, batch, place, ref.sha256.hex(), digest.hexdigest())

    def _differs(self, step: str, batch: Batch, place: str, recorded: str, replayed: str) -> None:
        field = f"batch {batch.number}: {place}"
        self._findings.differ(Sort.PAYLOAD, row=None, step=step, field=field, recorded=recorded, replayed=replayed)

    def _compare_aside(self, step: str, batch: Batch, aside: list[Aside]) -> None:
        """The lines that went to no row: file, number and kind, as many as a harvest notes."""
        recorded = set(
            self._reader.query(
                "SELECT json_extract(detail_json, '$.role'), json_extract(detail_json, '$.line'), "
                "json_extract(detail_json, '$.kind') FROM batch_events "
                "WHERE run_no = ? AND batch_no = ? AND event = 'line_set_aside'",
                self._run.run_no,
                batch.number,
            )
        )
        for role, line, kind in sorted(recorded ^ set(aside)):
            sides = (kind, ABSENT) if (role, line, kind) in recorded else (ABSENT, kind)
            field = f"batch {batch.number}: line {line} of the {role} file, set aside"
            self._findings.differ(Sort.REPLY, row=None, step=step, field=field, recorded=sides[0], replayed=sides[1])

    def _members(self, batch: Batch) -> Iterator[int]:
        for (row,) in self._reader.stream(
            "SELECT row_index FROM batch_members WHERE run_no = ? AND row_index BETWEEN ? AND ? "
            "AND batch_no = ? AND role = ?",
            self._run.run_no,
            batch.first_row,
            batch.last_row,
            batch.number,
            FileRole.REQUEST.value,
        ):
            yield row

    def _close(self, number: int) -> None:
        entry = self._open.pop(number)
        if entry.answers is not None:
            entry.answers.file.close()
