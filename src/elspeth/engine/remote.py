"""The remote life of a batch: upload, wait for the file, create, watch.

One small step at a time, each of which leaves a record, and none of which waits: when a
step is not due yet, the batch says when it is. Every failure of the provider becomes an
event of the batch with the time of the next attempt, or, when only a person can help,
an error that ends the process and leaves the run resumable. Nothing is sent again while
an earlier send may have arrived: an unknown outcome is looked up first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar, cast

from elspeth.contracts import (
    AuthError,
    BatchFacts,
    BatchPhase,
    BatchProvider,
    BatchState,
    BodyRef,
    CallScope,
    CredentialsError,
    FileFacts,
    FileRole,
    FileState,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RunError,
)
from elspeth.core.calls import Redactor
from elspeth.core.payloads import SegmentStream
from elspeth.engine.batches import Batch, Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.reconcile import find_file, find_jobs

__all__ = ["RemoteSteps"]

T = TypeVar("T")
_US = 1_000_000
_FILE_POLL_S = 2.0
_MOST_LOOKS_FOR_FILES = 10
_MOST_BACKOFF_IN_POLLS = 10

_PERMANENT_FAULTS = frozenset(
    {
        "duplicate_custom_id",
        "empty_batch",
        "empty_file",
        "input_modified",
        "input_no_permissions",
        "invalid_json_line",
        "invalid_request",
        "model_mismatch",
        "model_not_found",
        "too_many_tasks",
        "url_mismatch",
    }
)


class RemoteSteps:
    """Takes batches one step further. ``is_submitting`` false keeps new work back."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        *,
        batches: Batches,
        providers: Callable[[Step], BatchProvider],
        redactor: Redactor,
    ) -> None:
        self._plan = plan
        self._batches = batches
        self._providers = providers
        self._recorder = ledger.recorder
        self._payloads = ledger.payloads
        self._redactor = redactor
        self._clock = ledger.clock
        self._origin_run = ledger.run.run_id
        self.is_submitting = True
        self.stalled: dict[int, str] = {}

    def can_move(self, batch: Batch) -> bool:
        """Whether there is a step to take, now or later."""
        if batch.phase in {BatchPhase.OPEN, BatchPhase.LOST} or batch.number in self.stalled:
            return False
        match batch.phase:
            case BatchPhase.SEALED:
                return self._may_submit(batch)
            case BatchPhase.READY:
                return self.is_submitting or batch.unsure is not None
            case _:
                return True

    def is_due(self, batch: Batch) -> bool:
        """Whether there is a step to take now."""
        if self.is_ready_to_harvest(batch) or not self.can_move(batch):
            return False
        return batch.next_at <= self._clock.now_us()

    def is_ready_to_harvest(self, batch: Batch) -> bool:
        """Whether a batch has ended and all of its files are here."""
        return batch.phase is BatchPhase.ENDED and not _files_to_fetch(batch)

    def take(self, batch: Batch) -> None:
        """Takes the step that is due."""
        step = self._plan.steps[batch.node_no]
        provider = self._providers(step)
        news_before = self._recorder.batches.event_count(batch.number)
        match batch.phase:
            case BatchPhase.SEALED if batch.unsure:
                self._find_upload(batch, provider)
            case BatchPhase.SEALED:
                self._upload(batch, provider)
            case BatchPhase.UPLOADED:
                self._await_file(batch, provider)
            case BatchPhase.READY if batch.unsure:
                self._find_job(batch, provider, self._grace_s(step))
            case BatchPhase.READY:
                self._create(batch, provider)
            case BatchPhase.CREATED:
                self._watch(batch, provider, self._poll_s(step))
            case BatchPhase.ENDED:
                self._download(batch, provider)
            case _:
                raise RuntimeError(f"batch {batch.number} has no step to take in phase {batch.phase.word}")
        if self._recorder.batches.event_count(batch.number) > news_before:
            self._recorder.journal.commit_durably()

    def _may_submit(self, batch: Batch) -> bool:
        step = self._plan.steps[batch.node_no]
        limit = step.batch.limits.max_batches_in_flight if step.batch is not None else 0
        return batch.unsure is not None or (self.is_submitting and self._batches.in_flight(batch.node_no) < limit)

    # Upload

    def _upload(self, batch: Batch, provider: BatchProvider) -> None:
        body = BodyRef(batch.segment_no, 0, batch.bytes, bytes.fromhex(batch.sha256))
        segment = self._payloads.segment(batch.segment_no)
        with SegmentStream(segment.chunks, size=batch.bytes) as stream:
            facts = self._attempt(
                batch,
                "files.create",
                lambda: provider.upload(batch.name, cast(IO[bytes], stream), batch.bytes),
                scope=self._scope(batch, request_body=body),
            )
        if facts is not None:
            self._uploaded(batch, facts, "uploaded")

    def _find_upload(self, batch: Batch, provider: BatchProvider) -> None:
        """An upload costs nothing: look for it once by name and size, and otherwise send it again."""
        found = self._attempt(batch, "files.list", lambda: find_file(provider, batch.name, batch.bytes))
        if found is None:
            return
        if found:
            self._uploaded(batch, found[0], "adopted_file")
        else:
            self._not_found(batch, "upload_not_found", "files.create")

    def _uploaded(self, batch: Batch, facts: FileFacts, event: str) -> None:
        detail: dict[str, Any] = {"file_id": facts.id, "unsure": None, "tries": 0, "next_at": 0, "looks": 0}
        phase = BatchPhase.READY if facts.state is FileState.READY else BatchPhase.UPLOADED
        self._note(batch, event, phase, {**detail, "file_status": facts.raw_status})

    def _await_file(self, batch: Batch, provider: BatchProvider) -> None:
        file_id = batch.file_id or ""
        try:
            facts = self._attempt(batch, "files.retrieve", lambda: provider.file(file_id), is_missing_raised=True)
        except NotFoundError as error:
            times_gone = batch.times_gone + 1
            detail = {"file_id": None, "message": error.message, "tries": 0, "times_gone": times_gone}
            next_at = self._later(self._backoff_s(times_gone))
            self._note(batch, "file_gone", BatchPhase.SEALED, {**detail, "next_at": next_at})
            if times_gone % self._plan.max_attempts == 0:
                self.stalled[batch.number] = "the provider does not keep the file that it was sent"
            return
        if facts is None:
            return
        match facts.state:
            case FileState.READY:
                self._note(batch, "ready", BatchPhase.READY, {"file_status": facts.raw_status, "tries": 0})
            case FileState.PREPARING:
                batch.looks += 1
                batch.next_at = self._later(min(_FILE_POLL_S, 0.25 * batch.looks))
            case FileState.FAILED | FileState.GONE:
                fault = {"code": "file_error", "message": facts.detail or f"the file is {facts.raw_status}"}
                self._note(batch, "ended", BatchPhase.ENDED, {"end_state": "failed", "faults": [fault]})

    # Create

    def _create(self, batch: Batch, provider: BatchProvider) -> None:
        file_id = batch.file_id or ""
        metadata = {
            "elspeth_run": self._origin_run,
            "elspeth_batch": str(batch.number),
            "elspeth_attempt": str(batch.attempt),
        }
        facts = self._attempt(batch, "batches.create", lambda: provider.create(file_id, metadata))
        if facts is not None:
            self._created(batch, facts, "created")

    def _find_job(self, batch: Batch, provider: BatchProvider, grace_s: float) -> None:
        """A job costs money: create another only when a complete listing after the grace shows none."""
        is_complete_at = batch.intended_at + int(grace_s * _US)
        listed_at = self._clock.now_us()
        jobs = self._attempt(batch, "batches.list", lambda: find_jobs(provider, batch.file_id or ""))
        if jobs is None:
            return
        if jobs:
            self._created(batch, jobs[0], "adopted_job")
            for extra in jobs[1:]:
                self._cancel(batch, provider, extra)
        elif listed_at < is_complete_at:
            self._note(batch, "job_not_listed", batch.phase, {"next_at": is_complete_at})
        else:
            self._not_found(batch, "job_not_found", "batches.create")

    def _not_found(self, batch: Batch, event: str, operation: str) -> None:
        """What was sent did not arrive: it may be sent again, but not for ever."""
        self._note(batch, event, batch.phase, {"unsure": None, "next_at": 0})
        if batch.tries >= self._plan.max_attempts:
            self.stalled[batch.number] = f"{operation}: no answer came, and nothing arrived"

    def _cancel(self, batch: Batch, provider: BatchProvider, extra: BatchFacts) -> None:
        """Stops a job too many. One that has ended cannot be stopped; then its state is what there is to record."""

        def cancel() -> BatchFacts:
            try:
                return provider.cancel(extra.id)
            except (RefusedError, OutcomeUnknownError):
                return provider.batch(extra.id)

        facts = self._attempt(batch, "batches.cancel", cancel)
        status = None if facts is None else facts.raw_status
        self._note(batch, "extra_job", batch.phase, {"extra_batch_id": extra.id, "extra_status": status})

    def _created(self, batch: Batch, facts: BatchFacts, event: str) -> None:
        self._note(
            batch,
            event,
            BatchPhase.CREATED,
            {
                "batch_id": facts.id,
                "provider_status": facts.raw_status,
                "created_at": self._clock.now_us(),
                "unsure": None,
                "tries": 0,
                "looks": 0,
                "next_at": self._later(self._poll_s(self._plan.steps[batch.node_no])),
            },
        )

    # Watch

    def _watch(self, batch: Batch, provider: BatchProvider, poll_s: float) -> None:
        batch_id = batch.batch_id or ""
        try:
            facts = self._attempt(batch, "batches.retrieve", lambda: provider.batch(batch_id), is_missing_raised=True)
        except NotFoundError as error:
            self._miss(batch, provider, error)
            return
        if facts is None:
            return
        batch.tries = 0
        if not facts.state.is_terminal or self._is_waiting_for_files(batch, facts):
            batch.next_at = self._later(poll_s)
            self._warn_if_overdue(batch)
            if facts.raw_status != batch.provider_status:
                self._note(batch, "polled", BatchPhase.CREATED, _progress(facts))
            return
        if facts.is_over_quota:
            times_queued = batch.times_queued + 1
            next_at = self._later(self._backoff_s(times_queued))
            detail = {"batch_id": None, "times_queued": times_queued, "next_at": next_at}
            self._note(batch, "queued", BatchPhase.READY, {**detail, "code": "token_limit_exceeded"})
            return
        self._note(batch, "ended", BatchPhase.ENDED, {**_progress(facts), **_ending(facts)})

    def _warn_if_overdue(self, batch: Batch) -> None:
        """An alarm, once, and never a deadline: a job that takes long is still ours."""
        step = self._plan.steps[batch.node_no]
        age_us = self._clock.now_us() - batch.created_at
        if step.batch is not None and not batch.is_overdue and age_us > step.batch.limits.warn_after_s * _US:
            self._note(batch, "overdue", batch.phase, {"is_overdue": True})

    def _is_waiting_for_files(self, batch: Batch, facts: BatchFacts) -> bool:
        """`completed` can be told before the files are; they are waited for a little."""
        if facts.state is not BatchState.COMPLETED or facts.output_file_id or facts.error_file_id:
            return False
        batch.looks += 1
        return batch.looks <= _MOST_LOOKS_FOR_FILES

    def _miss(self, batch: Batch, provider: BatchProvider, error: NotFoundError) -> None:
        """The provider does not know a job that it accepted: look in its list, then leave it to a person."""
        jobs = self._attempt(batch, "batches.list", lambda: find_jobs(provider, batch.file_id or ""))
        if jobs is None:
            return
        if any(job.id == batch.batch_id for job in jobs):
            batch.next_at = self._later(_FILE_POLL_S)
        else:
            self._note(batch, "lost", BatchPhase.LOST, {"message": error.message})

    # Download

    def _download(self, batch: Batch, provider: BatchProvider) -> None:
        role, file_id = _files_to_fetch(batch)[0]
        name = f"{self._plan.names[batch.node_no]}-b{batch.number:04d}-a{batch.attempt}-{role.word}.jsonl"
        scope = CallScope(node_no=batch.node_no, batch_no=batch.number, response_name=name, response_role=role)

        def fetch() -> BodyRef:
            provider.download(file_id)
            ref = self._recorder.calls.last_response
            if ref is None:
                raise RuntimeError("a download leaves a recorded body")
            return ref

        try:
            ref = self._attempt(batch, "files.content", fetch, scope=scope, is_missing_raised=True)
        except NotFoundError as error:
            self._note(batch, "results_lost", BatchPhase.LOST, {"message": error.message, "file_id_lost": file_id})
            return
        if ref is not None:
            downloads = {**batch.downloads, role.word: {"ref": str(ref), "sha256": ref.sha256.hex()}}
            self._note(batch, "downloaded", BatchPhase.ENDED, {"downloads": downloads, "tries": 0, "next_at": 0})

    # Attempts

    def _attempt(
        self,
        batch: Batch,
        operation: str,
        call: Callable[[], T],
        *,
        scope: CallScope | None = None,
        is_missing_raised: bool = False,
    ) -> T | None:
        """The call's result, or None when it failed in a way that the batch has taken note of."""
        try:
            with self._recorder.calls.on_behalf_of(scope or self._scope(batch)):
                return call()
        except OutcomeUnknownError as error:
            now = self._clock.now_us()
            detail = {"unsure": operation, "intended_at": now, "next_at": self._later(1.0), "message": error.message}
            self._note(batch, "outcome_unknown", batch.phase, {**detail, "tries": batch.tries + 1})
        except AuthError as error:
            self._note(batch, "refused", batch.phase, _fault(operation, error))
            raise CredentialsError(error.message, hint=error.hint) from error
        except NotFoundError as error:
            if is_missing_raised:
                raise
            self._give_up(batch, operation, error)
        except RefusedError as error:
            self._give_up(batch, operation, error)
        except ProviderError as error:
            self._back_off(batch, operation, error)
        return None

    def _give_up(self, batch: Batch, operation: str, error: ProviderError) -> None:
        self._note(batch, "refused", batch.phase, _fault(operation, error))
        self._recorder.journal.commit_durably()
        hint = error.hint or "Nothing is lost: mend the cause and resume the run."
        raise RunError(f"batch {batch.number}: {operation}: {error.message}", hint=hint) from error

    def _back_off(self, batch: Batch, operation: str, error: ProviderError) -> None:
        """A transient fault: later. Watching goes on for days; sending gives up for this process after some tries."""
        tries = batch.tries + 1
        is_sending = operation in {"files.create", "batches.create"}
        delay = self._backoff_s(tries)
        if not is_sending:
            step = self._plan.steps[batch.node_no]
            delay = min(delay, _MOST_BACKOFF_IN_POLLS * self._poll_s(step))
        if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
            delay = max(error.retry_after_s, 0.0)
        detail = {**_fault(operation, error), "tries": tries, "next_at": self._later(delay)}
        self._note(batch, "queued" if isinstance(error, QuotaError) else "failed_attempt", batch.phase, detail)
        if is_sending and not isinstance(error, QuotaError) and tries >= self._plan.max_attempts:
            self.stalled[batch.number] = f"{operation}: {error.message}"

    def _backoff_s(self, tries: int) -> float:
        return float(min(self._plan.initial_backoff_s * 2 ** min(tries - 1, 30), self._plan.max_backoff_s))

    def _later(self, seconds: float) -> int:
        return self._clock.now_us() + int(seconds * _US)

    def _scope(self, batch: Batch, request_body: BodyRef | None = None) -> CallScope:
        return CallScope(node_no=batch.node_no, batch_no=batch.number, request_body=request_body)

    def _note(self, batch: Batch, event: str, phase: BatchPhase, detail: Mapping[str, Any]) -> None:
        """Records an event; a provider's own words may hold the key that it was shown."""
        self._batches.note(batch, event, phase, self._redactor.redact_value(dict(detail)))

    @staticmethod
    def _poll_s(step: Step) -> float:
        return step.batch.limits.poll_interval_s if step.batch is not None else 0.0

    @staticmethod
    def _grace_s(step: Step) -> float:
        return step.batch.limits.reconcile_grace_s if step.batch is not None else 0.0


def _files_to_fetch(batch: Batch) -> list[tuple[FileRole, str]]:
    files = ((FileRole.OUTPUT, batch.output_file_id), (FileRole.ERROR, batch.error_file_id))
    return [(role, file_id) for role, file_id in files if file_id and role.word not in batch.downloads]


def is_permanent(faults: list[dict[str, Any]]) -> bool:
    """Whether a batch that failed for these reasons would fail again."""
    return any(fault.get("code") in _PERMANENT_FAULTS for fault in faults)


def _fault(operation: str, error: ProviderError) -> dict[str, Any]:
    return {
        "operation": operation,
        "message": error.message,
        "code": error.code,
        "http_status": error.http_status,
    }


def _progress(facts: BatchFacts) -> dict[str, Any]:
    return {
        "provider_status": facts.raw_status,
        "total": facts.total,
        "completed": facts.completed,
        "failed": facts.failed,
    }


def _ending(facts: BatchFacts) -> dict[str, Any]:
    return {
        "end_state": facts.state.value,
        "output_file_id": facts.output_file_id,
        "error_file_id": facts.error_file_id,
        "faults": [{"code": f.code, "message": f.message, "line": f.line} for f in facts.faults],
        "next_at": 0,
        "looks": 0,
    }
