"""What a failed attempt means: when the next one is, who gives up, and what is only the caller's business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from elspeth.contracts import (
    AuthError,
    BatchPhase,
    CredentialsError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RunError,
    TransientError,
)
from elspeth.core.calls import Redactor
from elspeth.engine.attempts import Attempts
from elspeth.engine.batch import Batch
from elspeth.testing import FakeClock

SECRET = "sk-0123456789"


class Notes:
    """Takes events of batches and applies them, as `Batches` does."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def note(self, batch: Batch, event: str, phase: BatchPhase, detail: dict[str, Any]) -> None:
        self.events.append((event, detail))
        batch.apply(phase, detail)


@contextmanager
def on_behalf_of(_scope: object) -> Iterator[None]:
    yield


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def batch() -> Batch:
    return Batch(number=1, node_no=1, attempt=0, parent_no=None, phase=BatchPhase.READY)


@pytest.fixture
def attempts(notes: Notes) -> Attempts:
    limits = SimpleNamespace(poll_interval_s=10.0)
    step = SimpleNamespace(batch=SimpleNamespace(limits=limits))
    plan: Any = SimpleNamespace(max_attempts=3, initial_backoff_s=1.0, max_backoff_s=300.0, steps={1: step})
    recorder = SimpleNamespace(
        calls=SimpleNamespace(on_behalf_of=on_behalf_of), journal=SimpleNamespace(commit_durably=lambda: None)
    )
    ledger: Any = SimpleNamespace(recorder=recorder, clock=FakeClock())
    batches: Any = notes
    return Attempts(plan, ledger, batches=batches, redactor=Redactor([SECRET]))


def raising(error: Exception) -> Any:
    def call() -> None:
        raise error

    return call


def test_what_succeeds_leaves_no_event(attempts: Attempts, batch: Batch, notes: Notes) -> None:
    assert attempts.make(batch, "batches.retrieve", lambda: 5) == 5
    assert notes.events == []


def test_sending_is_tried_later_and_later_and_then_left_to_another_process(attempts: Attempts, batch: Batch) -> None:
    waits = []
    for _ in range(3):
        assert attempts.make(batch, "batches.create", raising(TransientError("busy"))) is None
        waits.append(batch.next_at - attempts.later(0))
    assert waits == [1_000_000, 2_000_000, 4_000_000]
    assert attempts.stalled == {1: "batches.create: busy"}


def test_watching_goes_on_for_ever_and_never_slower_than_ten_polls(attempts: Attempts, batch: Batch) -> None:
    for _ in range(1_000):
        attempts.make(batch, "batches.retrieve", raising(TransientError("busy")))
    assert batch.next_at - attempts.later(0) == 100_000_000
    assert attempts.stalled == {}


def test_a_wish_to_be_asked_later_is_obeyed_however_long(attempts: Attempts, batch: Batch) -> None:
    attempts.make(batch, "batches.create", raising(RateLimitedError("slow", retry_after_s=86_400.0)))
    assert batch.next_at - attempts.later(0) == 86_400_000_000


def test_a_full_queue_is_no_failure_to_send(attempts: Attempts, batch: Batch, notes: Notes) -> None:
    for _ in range(10):
        attempts.make(batch, "batches.create", raising(QuotaError("full", code="token_limit_exceeded")))
    assert {event for event, _ in notes.events} == {"queued"}
    assert attempts.stalled == {}


def test_an_unknown_outcome_is_looked_up_before_anything_else(attempts: Attempts, batch: Batch) -> None:
    attempts.make(batch, "batches.create", raising(OutcomeUnknownError("lost")))
    assert (batch.unsure, batch.intended_at) == ("batches.create", attempts.later(0))


@pytest.mark.parametrize("error", [RefusedError("no"), NotFoundError("gone")])
def test_what_would_be_refused_again_ends_the_process(
    attempts: Attempts, batch: Batch, notes: Notes, error: ProviderError
) -> None:
    with pytest.raises(RunError, match=f"batch 1: batches.create: {error.message}"):
        attempts.make(batch, "batches.create", raising(error))
    assert [event for event, _ in notes.events] == ["refused"]


def test_refused_credentials_end_the_process(attempts: Attempts, batch: Batch) -> None:
    with pytest.raises(CredentialsError):
        attempts.make(batch, "batches.list", raising(AuthError("who are you")))


def test_what_the_caller_wants_to_see_is_not_noted(attempts: Attempts, batch: Batch, notes: Notes) -> None:
    with pytest.raises(NotFoundError):
        attempts.make(batch, "files.retrieve", raising(NotFoundError("gone")), raised=(NotFoundError,))
    assert notes.events == []


def test_a_provider_that_repeats_the_key_does_not_put_it_into_the_trail(
    attempts: Attempts, batch: Batch, notes: Notes
) -> None:
    attempts.make(batch, "batches.list", raising(TransientError(f"bad key {SECRET}")))
    assert SECRET not in str(notes.events)
