"""The recorder: the only writer of the Landscape.

What a run does is said here in its own words: rows, passages, outcomes, calls, batches,
events. The journal underneath gathers the records and makes them durable.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from operator import itemgetter
from typing import Any

from elspeth.contracts import (
    BatchPhase,
    BodyRef,
    BodySink,
    CallIntent,
    CallRecord,
    CallScope,
    CallStatus,
    CallType,
    FileRole,
    NodeStep,
    Outcome,
    PayloadClass,
    RunStatus,
)
from elspeth.core.canonical import canonical_json, compact_json, sha256
from elspeth.core.landscape.buffers import JourneyStep, LineColumns
from elspeth.core.landscape.journal import Journal
from elspeth.core.landscape.reuses import Reuse
from elspeth.core.payloads import FRAME_BYTES, BodyWriter, SegmentWriter

__all__ = ["BatchRecorder", "CallRecorder", "LandscapeRecorder"]


class LandscapeRecorder:
    """Records one run: its rows and events here, its calls and batches through ``calls`` and ``batches``."""

    def __init__(self, journal: Journal, *, run_id: str, started_at: int, code_version: str) -> None:
        self.run_id = run_id
        self.journal = journal
        self.calls = CallRecorder(journal, run_id=run_id)
        self.batches = BatchRecorder(journal)
        self._started_at = started_at
        self._code_version = code_version

    def add_rows(self, indexes: Sequence[int], lines: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Records source records by column: index, line, SHA-256 of the stored bytes."""
        self.journal.gathered.rows.add(indexes, lines, hashes)

    def add_key(self, key: str, row: int) -> None:
        """Records the key of a row."""
        self.journal.add("row_keys", key=key, row_index=row)

    def add_passages(self, rows: Sequence[int], steps: Sequence[NodeStep], hashes: Sequence[Sequence[bytes]]) -> None:
        """Records tokens that went the same way.

        ``hashes`` has a column, with a hash for each row, for each step that changed them, in order.
        """
        if rows:
            self.journal.gathered.passages.add(rows, self._journey(steps, len(hashes)), hashes)

    def add_failed_passage(
        self, row: int, steps: Sequence[NodeStep], hashes: Sequence[bytes], error: Mapping[str, Any]
    ) -> None:
        """Records the way of a token that failed at the last step; ``error`` has code, message and detail."""
        self.journal.add(
            "passages",
            row_index=row,
            path=b"",
            journey_no=self.journal.gathered.passages.add_journey(self._journey(steps, len(hashes))),
            output_hashes=b"".join(hashes) or None,
            error_json=compact_json(error),
        )

    def _journey(self, steps: Sequence[NodeStep], hash_count: int) -> list[JourneyStep]:
        if sum(step.is_changed for step in steps) != hash_count:
            raise ValueError(f"{hash_count} hashes do not fit the steps {steps}")
        numbers = count()
        return [
            (
                step.node_no,
                step.attempt,
                step.status.value,
                step.route,
                next(numbers) if step.is_changed else None,
                step.started_at - self._started_at,
                step.duration_us,
            )
            for step in steps
        ]

    def add_versions(self, versions: Sequence[tuple[Sequence[int], Sequence[bytes]]]) -> None:
        """Stores new bytes of rows, given by column: as they came, and after each step that changed them.

        They become frames of about `FRAME_BYTES`: whoever asks for one row decompresses a frame of each version.
        """
        rows, lines = _by_row(versions)
        frame_count = sum(map(len, lines)) // FRAME_BYTES + 1
        lines_a_row, rows_a_frame = len(lines) // len(rows), len(rows) // frame_count + 1
        for start in range(0, len(rows), rows_a_frame):
            some = rows[start : start + rows_a_frame]
            theirs = lines[start * lines_a_row : (start + len(some)) * lines_a_row]
            self.add_row_bytes(theirs, first_row=some[0], last_row=some[-1])

    def add_row_bytes(self, versions: Iterable[bytes], *, first_row: int, last_row: int) -> None:
        """Stores all versions of neighbouring rows, row by row, as the lines of one frame."""
        _, segment = self.journal.payloads.shared(PayloadClass.ROWS)
        segment.append_frame(b"\n".join([*versions, b""]), first_row=first_row, last_row=last_row)

    def add_reuse(self, row: int, reuse: Reuse) -> None:
        """Records that a token took an answer that was there already."""
        self.journal.add(
            "reuses",
            row_index=row,
            path=b"",
            node_no=reuse.node_no,
            from_run=reuse.from_run,
            from_row=reuse.from_row,
            from_batch=reuse.from_batch,
            from_attempt=reuse.from_attempt,
            request_hash=reuse.request_hash,
            request_ref=reuse.request_ref,
            role=reuse.role.value,
            reply_hash=reuse.reply_hash,
            reply_ref=reuse.reply_ref,
            input_tokens=reuse.input_tokens,
            output_tokens=reuse.output_tokens,
            is_simulated=int(reuse.is_simulated),
        )

    def add_reused_line(self, line: bytes) -> BodyRef:
        """Stores a line of another run, so that this one needs nothing of it."""
        return _store_body(self.journal, line, PayloadClass.FILES, stem="reused")

    def add_outcomes(
        self,
        rows: Sequence[int],
        *,
        outcome: Outcome,
        step_no: int | None,
        sink_no: int | None,
        sink_lines: Sequence[int],
        reason: str | None = None,
    ) -> None:
        """Records how tokens ended that ended alike; ``sink_lines`` (1-based, one for each) count only with a sink."""
        self.journal.gathered.outcomes.add(
            rows, outcome=outcome.value, step_no=step_no, sink_no=sink_no, sink_lines=sink_lines, reason=reason
        )

    def add_run_event(self, status: RunStatus, detail: Mapping[str, Any] | None = None) -> None:
        """Records where the run stands."""
        self.journal.add(
            "run_events",
            event_no=self.journal.counters.run_event_no,
            at=self.journal.clock.now_us(),
            status=status.value,
            host=socket.gethostname(),
            pid=os.getpid(),
            code_version=self._code_version,
            detail_json=None if detail is None else compact_json(detail),
        )
        self.journal.counters.run_event_no += 1

    def add_rejected_bytes(self, raw: bytes) -> BodyRef:
        """Stores the bytes of a record that is no row."""
        return _store_body(self.journal, raw, PayloadClass.ROWS, stem="rejected")

    def add_file(self, name: str, data: bytes) -> None:
        """Stores a file that the run was configured with."""
        ref = _store_body(self.journal, data, PayloadClass.FILES)
        self.journal.add("run_files", name=name, hash=ref.sha256, ref=str(ref))

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
        *,
        node_no: int | None = None,
        row_index: int | None = None,
        operation: str | None = None,
    ) -> str:
        """Records a call to a system without an HTTP seam; mappings are stored as canonical JSON."""
        latency_us = round((latency_ms or 0.0) * 1000)
        request = self.calls.store_body(_as_bytes(request_data))
        response = None if response_data is None else self.calls.store_body(_as_bytes(response_data))
        envelope = canonical_json({"call_type": call_type.word, "status": status.word})
        return self.calls.add_call(
            CallRecord(
                scope=CallScope(node_no=node_no, row_index=row_index),
                call_type=call_type,
                operation=operation or call_type.word,
                status=status,
                started_at=self.journal.clock.now_us() - latency_us,
                latency_us=latency_us,
                request=request,
                response=response,
                envelope=self.calls.store_body(envelope),
                error=error,
            )
        )


