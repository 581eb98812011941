"""The recorded calls that transforms made for their rows, in the order in which a replay asks for them.

Calls stand in the trail as they were made: by every process that worked on the run, also
one that died before it could record what came of them. What counts for a row is what the
process saw that recorded its state; an earlier one's calls are evidence, but not of this.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from elspeth.contracts import CallType, RunStatus, TrailError
from elspeth.core.calls.replaying import RecordedCall, match_key
from elspeth.core.canonical import decode_json
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.reader import read_json
from elspeth.core.payloads import parse_reference
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.rows import DAMAGED
from elspeth.engine.replay.stretch import Stretch

__all__ = ["CallBook", "StepCalls"]

CALLS = "calls"
_LOST: dict[str, Any] = {"type": "ConnectError", "message": "nobody knows what came of this request"}
_COLUMNS = (
    "row_index, node_no, call_no, commit_no, call_type, method, url, status, http_status, request_hash, request_ref, "
    "response_hash, response_ref, envelope_hash, envelope_ref, error_json"
)


class Call(Struct, frozen=True):
    """A record of ``calls``, as far as a replay needs it."""

    row_index: int
    node_no: int
    call_no: int
    commit_no: int
    call_type: int
    method: str | None
    url: str | None
    status: int
    http_status: int | None
    request_hash: bytes
    request_ref: str
    response_hash: bytes | None
    response_ref: str | None
    envelope_hash: bytes
    envelope_ref: str
    error_json: str | None


class CallBook:
    """The calls of the rows of one stretch; rows come in ascending order."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, pairing: Pairing, findings: Findings) -> None:
        self._reader = reader
        self._run = run
        self._pairing = pairing
        self.findings = findings
        self.payloads = Payloads(reader, run)
        self._starts = [
            commit
            for (commit,) in reader.query(
                "SELECT commit_no FROM run_events WHERE run_no = ? AND status = ? ORDER BY commit_no",
                run.run_no,
                RunStatus.RUNNING.value,
            )
        ]
        self._calls = self._all()
        self._next = next(self._calls, None)
        self._here: dict[tuple[int | None, int], list[Call]] = {}
        self._keys: dict[int, bytes] = {}
        self._open_intents = self._without_answer()

    def begin(self, stretch: Stretch) -> None:
        """Gathers the calls of the stretch's rows, those that made what is recorded of them."""
        self._here.clear()
        self._keys.clear()
        while self._next is not None and self._next.row_index <= stretch.last:
            call, self._next = self._next, next(self._calls, None)
            state = stretch.states.get((call.row_index, call.node_no))
            if state is None or self._process(state[1]) == self._process(call.commit_no):
                self._here.setdefault((call.node_no, call.row_index), []).append(call)

    def end(self, stretch: Stretch) -> None:
        """Notes the calls that nobody made again, unless the row's step is not in the plan or never came to it."""
        partners = set(self._pairing.recorded.values())
        for (node_no, row), calls in self._here.items():
            if self._pairing.is_edited or node_no not in partners or self.findings.has_ended(row):
                continue
            for call in calls if (row, node_no) in stretch.states else ():
                place = f"{call.method or CallType(call.call_type).word} {call.url or ''}".strip()
                self.findings.differ(Sort.CALL, row=row, step=None, field="call", recorded=place, replayed=ABSENT)

    def take(self, node_no: int | None, row: int, key: bytes) -> Call | None:
        """The next call with that key that the row made at a node; of an edited pipeline's row, at any node."""
        places = [(node_no, row)]
        if self._pairing.is_edited:
            places += [place for place in self._here if place[1] == row and place[0] != node_no]
        for place in places:
            calls = self._here.get(place, [])
            for at, call in enumerate(calls):
                if self._key(call) == key:
                    return calls.pop(at)
        return None

    def is_open_intent(self, node_no: int | None, key: bytes) -> bool:
        """Whether a request with that key was sent by a node, and no process lived to record what came of it."""
        return (node_no, key) in self._open_intents

    def _key(self, call: Call) -> bytes:
        if call.call_no not in self._keys:
            self._keys[call.call_no] = self._key_of(call)
        return self._keys[call.call_no]

    def _key_of(self, call: Call) -> bytes:
        if call.call_type != CallType.HTTP or call.method is None or call.url is None:
            return call.request_hash
        stored, content_type = None, ""
        try:
            content_type = _header(self.envelope(call), "content-type")
            if content_type.startswith("multipart/"):
                stored = self.payloads.body_at(call.request_ref, call.request_hash)
        except TrailError as error:
            self.damage(call, error)
        return match_key(call.method, call.url, stored, stored_sha256=call.request_hash, content_type=content_type)

    def envelope(self, call: Call) -> dict[str, Any]:
        """What the envelope of a call says."""
        envelope: dict[str, Any] = decode_json(self.payloads.body_at(call.envelope_ref, call.envelope_hash))
        return envelope

    def damage(self, call: Call, error: TrailError) -> None:
        """Notes a payload of a call that is gone or not what it was; the row cannot go on."""
        is_gone = any(
            self.payloads.is_missing(parse_reference(ref, b"").segment_no)
            for ref in (call.request_ref, call.response_ref, call.envelope_ref)
            if ref is not None
        )
        self.findings.cannot_replay(call.row_index, CALLS if is_gone else DAMAGED)
        if not is_gone:
            self.findings.differ(
                Sort.PAYLOAD,
                row=call.row_index,
                step=None,
                field=f"call {call.call_no}",
                recorded="as recorded",
                replayed=error.message,
            )

    def _process(self, commit_no: int) -> int:
        """Which of the run's processes wrote a commit."""
        return bisect_right(self._starts, commit_no)

    def _all(self) -> Iterator[Call]:
        """Every call that was made for a row, by row; the database sorts them, on the disk if need be."""
        for record in self._reader.stream(
            f"SELECT {_COLUMNS} FROM calls WHERE run_no = ? AND row_index IS NOT NULL AND node_no IS NOT NULL "  # noqa: S608
            "ORDER BY row_index, node_no, call_no",
            self._run.run_no,
        ):
            yield Call(*record)

    def _without_answer(self) -> set[tuple[int | None, bytes]]:
        """Intents of transforms of which no call tells what came, by node and key."""
        return {
            (node_no, match_key(method, url, None, stored_sha256=digest, content_type=""))
            for node_no, method, url, digest in self._reader.query(
                "SELECT i.node_no, i.method, i.url, i.request_hash FROM call_intents i WHERE i.run_no = ? "
                "AND i.batch_no IS NULL AND i.node_no IS NOT NULL AND NOT EXISTS "
                "(SELECT 1 FROM calls c WHERE c.run_no = i.run_no AND c.intent_no = i.intent_no)",
                self._run.run_no,
            )
        }


