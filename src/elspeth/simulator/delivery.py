"""How an answer leaves: whole, or broken as the fault plan says.

Whoever sends gives `record` the fate of the answer before the client can
know it: (status, SHA-256 and number of the entity bytes sent).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from elspeth.simulator.connection import Receive, Scope, Send, disconnected, reset, transport_of
from elspeth.simulator.exchange import Answer
from elspeth.simulator.faults import Action

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """`status` None: nothing was answered."""

    status: int | None = None
    sha256: str | None = None
    size: int = 0


NOTHING_SENT = Fate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    scope: Scope
    receive: Receive
    send: Send
    record: Callable[[Fate], None]

    async def stall(self) -> None:
        self.record(NOTHING_SENT)
        await disconnected(self.receive)

    async def reset(self) -> None:
        self.record(NOTHING_SENT)
        reset(transport_of(self.scope))
        await disconnected(self.receive)

    async def answer(self, answer: Answer, action: Action) -> None:
        if action.word == "malformed_json":
            answer = _halved(answer)
        size = answer.size
        allowed = size // 2 if action.word == "truncate" else size
        await self.send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in {**answer.headers, "content-length": str(size)}.items()
                ],
            }
        )
        await self._send_entity(answer, allowed=allowed, is_whole=allowed == size)
        if allowed < size:
            transport_of(self.scope).close()
            await disconnected(self.receive)

    async def _send_entity(self, answer: Answer, *, allowed: int, is_whole: bool) -> None:
        hasher, sent = hashlib.sha256(), 0
        transport = transport_of(self.scope)
        for chunk in _chunks(answer, allowed):
            hasher.update(chunk)
            sent += len(chunk)
            if sent == allowed or transport.is_closing():
                self.record(Fate(status=answer.status, sha256=hasher.hexdigest(), size=sent))
            await self.send(
                {"type": "http.response.body", "body": chunk, "more_body": not (is_whole and sent == allowed)}
            )
            if transport.is_closing():
                return


def _chunks(answer: Answer, allowed: int) -> Iterator[bytes]:
    """At least one, if need be an empty one."""
    if answer.path is None:
        yield answer.body[:allowed]
        return
    with answer.path.open("rb") as stream:
        left = allowed
        while True:
            chunk = stream.read(min(CHUNK_BYTES, left))
            yield chunk
            left -= len(chunk)
            if left == 0 or not chunk:
                return


def _halved(answer: Answer) -> Answer:
    body = answer.body if answer.path is None else answer.path.read_bytes()
    return replace(answer, body=body[: len(body) // 2] or b"{", path=None)