class CallRecorder:
    """Keeps external calls: the `CallLog` under the recording transport."""

    def __init__(self, journal: Journal, *, run_id: str) -> None:
        self._journal = journal
        self._run_id = run_id
        self._scope = CallScope()
        self._open_lanes: set[int] = set()
        self.last_response: BodyRef | None = None

    @property
    def scope(self) -> CallScope:
        """On whose behalf calls are made now."""
        return self._scope

    @contextmanager
    def on_behalf_of(self, scope: CallScope) -> Iterator[None]:
        """Calls within the block are made on behalf of ``scope``."""
        previous, self._scope = self._scope, scope
        try:
            yield
        finally:
            self._scope = previous

    def open_body(self, scope: CallScope) -> BodySink:
        """A sink for one body: a segment of its own when the scope asks for one, else the shared one.

        A body that begins while another is still open (an answer that is read piece by piece while further
        calls are made) goes to a second shared segment, so that each body's bytes lie next to each other.
        """
        payloads = self._journal.payloads
        if scope.response_name is not None and scope.batch_no is not None and scope.response_role is not None:
            number, segment = payloads.batch_file(scope.batch_no, scope.response_role, name=scope.response_name)
            return BodyWriter(number, segment, on_close=lambda: payloads.finish(number))
        lane = next(lane for lane in count(1) if lane not in self._open_lanes)
        self._open_lanes.add(lane)
        shared = payloads.shared(PayloadClass.CALLS, stem=None if lane == 1 else f"calls-{lane}")
        return BodyWriter(*shared, on_close=lambda: self._open_lanes.discard(lane))

    def store_body(self, data: bytes) -> BodyRef:
        """Stores one body at once."""
        sink = self.open_body(CallScope())
        sink.write(data)
        return sink.close()

    def intend(self, intent: CallIntent) -> int:
        """Makes an intent durable, with everything recorded before it, and returns its number."""
        number = self._journal.counters.intent_no
        self._journal.counters.intent_no += 1
        self._journal.add(
            "call_intents",
            intent_no=number,
            at=self._journal.clock.now_us(),
            operation=intent.operation,
            method=intent.method,
            url=intent.url,
            node_no=intent.scope.node_no,
            batch_no=intent.scope.batch_no,
            request_hash=intent.request.sha256,
            request_ref=str(intent.request),
            request_bytes=intent.request.length,
        )
        self._journal.commit_durably()
        return number

    def add_call(self, call: CallRecord) -> str:
        """Records an attempt and returns its call id; durable on return when it had an intent."""
        number = self._journal.counters.call_no
        self._journal.counters.call_no += 1
        self.last_response = response = call.response
        self._journal.add(
            "calls",
            call_no=number,
            intent_no=call.intent_no,
            node_no=call.scope.node_no,
            batch_no=call.scope.batch_no,
            row_index=call.scope.row_index,
            call_type=call.call_type.value,
            operation=call.operation,
            method=call.method,
            url=call.url,
            status=call.status.value,
            http_status=call.http_status,
            started_at=call.started_at,
            latency_us=call.latency_us,
            request_hash=call.request.sha256,
            request_ref=str(call.request),
            response_hash=None if response is None else response.sha256,
            response_ref=None if response is None else str(response),
            envelope_hash=call.envelope.sha256,
            envelope_ref=str(call.envelope),
            provider_request_id=call.provider_request_id,
            is_simulated=int(call.is_simulated),
            error_json=None if call.error is None else compact_json(call.error),
        )
        if call.intent_no is not None:
            self._journal.commit_durably()
        return f"{self._run_id}:{number}"


