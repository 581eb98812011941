"""Which recorded request a row's request is: the one place that knows how rows came to their answers.

A row that shares the line of another one is asked under that row's custom id. Whoever
adds another way to an answer adds it here.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from elspeth.contracts import BatchTransform, RowError
from elspeth.core.canonical import sha256
from elspeth.engine.batch import custom_id
from elspeth.engine.plan import Step
from elspeth.engine.replay.answers import AnswerBook
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.stretch import Member, Stretch
from elspeth.engine.tokens import Token

__all__ = ["Asked", "RecordedRequests", "Request"]


class Request(Struct, frozen=True):
    """A row that waits at a batch step. ``node_no`` is the recorded node at which it was asked before, if it was."""

    token: Token
    line: bytes
    attempt: int = 0
    node_no: int | None = None


class Asked(Struct, frozen=True):
    """A recorded request: at which node, where its line stands, under which custom id."""

    node_no: int
    member: Member
    request_id: str


class RecordedRequests:
    """Finds the recorded request whose answer a row takes."""

    def __init__(self, book: AnswerBook, pairing: Pairing, findings: Findings) -> None:
        self._book = book
        self._pairing = pairing
        self._findings = findings

    def find(self, step: Step, transform: BatchTransform, request: Request, stretch: Stretch) -> Asked | None:
        """The request of the row at that step and attempt; None when nobody ever made it.

        In a replay of the recorded pipeline a line with other bytes is a difference, and its answer is taken all
        the same. An edited pipeline takes the answer to any request of the row that has the same body.
        """
        row = request.token.index
        partner = request.node_no if request.node_no is not None else self._pairing.recorded.get(step.number)
        member = stretch.request(row, partner, request.attempt)
        own_id = custom_id(row, request.attempt)
        if member is not None and partner is not None:
            if sha256(request.line) == member.line_hash:
                return Asked(partner, member, own_id)
            if (shared_id := self._shared_id(transform, request, member)) is not None:
                return Asked(partner, member, shared_id)
        if self._pairing.is_edited:
            return self._same_elsewhere(transform, request, stretch)
        recorded = ABSENT if member is None else _text(self._book.line(member), member.line_hash)
        self._findings.differ(
            Sort.REQUEST, row=row, step=step.name, field="request", recorded=recorded, replayed=_text(request.line)
        )
        return None if member is None or partner is None else Asked(partner, member, own_id)

    def _shared_id(self, transform: BatchTransform, request: Request, member: Member) -> str | None:
        """The custom id of the recorded line, when the row's own request under that id is this very line."""
        line = self._book.line(member)
        if line is None or sha256(line) != member.line_hash:
            return None
        other_id = transform.line_id(line)
        if other_id is None or not _is_line(transform, request.token, other_id, member):
            return None
        return other_id

    def _same_elsewhere(self, transform: BatchTransform, request: Request, stretch: Stretch) -> Asked | None:
        """A request of the row with the same body at another step or attempt.

        A request that is made again is the next attempt at the same node or none.
        """
        return None if request.node_no is not None else next(self._same(transform, request, stretch), None)

    def _same(self, transform: BatchTransform, request: Request, stretch: Stretch) -> Iterator[Asked]:
        token = request.token
        for node_no, attempt, member in stretch.requests.get(token.index, ()):
            request_id = custom_id(token.index, attempt)
            if _is_line(transform, token, request_id, member):
                yield Asked(node_no, member, request_id)
            elif (shared_id := self._shared_id(transform, request, member)) is not None:
                yield Asked(node_no, member, shared_id)


def _is_line(transform: BatchTransform, token: Token, request_id: str, member: Member) -> bool:
    line = transform.request_line(token.row, request_id)
    return not isinstance(line, RowError) and sha256(line) == member.line_hash


def _text(line: bytes | None, digest: bytes = b"") -> str:
    """A request line as text; its hash when nobody has it any more."""
    return f"sha256 {digest.hex()}" if line is None else line.decode("utf-8", "replace").removesuffix("\n")