class StepCalls:
    """The calls of one step, for its row that is being worked on. Implements `elspeth.core.calls.CallSource`."""

    def __init__(self, book: CallBook, *, node_no: int | None, step: str) -> None:
        self._book = book
        self._node_no = node_no
        self._step = step
        self.row_index: int | None = None

    def next_call(self, key: bytes) -> RecordedCall | None:
        """The next recorded answer to that request; a lost connection where nobody knows the answer."""
        row = -1 if self.row_index is None else self.row_index
        call = self._book.take(self._node_no, row, key)
        if call is None:
            return RecordedCall(status=None, error=_LOST) if self._book.is_open_intent(self._node_no, key) else None
        try:
            return self._answer(call)
        except TrailError as error:
            self._book.damage(call, error)
            return None

    def refuse(self, request: str) -> None:
        """Notes that the row would make a request that was never made."""
        row = -1 if self.row_index is None else self.row_index
        if self._book.findings.has_ended(row):
            return
        self._book.findings.differ(
            Sort.CALL, row=self.row_index, step=self._step, field="call", recorded=ABSENT, replayed=request
        )
        self._book.findings.would_ask(row, self._step)

    def record_call(self, request: bytes, *, status: int, response: bytes | None, error: str | None) -> str | None:
        """Compares a call that has no HTTP seam with the record; returns its number, None when there is no such."""
        row = -1 if self.row_index is None else self.row_index
        call = self._book.take(self._node_no, row, request)
        if call is None:
            return None
        recorded = (call.status, call.response_hash, call.error_json)
        if recorded != (status, response, error):
            self._book.findings.differ(
                Sort.CALL,
                row=self.row_index,
                step=self._step,
                field=f"call {call.call_no}",
                recorded=_shown(*recorded),
                replayed=_shown(status, response, error),
            )
        return str(call.call_no)

    def _answer(self, call: Call) -> RecordedCall:
        error = None if call.error_json is None else read_json(call.error_json, f"calls {call.call_no}")
        if call.http_status is None:
            return RecordedCall(status=None, error=error)
        headers = self._book.envelope(call).get("response", {}).get("headers", [])
        body = b""
        if call.response_ref is not None and call.response_hash is not None:
            body = self._book.payloads.body_at(call.response_ref, call.response_hash)
        is_whole = error is None or error.get("type") == "http_status"
        return RecordedCall(
            status=call.http_status,
            headers=[(name, value) for name, value in headers],
            body=body,
            error=None if is_whole else error,
        )


def _header(envelope: dict[str, Any], name: str) -> str:
    headers = envelope.get("request", {}).get("headers", [])
    return next((str(value) for key, value in headers if str(key).lower() == name), "")


def _shown(status: int, response: bytes | None, error: str | None) -> dict[str, Any]:
    return {
        "status": status,
        "response_sha256": None if response is None else response.hex(),
        "error": None if error is None else decode_json(error),
    }