class BatchRecorder:
    """Keeps batches: what they are, what happened to them, and where each row's lines stand."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def open_batch(self, *, node_no: int, attempt: int, parent_no: int | None) -> int:
        """Records a new batch and returns its number."""
        number = self._journal.counters.batch_no
        self._journal.counters.batch_no += 1
        self._journal.add(
            "batches",
            batch_no=number,
            node_no=node_no,
            attempt=attempt,
            parent_no=parent_no,
            opened_at=self._journal.clock.now_us(),
        )
        return number

    def open_file(self, batch_no: int, role: FileRole, *, name: str) -> tuple[int, SegmentWriter]:
        """A new segment for a file of a batch, by number and writer."""
        return self._journal.payloads.batch_file(batch_no, role, name=name)

    def reopen_file(self, segment_no: int) -> SegmentWriter:
        """The writer of an open batch's request file."""
        return self._journal.payloads.writer(segment_no)

    def finish_file(self, segment_no: int) -> None:
        """Closes a segment that takes no more, after the next commit."""
        self._journal.payloads.finish(segment_no)

    def add_lines(self, lines: LineColumns, *, batch_no: int, role: FileRole, segment_no: int) -> None:
        """Records where rows' lines stand in a file of a batch; rows with equal requests may share a line."""
        self._journal.gathered.members.add(lines, batch_no=batch_no, role=role.value, segment_no=segment_no)

    def event_count(self, batch_no: int) -> int:
        """How many events a batch has."""
        return self._journal.counters.batch_event_no.get(batch_no, 0)

    def add_event(self, batch_no: int, event: str, phase: BatchPhase, detail: Mapping[str, Any] | None = None) -> None:
        """Records what happened to a batch."""
        numbers = self._journal.counters.batch_event_no
        number = numbers.get(batch_no, 0)
        numbers[batch_no] = number + 1
        self._journal.add(
            "batch_events",
            batch_no=batch_no,
            event_no=number,
            at=self._journal.clock.now_us(),
            event=event,
            phase=phase.value,
            detail_json=compact_json(detail or {}),
        )


def _store_body(journal: Journal, data: bytes, payload_class: PayloadClass, *, stem: str | None = None) -> BodyRef:
    """Stores one body in a segment that the run shares for such bodies."""
    number, segment = journal.payloads.shared(payload_class, stem=stem)
    return BodyRef(number, segment.append(data), len(data), sha256(data))


def _as_bytes(data: bytes | Mapping[str, Any]) -> bytes:
    return data if isinstance(data, bytes) else canonical_json(data)


def _by_row(versions: Sequence[tuple[Sequence[int], Sequence[bytes]]]) -> tuple[Sequence[int], list[bytes]]:
    """The bytes of columns, row by row, each row's in the order of the columns, and whose they are.

    Rows that all have a version in each column are named once, others with each version.
    """
    rows = versions[0][0]
    if all(others == rows for others, _ in versions):
        return rows, list(chain.from_iterable(zip(*[column for _, column in versions], strict=True)))
    pairs = [pair for rows, column in versions for pair in zip(rows, column, strict=True)]
    pairs.sort(key=itemgetter(0))
    return [row for row, _ in pairs], [data for _, data in pairs]
