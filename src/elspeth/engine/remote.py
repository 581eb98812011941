"""The remote life of a batch: upload, wait for the file, create, watch, bring home.

One small step at a time, each of which leaves a record, and none of which waits: when a
step is not due yet, the batch says when it is. Nothing is sent again while an earlier
send may have arrived: an unknown outcome is looked up first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elspeth.contracts import (
    BatchFacts,
    BatchPhase,
    BatchProvider,
    BatchState,
    BodyRef,
    CallScope,
    FileRole,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from elspeth.engine.allowance import Allowance
from elspeth.engine.attempts import Attempts
from elspeth.engine.batch import Batch
from elspeth.engine.batches import Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan, Step
from elspeth.engine.reconcile import find_jobs
from elspeth.engine.uploads import Uploads

__all__ = ["RemoteSteps"]

_US = 1_000_000
_SOON_S = 2.0
_MOST_LOOKS_FOR_FILES = 10
_FEW_LOOKS_FOR_FILES = 3

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
    """Takes batches one step further."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        *,
        batches: Batches,
        allowance: Allowance,
        attempts: Attempts,
        providers: Callable[[Step], BatchProvider],
    ) -> None:
        self._plan = plan
        self._batches = batches
        self._allowance = allowance
        self._attempts = attempts
        self._providers = providers
        self._recorder = ledger.recorder
        self._clock = ledger.clock
        self._origin_run = ledger.run.run_id
        self._uploads = Uploads(plan, ledger, attempts)

    def can_move(self, batch: Batch) -> bool:
        """Whether there is a step to take, now or later."""
        if batch.phase in {BatchPhase.OPEN, BatchPhase.LOST} or batch.number in self._attempts.stalled:
            return False
        if batch.phase in {BatchPhase.SEALED, BatchPhase.READY}:
            return batch.unsure is not None or self._allowance.hold(batch) is None
        return True

    def is_due(self, batch: Batch) -> bool:
        """Whether there is a step to take now."""
        if self.is_ready_to_harvest(batch) or not self.can_move(batch):
            return False
        return batch.next_at <= self._clock.now_us()

    def is_ready_to_harvest(self, batch: Batch) -> bool:
        """Whether a batch has ended, all of its files are here, and nothing of it is left at the provider."""
        return batch.phase is BatchPhase.ENDED and not _files_to_fetch(batch) and not batch.may_stray

    def take(self, batch: Batch) -> None:
        """Takes the step that is due."""
        step = self._plan.steps[batch.node_no]
        news_before = self._recorder.batches.event_count(batch.number)
        self._take(batch, step, self._providers(step))
        if self._recorder.batches.event_count(batch.number) > news_before:
            self._recorder.journal.commit_durably()

    def _take(self, batch: Batch, step: Step, provider: BatchProvider) -> None:
        match batch.phase:
            case BatchPhase.SEALED if batch.unsure:
                self._uploads.find(batch, provider)
            case BatchPhase.SEALED:
                self._uploads.send(batch, provider)
            case BatchPhase.UPLOADED:
                self._uploads.await_processed(batch, provider)
            case BatchPhase.READY if batch.unsure:
                self._find_job(batch, provider, step)
            case BatchPhase.READY:
                self._create(batch, provider)
            case BatchPhase.CREATED:
                (self._cancel if batch.is_cancel_due else self._watch)(batch, provider)
            case BatchPhase.ENDED if _files_to_fetch(batch):
                self._download(batch, provider)
            case BatchPhase.ENDED:
                self._uploads.delete_strays(batch, provider)
            case _:
                raise RuntimeError(f"batch {batch.number} has no step to take in phase {batch.phase.word}")

    def want_cancelled(self, who: str) -> list[Batch]:
        """Notes that ``who`` wants every job cancelled that is with the provider; returns those that are known.

        One that may be there is cancelled when it is found.
        """
        there = [b for b in self._batches.live.values() if b.is_enqueued and not b.is_cancel_due]
        for batch in there:
            detail = {"is_cancel_due": True, "cancelled_by": who, "tries": 0, "next_at": 0}
            self._attempts.note(batch, "cancel_wanted", batch.phase, detail)
        self._recorder.journal.commit_durably()
        return [batch for batch in there if batch.phase is BatchPhase.CREATED]

    # Create

    def _create(self, batch: Batch, provider: BatchProvider) -> None:
        file_id = batch.file_id or ""
        metadata = {
            "elspeth_run": self._origin_run,
            "elspeth_batch": str(batch.number),
            "elspeth_attempt": str(batch.attempt),
        }
        raised = () if batch.is_file_doubted else (NotFoundError,)
        try:
            facts = self._attempts.make(
                batch, "batches.create", lambda: provider.create(file_id, metadata), raised=raised
            )
        except NotFoundError as error:  # the file or the deployment: looking at the file tells
            detail = {"is_file_doubted": True, "message": error.message, "looks": 0}
            self._attempts.note(batch, "file_doubted", BatchPhase.UPLOADED, detail)
            return
        if facts is not None:
            self._created(batch, facts, "created")

    def _find_job(self, batch: Batch, provider: BatchProvider, step: Step) -> None:
        """A job costs money: create another only when a complete listing after the grace shows none."""
        grace_s = step.batch.limits.reconcile_grace_s if step.batch is not None else 0.0
        is_complete_at = batch.intended_at + int(grace_s * _US)
        listed_at = self._clock.now_us()
        jobs = self._attempts.make(batch, "batches.list", lambda: find_jobs(provider, batch.file_id or ""))
        if jobs is None:
            return
        if jobs:
            self._created(batch, jobs[0], "adopted_job")
            for job in jobs[1:]:
                extra = self._batches.add_extra(batch, job)
                detail = {"extra_batch_id": job.id, "extra_batch": extra.number, "extra_status": job.raw_status}
                self._attempts.note(batch, "extra_job", batch.phase, detail)
        elif listed_at < is_complete_at:
            self._attempts.note(batch, "job_not_listed", batch.phase, {"next_at": is_complete_at})
        else:
            again = {"unsure": None, "next_at": 0, "is_cancel_due": False, "cancelled_by": None}
            self._attempts.note(batch, "job_not_found", batch.phase, again)
            self._attempts.give_up_if_spent(batch, "batches.create: no answer came, and nothing arrived")

    def _created(self, batch: Batch, facts: BatchFacts, event: str) -> None:
        detail = {
            "batch_id": facts.id,
            "provider_status": facts.raw_status,
            "created_at": self._clock.now_us(),
            "unsure": None,
            "tries": 0,
            "sends": 0,
            "looks": 0,
            "is_file_doubted": False,
            "next_at": 0 if batch.is_cancel_due else self._attempts.later(self._attempts.poll_s(batch)),
        }
        self._attempts.note(batch, event, BatchPhase.CREATED, detail)

    # Cancel

    def _cancel(self, batch: Batch, provider: BatchProvider) -> None:
        """Asks for it until there is an answer; what then becomes of the job, only looking at it tells."""
        batch_id = batch.batch_id or ""
        answered = {"is_cancel_due": False, "tries": 0, "next_at": 0}
        try:
            facts = self._attempts.make(
                batch,
                "batches.cancel",
                lambda: provider.cancel(batch_id),
                raised=(NotFoundError, OutcomeUnknownError, RefusedError),
            )
        except (NotFoundError, OutcomeUnknownError, RefusedError) as error:
            self._attempts.note(batch, "cancel_refused", batch.phase, {**answered, "message": error.message})
            return
        if facts is not None:
            self._attempts.note(batch, "cancel_accepted", batch.phase, {**answered, **_progress(facts)})
        elif batch.tries >= self._plan.max_attempts:
            self._attempts.note(batch, "cancel_given_up", batch.phase, answered)

    # Watch

    def _watch(self, batch: Batch, provider: BatchProvider) -> None:
        batch_id = batch.batch_id or ""
        try:
            facts = self._attempts.make(
                batch, "batches.retrieve", lambda: provider.batch(batch_id), raised=(NotFoundError,)
            )
        except NotFoundError as error:
            self._miss(batch, provider, error)
            return
        if facts is None:
            return
        batch.tries = 0
        if not facts.state.is_terminal or self._is_waiting_for_files(batch, facts):
            batch.next_at = self._attempts.later(self._attempts.poll_s(batch))
            self._warn_if_overdue(batch)
            if facts.raw_status != batch.provider_status:
                self._attempts.note(batch, "polled", BatchPhase.CREATED, _progress(facts))
        elif facts.is_over_quota and not batch.is_extra:
            times_queued = batch.times_queued + 1
            next_at = self._attempts.later(self._attempts.backoff_s(times_queued))
            detail = {"batch_id": None, "times_queued": times_queued, "next_at": next_at}
            self._attempts.note(batch, "queued", BatchPhase.READY, {**detail, "code": "token_limit_exceeded"})
        elif _lacks_answers(facts):
            message = f"the job is {facts.raw_status} and names no file with its answers"
            self._lose(batch, "results_lost", {**_progress(facts), "message": message})
        else:
            self._attempts.note(batch, "ended", BatchPhase.ENDED, {**_progress(facts), **_ending(facts)})

    def _warn_if_overdue(self, batch: Batch) -> None:
        """An alarm, once, and never a deadline: a job that takes long is still ours."""
        step = self._plan.steps[batch.node_no]
        age_us = self._clock.now_us() - batch.created_at
        if step.batch is not None and not batch.is_overdue and age_us > step.batch.limits.warn_after_s * _US:
            self._attempts.note(batch, "overdue", batch.phase, {"is_overdue": True})

    def _is_waiting_for_files(self, batch: Batch, facts: BatchFacts) -> bool:
        """An end can be told before the files are, one file before the other; they are waited for a little.

        Counts can be wrong: that nothing was answered, or nothing failed, only makes the wait shorter.
        """
        is_failed = facts.state is BatchState.FAILED and (not facts.completed or facts.is_over_quota)
        is_output_late = not facts.output_file_id and not is_failed
        is_error_late = facts.state is BatchState.COMPLETED and bool(facts.failed) and not facts.error_file_id
        if not (is_output_late or is_error_late):
            return False
        is_likely = is_output_late and facts.completed != 0
        if batch.looks >= (_MOST_LOOKS_FOR_FILES if is_likely else _FEW_LOOKS_FOR_FILES):
            return False
        self._attempts.note(batch, "files_awaited", batch.phase, {"looks": batch.looks + 1})
        return True

    def _miss(self, batch: Batch, provider: BatchProvider, error: NotFoundError) -> None:
        """The provider does not know a job that it accepted: look in its list, then leave it to a person."""
        jobs = self._attempts.make(batch, "batches.list", lambda: find_jobs(provider, batch.file_id or ""))
        if jobs is None:
            return
        if any(job.id == batch.batch_id for job in jobs):
            batch.next_at = self._attempts.later(_SOON_S)
        else:
            self._lose(batch, "lost", {"message": error.message})

    def _lose(self, batch: Batch, event: str, detail: dict[str, Any]) -> None:
        """Its results are not to be had. Nobody waits for those of a job too many."""
        if batch.is_extra:
            nothing = {"output_file_id": None, "error_file_id": None, "lost_jobs": batch.lost_jobs + 1}
            self._attempts.note(batch, event, BatchPhase.ENDED, {**detail, **nothing})
        else:
            self._attempts.note(batch, event, BatchPhase.LOST, detail)

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
            ref = self._attempts.make(batch, "files.content", fetch, scope=scope, raised=(NotFoundError, RefusedError))
        except (NotFoundError, RefusedError) as error:
            self._lose(batch, "results_lost", {"message": error.message, "file_id_lost": file_id})
            return
        if ref is not None:
            downloads = {**batch.downloads, role.word: {"ref": str(ref), "sha256": ref.sha256.hex()}}
            detail = {"downloads": downloads, "tries": 0, "next_at": 0}
            self._attempts.note(batch, "downloaded", BatchPhase.ENDED, detail)


def is_permanent(faults: list[dict[str, Any]]) -> bool:
    """Whether a batch that failed for these reasons would fail again."""
    return any(fault.get("code") in _PERMANENT_FAULTS for fault in faults)


def _lacks_answers(facts: BatchFacts) -> bool:
    """Whether there must be answers that are paid and no file holds them: a person says whether to pay again."""
    if facts.output_file_id or any(fault.code in _PERMANENT_FAULTS for fault in facts.faults):
        return False
    return bool(facts.completed) or (facts.state is BatchState.COMPLETED and not facts.error_file_id)


def _files_to_fetch(batch: Batch) -> list[tuple[FileRole, str]]:
    files = ((FileRole.OUTPUT, batch.output_file_id), (FileRole.ERROR, batch.error_file_id))
    return [(role, file_id) for role, file_id in files if file_id and role.word not in batch.downloads]


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
