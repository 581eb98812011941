"""What is kept, what is held, what is purged, and what the trail says of it."""

from __future__ import annotations

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.contracts import (
    BatchPhase,
    PayloadClass,
    PurgeAction,
    PurgedError,
    RunStatus,
)
from elspeth.core.landscape import LandscapeRecorder, Payloads, RunHeader, SealFolder
from elspeth.core.landscape.retention import (
    Purge,
    add_purge,
    count_remote_batches,
    grade_of,
    is_sealed,
    keeping_of,
    last_event_at,
    purges_of,
    require_unpurged,
)

START = 1_704_067_200_000_000
ROWS, CALLS, FILES = PayloadClass


def record(recorder: LandscapeRecorder, *what: tuple[PurgeAction, PayloadClass | None]) -> None:
    for action, payload_class in what:
        add_purge(recorder.journal, action, who="ana@host", why=action.word, payload_class=payload_class)
    recorder.journal.commit_durably()


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    return trail.new_run()


@pytest.fixture
def recorder(trail: Trail, run: RunHeader) -> LandscapeRecorder:
    return trail.recorder(run)


def test_holds_and_purges_are_read_back_in_order_by_run(trail: Trail) -> None:
    runs = [trail.new_run(), trail.new_run()]
    for number, run in enumerate(runs):
        journal = trail.recorder(run).journal
        add_purge(journal, PurgeAction.HELD, who="ana@host", why=f"inquiry {number}")
        detail = {"files": 2, "bytes": 9}
        add_purge(journal, PurgeAction.PURGED, who="bo@host", why="90 days", payload_class=ROWS, detail=detail)
        journal.commit_durably()

    assert [
        Purge(event_no=0, at=START, action=PurgeAction.HELD, payload_class=None, who="ana@host", why="inquiry 1"),
        Purge(
            event_no=1,
            at=START,
            action=PurgeAction.PURGED,
            payload_class=ROWS,
            who="bo@host",
            why="90 days",
            detail={"files": 2, "bytes": 9},
        ),
    ] == purges_of(trail.reader(), runs[1])


@pytest.mark.parametrize(
    ("actions", "is_held"),
    [
        ((), False),
        ((PurgeAction.HELD,), True),
        ((PurgeAction.HELD, PurgeAction.RELEASED), False),
        ((PurgeAction.HELD, PurgeAction.HELD, PurgeAction.RELEASED), False),
        ((PurgeAction.HELD, PurgeAction.RELEASED, PurgeAction.HELD), True),
    ],
)
def test_a_run_is_held_until_it_is_released(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder, actions: tuple[PurgeAction, ...], is_held: bool
) -> None:
    record(recorder, *((action, None) for action in actions))

    assert is_held == (keeping_of(trail.reader(), run).hold is not None)


def test_a_class_is_unfinished_from_its_intent_to_its_end(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    record(recorder, (PurgeAction.PURGING, ROWS), (PurgeAction.PURGING, CALLS))
    record(recorder, (PurgeAction.PURGED, CALLS))

    keeping = keeping_of(trail.reader(), run)
    assert ((ROWS,), frozenset({CALLS})) == (keeping.unfinished, keeping.done)
    assert ["rows", "calls"] == [mark.as_json()["class"] for mark in keeping.marks]
    assert "purged on 2024-01-01 by ana@host: purging" == str(keeping.marks[0])


def test_the_grade_falls_with_the_intent_and_not_with_a_hold(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    record(recorder, (PurgeAction.HELD, None), (PurgeAction.RELEASED, None))
    assert "replayable" == grade_of(trail.reader(), run)
    record(recorder, (PurgeAction.PURGING, FILES))
    assert "attributable" == grade_of(trail.reader(), run)
    assert "replayable" == grade_of(trail.reader(), trail.new_run())


def test_bytes_of_a_class_count_as_gone_from_the_intent_on_and_others_are_read(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    call, file = recorder.calls.store_body(b"call"), recorder.add_rejected_bytes(b"row")
    record(recorder, (PurgeAction.PURGING, CALLS))
    payloads = Payloads(trail.reader(), run)

    with pytest.raises(PurgedError, match=r"calls\.zst of run .*: purged on 2024-01-01 by ana@host: purging") as error:
        payloads.body(call)
    assert CALLS is error.value.mark.payload_class
    assert b"row" == payloads.body(file)


def test_a_run_without_its_bytes_cannot_go_on(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    record(recorder, (PurgeAction.HELD, None))
    require_unpurged(trail.reader(), run)
    record(recorder, (PurgeAction.PURGING, ROWS))
    with pytest.raises(PurgedError, match="cannot go on: purged on") as error:
        require_unpurged(trail.reader(), run)
    assert 3 == error.value.exit_code


def test_age_counts_from_the_runs_last_event_whatever_was_held_since(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    assert run.started_at == last_event_at(trail.reader(), run)
    trail.clock.sleep_s(5)
    recorder.add_run_event(RunStatus.COMPLETED)
    trail.clock.sleep_s(7)
    record(recorder, (PurgeAction.HELD, None))

    assert START + 5_000_000 == last_event_at(trail.reader(), run)


@pytest.mark.parametrize("phase", BatchPhase)
def test_batches_count_as_remote_while_something_may_be_with_the_provider(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder, phase: BatchPhase
) -> None:
    number = recorder.batches.open_batch(node_no=1, attempt=0, parent_no=None)
    recorder.batches.add_event(number, "opened", BatchPhase.OPEN)
    recorder.batches.add_event(number, "moved", phase)
    recorder.journal.commit_durably()

    here = {BatchPhase.OPEN, BatchPhase.SEALED, BatchPhase.HARVESTED}
    assert int(phase not in here) == count_remote_batches(trail.reader(), run)


def test_a_run_is_sealed_when_its_last_seal_covers_all_and_is_in_the_file(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    record(recorder, (PurgeAction.PURGING, ROWS))
    assert is_sealed(trail.reader(), run)
    record(recorder, (PurgeAction.PURGED, ROWS))
    assert not is_sealed(trail.reader(), run)
    recorder.journal.seal("purged")
    recorder.journal.drain()
    assert is_sealed(trail.reader(), run)
    SealFolder.beside(trail.database).file(run.run_id).unlink()
    assert not is_sealed(trail.reader(), run)
