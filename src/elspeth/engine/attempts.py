"""One attempt at one operation of a provider, and what a failure of it means for the batch.

Every failure becomes an event of the batch with the time of the next attempt, so that
the waiting outlives the process; or, when only a person can help, an error that ends
the process and leaves the run resumable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from elspeth.contracts import (
    AuthError,
    BatchPhase,
    BodyRef,
    CallScope,
    CredentialsError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RunError,
)
from elspeth.core.calls import Redactor
from elspeth.engine.batch import Batch
from elspeth.engine.batches import Batches
from elspeth.engine.ledger import Ledger
from elspeth.engine.plan import Plan

__all__ = ["Attempts"]

T = TypeVar("T")
_US = 1_000_000
_MOST_BACKOFF_IN_POLLS = 10


class Attempts:
    """Makes attempts on behalf of batches. ``stalled`` are those that this process gives up on, with the reason."""

    def __init__(self, plan: Plan, ledger: Ledger, *, batches: Batches, redactor: Redactor) -> None:
        self._plan = plan
        self._batches = batches
        self._recorder = ledger.recorder
        self._redactor = redactor
        self._clock = ledger.clock
        self.stalled: dict[int, str] = {}

    def make(
        self,
        batch: Batch,
        operation: str,
        call: Callable[[], T],
        *,
        scope: CallScope | None = None,
        raised: tuple[type[ProviderError], ...] = (),
    ) -> T | None:
        """The call's result, or None when it failed in a way that the batch has taken note of.

        Failures of the types in ``raised`` are the caller's business.
        """
        try:
            with self._recorder.calls.on_behalf_of(scope or self.scope(batch)):
                return call()
        except raised:
            raise
        except OutcomeUnknownError as error:
            detail = {"unsure": operation, "intended_at": self._clock.now_us(), "message": error.message}
            counts = {"tries": batch.tries + 1, "sends": batch.sends + 1, "next_at": self.later(1.0)}
            self.note(batch, "outcome_unknown", batch.phase, {**detail, **counts})
        except AuthError as error:
            self.note(batch, "refused", batch.phase, _fault(operation, error))
            raise CredentialsError(error.message, hint=error.hint) from error
        except (NotFoundError, RefusedError) as error:
            self.note(batch, "refused", batch.phase, _fault(operation, error))
            self._recorder.journal.commit_durably()
            hint = error.hint or "Nothing is lost: mend the cause and resume the run."
            raise RunError(f"batch {batch.number}: {operation}: {error.message}", hint=hint) from error
        except ProviderError as error:
            self._back_off(batch, operation, error)
        return None

    def give_up_if_spent(self, batch: Batch, reason: str) -> None:
        """After as many failed sends as the pipeline allows, leaves a batch to a later process."""
        if batch.sends >= self._plan.max_attempts:
            self.stalled[batch.number] = reason

    def note(self, batch: Batch, event: str, phase: BatchPhase, detail: Mapping[str, Any]) -> None:
        """Records an event; a provider's own words may hold the key that it was shown."""
        self._batches.note(batch, event, phase, self._redactor.redact_value(dict(detail)))

    def backoff_s(self, tries: int) -> float:
        """How long to wait after so many tries."""
        return float(min(self._plan.initial_backoff_s * 2 ** min(tries - 1, 30), self._plan.max_backoff_s))

    def later(self, seconds: float) -> int:
        """The instant so many seconds from now."""
        return self._clock.now_us() + int(seconds * _US)

    def poll_s(self, batch: Batch) -> float:
        """How long to wait between two looks at a job."""
        step = self._plan.steps[batch.node_no]
        return step.batch.limits.poll_interval_s if step.batch is not None else 0.0

    def scope(self, batch: Batch, request_body: BodyRef | None = None) -> CallScope:
        """On whose behalf a call is made."""
        return CallScope(node_no=batch.node_no, batch_no=batch.number, request_body=request_body)

    def _back_off(self, batch: Batch, operation: str, error: ProviderError) -> None:
        """A transient fault: later. Watching goes on for days; sending gives up for this process after some tries."""
        if isinstance(error, QuotaError):
            self._queue(batch, operation, error)
            return
        tries = batch.tries + 1
        is_sending = operation in {"files.create", "batches.create"}
        delay = self.backoff_s(tries)
        if not is_sending:
            delay = min(delay, _MOST_BACKOFF_IN_POLLS * self.poll_s(batch))
        if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
            delay = max(error.retry_after_s, self.backoff_s(1))  # a wish for none at all would be no pause
        detail = {"tries": tries, "sends": batch.sends + is_sending, "next_at": self.later(delay)}
        self.note(batch, "failed_attempt", batch.phase, {**_fault(operation, error), **detail})
        if is_sending:
            self.give_up_if_spent(batch, f"{operation}: {error.message}")

    def _queue(self, batch: Batch, operation: str, error: QuotaError) -> None:
        """A full queue means later, however often: that is no failed try."""
        times = batch.times_queued + 1
        detail = {"times_queued": times, "tries": 0, "next_at": self.later(self.backoff_s(times))}
        self.note(batch, "queued", batch.phase, {**_fault(operation, error), **detail})


def _fault(operation: str, error: ProviderError) -> dict[str, Any]:
    return {
        "operation": operation,
        "message": error.message,
        "code": error.code,
        "http_status": error.http_status,
    }
