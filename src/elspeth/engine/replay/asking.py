"""Batch steps in a replay: requests are rendered anew and compared, answers come from the recorded files.

What a clock or a race decided is in the trail: in which batch a row was, and which attempt
was the last. The dance of uploads and polls decided nothing but which files came home, so
it is not danced again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elspeth.contracts import BatchTransform, LineVerdict, RowError, TransformResult
from elspeth.core.canonical import RowCodec, sha256
from elspeth.engine.answers import may_retry, result_of
from elspeth.engine.batch import custom_id
from elspeth.engine.plan import Step
from elspeth.engine.replay.answers import AnswerBook
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.stretch import Member, Stretch
from elspeth.engine.tokens import Token

__all__ = ["Answered", "Asking", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A row that waits at a batch step. ``node_no`` is the recorded node at which it was asked before, if it was."""

    token: Token
    line: bytes
    attempt: int = 0
    node_no: int | None = None


@dataclass(slots=True)
class Answered:
    """What came of requests: rows with their results, and rows that are asked again."""

    tokens: list[Token] = field(default_factory=list)
    results: list[TransformResult] = field(default_factory=list)
    again: list[Request] = field(default_factory=list)


class Asking:
    """Answers requests from the record of a stretch."""

    def __init__(
        self, book: AnswerBook, pairing: Pairing, findings: Findings, *, codecs: Mapping[int, RowCodec]
    ) -> None:
        self._book = book
        self._pairing = pairing
        self._findings = findings
        self._codecs = codecs

    def ask(self, step: Step, requests: Sequence[Request], stretch: Stretch) -> Answered:
        """Gives each row what was answered to its request."""
        transform = step.batch
        if transform is None:
            raise RuntimeError("only batch transforms make requests")
        answered = Answered()
        for request in requests:
            if self._findings.has_ended(request.token.index):
                continue
            found = self._recorded(step, transform, request, stretch)
            if found is None:
                self._findings.would_ask(request.token.index, step.name)
                continue
            node_no, member = found
            verdict = self._book.verdict(transform, step.name, member.batch_no, request.token.index, stretch=stretch)
            if verdict is not None:
                self._conclude(step, transform, request, verdict, node_no, member, stretch, answered)
        return answered

    def _recorded(
        self, step: Step, transform: BatchTransform, request: Request, stretch: Stretch
    ) -> tuple[int, Member] | None:
        """The recorded request whose answer the row takes, with its node."""
        row = request.token.index
        partner = request.node_no if request.node_no is not None else self._pairing.recorded.get(step.number)
        member = stretch.request(row, partner, request.attempt)
        if member is not None and partner is not None and sha256(request.line) == member.line_hash:
            return partner, member
        if self._pairing.is_edited:
            return self._same_elsewhere(transform, request, stretch)
        recorded = ABSENT if member is None else _text(self._book.line(member), member.line_hash)
        self._findings.differ(
            Sort.REQUEST, row=row, step=step.name, field="request", recorded=recorded, replayed=_text(request.line)
        )
        return None if member is None or partner is None else (partner, member)

    def _same_elsewhere(
        self, transform: BatchTransform, request: Request, stretch: Stretch
    ) -> tuple[int, Member] | None:
        """A request of the row with the same body at another step or attempt: the custom id names row and attempt.

        A request that is made again is the next attempt at the same node or none.
        """
        if request.node_no is not None:
            return None
        token = request.token
        for node_no, number, member in stretch.requests.get(token.index, ()):
            line = request.line
            if number != request.attempt:
                again = transform.request_line(token.row, custom_id(token.index, number))
                if isinstance(again, RowError):
                    return None
                line = again
            if sha256(line) == member.line_hash:
                return node_no, member
        return None

    def _conclude(
        self,
        step: Step,
        transform: BatchTransform,
        request: Request,
        verdict: LineVerdict,
        node_no: int,
        member: Member,
        stretch: Stretch,
        answered: Answered,
    ) -> None:
        """The record says whether the row was asked again; an edited step says it by itself."""
        token = request.token
        batch = self._book.batch(member.batch_no)
        following = stretch.request(token.index, node_no, batch.attempt + 1)
        would_ask = verdict.is_retryable and may_retry(transform, batch)
        if not self._pairing.is_edited:
            if would_ask != (following is not None):
                sides = ["asked again" if side else "not asked again" for side in (following is not None, would_ask)]
                self._findings.differ(
                    Sort.ATTEMPT, row=token.index, step=step.name, field="attempt", recorded=sides[0], replayed=sides[1]
                )
            would_ask = following is not None
        if not would_ask:
            token.row = self._codecs[token.writer].decode(token.data)
            answered.tokens.append(token)
            answered.results.append(result_of(transform, token.row, verdict))
            return
        line = transform.request_line(token.row, custom_id(token.index, batch.attempt + 1))
        if isinstance(line, RowError):
            raise RuntimeError(f"row {token.index}: its request cannot be made a second time: {line.message}")
        answered.again.append(Request(token, line, batch.attempt + 1, node_no))


def _text(line: bytes | None, digest: bytes = b"") -> str:
    """A request line as text; its hash when nobody has it any more."""
    return f"sha256 {digest.hex()}" if line is None else line.decode("utf-8", "replace").removesuffix("\n")
