"""A batch's request file at the provider: sent, found again, waited for, and never left behind twice.

An upload costs nothing, so when nobody knows whether one arrived it is looked for once by
its unique name and size and otherwise sent again. A copy that shows up later is a stray:
it is recorded and deleted, at the latest when the batch's job has ended.
"""

from __future__ import annotations

from typing import IO, Any, cast

from elspeth.contracts import (
    AuthError,
    BatchPhase,
    BatchProvider,
    BodyRef,
    FileFacts,
    FileState,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from elspeth.core.payloads import SegmentStream
from elspeth.engine.attempts import Attempts
from elspeth.engine.batch import Batch
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan
from elspeth.engine.reconcile import find_file

__all__ = ["Uploads"]

_US = 1_000_000
_FIRST_WAIT_S = 0.25
_MOST_FILE_WAIT_S = 3_600.0


class Uploads:
    """Takes the steps of a batch that are about its request file."""

    def __init__(self, plan: Plan, ledger: Ledger, attempts: Attempts) -> None:
        self._plan = plan
        self._recorder = ledger.recorder
        self._payloads = ledger.payloads
        self._clock = ledger.clock
        self._attempts = attempts

    def send(self, batch: Batch, provider: BatchProvider) -> None:
        """Uploads the file, byte for byte what was sealed."""
        body = BodyRef(batch.segment_no, 0, batch.bytes, bytes.fromhex(batch.sha256))
        segment = self._payloads.segment(batch.segment_no)
        with SegmentStream(segment.chunks, size=batch.bytes) as stream:
            facts = self._attempts.make(
                batch,
                "files.create",
                lambda: provider.upload(batch.name, cast(IO[bytes], stream), batch.bytes),
                scope=self._attempts.scope(batch, request_body=body),
            )
        if facts is not None:
            self._uploaded(batch, facts, "uploaded", {})

    def find(self, batch: Batch, provider: BatchProvider) -> None:
        """Looks for a file that may have arrived; the oldest of several is ours."""
        found = self._attempts.make(batch, "files.list", lambda: find_file(provider, batch.name, batch.bytes))
        if found is None:
            return
        if found:
            self._uploaded(batch, found[0], "adopted_file", {"may_stray": batch.may_stray or len(found) > 1})
            return
        detail = {"unsure": None, "next_at": 0, "may_stray": True}
        self._attempts.note(batch, "upload_not_found", batch.phase, detail)
        self._attempts.give_up_if_spent(batch, "files.create: no answer came, and nothing arrived")

    def await_processed(self, batch: Batch, provider: BatchProvider) -> None:
        """Asks whether the provider can use the file yet; not for ever."""
        file_id = batch.file_id or ""
        try:
            facts = self._attempts.make(
                batch, "files.retrieve", lambda: provider.file(file_id), raised=(NotFoundError,)
            )
        except NotFoundError as error:
            self._gone(batch, error)
            return
        if facts is None:
            return
        match facts.state:
            case FileState.READY:
                detail = {"file_status": facts.raw_status, "tries": 0}
                self._attempts.note(batch, "ready", BatchPhase.READY, detail)
            case FileState.PREPARING:
                self._wait(batch, facts)
            case FileState.FAILED | FileState.GONE:
                fault = {"code": "file_error", "message": facts.detail or f"the file is {facts.raw_status}"}
                self._attempts.note(batch, "ended", BatchPhase.ENDED, {"end_state": "failed", "faults": [fault]})

    def delete_strays(self, batch: Batch, provider: BatchProvider) -> None:
        """Deletes copies of the file that showed up after it was sent again; what cannot be deleted expires."""
        done = {"may_stray": False, "tries": 0, "next_at": 0}
        try:
            found = self._attempts.make(
                batch,
                "files.list",
                lambda: find_file(provider, batch.name, batch.bytes),
                raised=(AuthError, NotFoundError, RefusedError),
            )
        except (AuthError, NotFoundError, RefusedError) as error:  # the answers are here: they do not wait for this
            self._attempts.note(batch, "strays_left", batch.phase, {**done, "message": error.message})
            return
        if found is None:
            if batch.tries >= self._plan.max_attempts:
                self._attempts.note(batch, "strays_left", batch.phase, done)
            return
        for stray in found:
            if stray.id == batch.file_id:
                continue
            detail = {"stray_file_id": stray.id}
            self._attempts.note(batch, "stray_file", batch.phase, detail)
            self._recorder.journal.commit_durably()  # a delete may be repeated, so it has no intent that would do it
            is_deleted = self._delete(batch, stray, provider)
            if is_deleted is None:
                return
            self._attempts.note(batch, "stray_deleted" if is_deleted else "stray_left", batch.phase, detail)
        self._attempts.note(batch, "strays_deleted", batch.phase, done)

    def _delete(self, batch: Batch, stray: FileFacts, provider: BatchProvider) -> bool | None:
        """Whether the provider deleted it; None when that is to be tried again."""

        def delete() -> bool:
            provider.delete_file(stray.id)
            return True

        try:
            return self._attempts.make(
                batch, "files.delete", delete, raised=(NotFoundError, RefusedError, OutcomeUnknownError)
            )
        except NotFoundError:
            return True
        except (RefusedError, OutcomeUnknownError):
            return False

    def _uploaded(self, batch: Batch, facts: FileFacts, event: str, more: dict[str, Any]) -> None:
        phase = BatchPhase.READY if facts.state is FileState.READY else BatchPhase.UPLOADED
        detail = {
            "file_id": facts.id,
            "file_status": facts.raw_status,
            "uploaded_at": self._clock.now_us(),
            "unsure": None,
            "tries": 0,
            "sends": 0,
            "next_at": 0,
            "looks": 0,
        }
        self._attempts.note(batch, event, phase, {**detail, **more})

    def _wait(self, batch: Batch, facts: FileFacts) -> None:
        batch.looks += 1
        batch.next_at = self._attempts.later(min(self._attempts.poll_s(batch), _FIRST_WAIT_S * batch.looks))
        if self._clock.now_us() - batch.uploaded_at <= _MOST_FILE_WAIT_S * _US:
            return
        self._attempts.note(batch, "file_stuck", batch.phase, {"file_status": facts.raw_status, "next_at": 0})
        hours = (self._clock.now_us() - batch.uploaded_at) / _US / 3600
        self._attempts.stalled[batch.number] = (
            f"the provider has not made its file ready for {hours:.1f} hours ({facts.raw_status})"
        )

    def _gone(self, batch: Batch, error: NotFoundError) -> None:
        times_gone = batch.times_gone + 1
        detail = {
            "file_id": None,
            "message": error.message,
            "tries": 0,
            "times_gone": times_gone,
            "is_file_doubted": False,
            "may_stray": True,
            "next_at": self._attempts.later(self._attempts.backoff_s(times_gone)),
        }
        self._attempts.note(batch, "file_gone", BatchPhase.SEALED, detail)
        if times_gone % self._plan.max_attempts == 0:
            self._attempts.stalled[batch.number] = "the provider does not keep the file that it was sent"
