"""Batch steps in a replay: requests are rendered anew and compared, answers come from the recorded files.

What a clock or a race decided is in the trail: in which batch a row was, and which attempt
was the last. The dance of uploads and polls decided nothing but which files came home, so
it is not danced again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from elspeth.contracts import LineVerdict, RowError, RunError, TransformResult
from elspeth.core.canonical import RowCodec
from elspeth.engine.answers import may_retry, result_of
from elspeth.engine.batch import Batch, custom_id
from elspeth.engine.plan import Step
from elspeth.engine.replay.answers import AnswerBook
from elspeth.engine.replay.findings import Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.requests import Asked, RecordedRequests, Request
from elspeth.engine.replay.stretch import Stretch
from elspeth.engine.tokens import Token

__all__ = ["Answered", "Asking"]


class Answered(Struct):
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
        self._requests = RecordedRequests(book, pairing, findings)
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
            token = request.token
            if self._findings.has_ended(token.index):
                continue
            asked = self._requests.find(step, transform, request, stretch)
            if asked is None:
                self._findings.would_ask(token.index, step.name)
                continue
            verdict = self._book.verdict(
                transform, step.name, asked.member, asked.request_id, token.index, stretch=stretch
            )
            if verdict is None:
                continue
            batch = self._book.batch(asked.member.batch_no)
            if self._is_asked_again(step, token, verdict, asked, batch, stretch):
                answered.again.append(_again(step, token, asked, batch))
            else:
                token.row = self._codecs[token.writer].decode(token.data)
                answered.tokens.append(token)
                answered.results.append(result_of(transform, token.row, verdict))
        return answered

    def _is_asked_again(
        self, step: Step, token: Token, verdict: LineVerdict, asked: Asked, batch: Batch, stretch: Stretch
    ) -> bool:
        """The record says whether the row was asked again; an edited step says it by itself."""
        would_ask = step.batch is not None and verdict.is_retryable and may_retry(step.batch, batch)
        if self._pairing.is_edited:
            return would_ask
        was_asked = stretch.request(token.index, asked.node_no, batch.attempt + 1) is not None
        if would_ask != was_asked:
            sides = ["asked again" if side else "not asked again" for side in (was_asked, would_ask)]
            self._findings.differ(
                Sort.ATTEMPT, row=token.index, step=step.name, field="attempt", recorded=sides[0], replayed=sides[1]
            )
        return was_asked


def _again(step: Step, token: Token, asked: Asked, batch: Batch) -> Request:
    if step.batch is None:
        raise RuntimeError("only batch transforms ask again")
    attempt = batch.attempt + 1
    line = step.batch.request_line(token.row, custom_id(token.index, attempt))
    if isinstance(line, RowError):
        raise RunError(f"row {token.index}: its request cannot be made a second time: {line.message}")
    return Request(token, line, attempt, asked.node_no)
