"""What a purge would take, and what it leaves alone and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.app.purge_plan import Kept, Plan, Planned, Reason, Wanted, plan_purge
from elspeth.contracts import BatchPhase, PayloadClass, PurgeAction, RunStatus, UsageError
from elspeth.core.landscape import RunHeader
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.retention import add_purge

ROWS, CALLS, FILES = PayloadClass
DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
UNFINISHED = [status for status in RunStatus if status is not RunStatus.COMPLETED]


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    opened = Trail(tmp_path / "audit.db")
    yield opened
    opened.close()


def made(
    trail: Trail,
    status: RunStatus = RunStatus.COMPLETED,
    *,
    days: int | None = None,
    phase: BatchPhase | None = None,
    has_payloads: bool = True,
) -> RunHeader:
    """A run with a file of each class that stands at ``status`` since now."""
    value = "null" if days is None else str(days)
    run = trail.new_run(config_json=f'{{"payloads":{{"path":null,"retention_days":{value}}}}}')
    recorder = trail.recorder(run)
    if has_payloads:
        recorder.add_rejected_bytes(b"raw")
        recorder.calls.store_body(b"body")
        recorder.add_file("/pipeline.yaml", b"name: p")
    if phase is not None:
        recorder.batches.add_event(recorder.batches.open_batch(node_no=1, attempt=0, parent_no=None), "moved", phase)
    recorder.add_run_event(status)
    recorder.journal.commit_durably(seal="made")
    return run


def recorded(trail: Trail, run: RunHeader, *actions: tuple[PurgeAction, PayloadClass | None]) -> None:
    journal = trail.recorder(run).journal
    for action, payload_class in actions:
        add_purge(journal, action, who="ana@host", why="a reason", payload_class=payload_class)
    journal.commit_durably(seal="recorded")


def plan(trail: Trail, *runs: RunHeader, after_days: int = 0, **wanted: object) -> Plan:
    names = tuple(run.run_id for run in runs)
    now_us = trail.clock.now_us() + after_days * DAY_US
    return plan_purge(trail.reader(), Wanted(runs=names, **wanted), now_us=now_us)  # type: ignore[arg-type]


def only(plan: Plan) -> Planned:
    (planned,) = plan.planned
    assert ([], []) == (plan.kept, plan.failed)
    return planned


def kept(plan: Plan) -> Kept:
    (kept,) = plan.kept
    assert ([], []) == (plan.planned, plan.failed)
    return kept


def test_a_run_is_chosen_by_the_age_of_its_last_event(trail: Trail) -> None:
    made(trail)
    trail.clock.sleep_s(10 * DAY_S)
    made(trail)

    found = plan(trail, after_days=85, older_than_us=90 * DAY_US)
    assert [1] == [one.run.run_no for one in found.planned]
    assert [1, 2] == [one.run.run_no for one in plan(trail, after_days=90, older_than_us=90 * DAY_US).planned]


def test_without_an_age_each_pipelines_own_counts_and_one_without_is_kept_for_ever(trail: Trail) -> None:
    made(trail)
    made(trail, days=30)
    made(trail, days=90)

    assert [] == plan(trail, after_days=29).planned
    assert [2] == [one.run.run_no for one in plan(trail, after_days=30).planned]
    assert [2, 3] == [one.run.run_no for one in plan(trail, after_days=10_000).planned]


def test_a_run_that_is_named_goes_whatever_its_age_unless_one_is_given_too(trail: Trail) -> None:
    run = made(trail, days=90)

    assert run == only(plan(trail, run)).run
    young = kept(plan(trail, run, older_than_us=DAY_US))
    assert (Reason.YOUNG, f"run {run.run_id} is too young: its last event was on 2024-01-01") == (
        young.reason,
        young.message,
    )


def test_the_plan_tells_files_and_bytes_by_class(trail: Trail) -> None:
    run = made(trail)
    sizes = {path.name: path.stat().st_size for path in run.payload_folder.iterdir()}
    (run.payload_folder / "stray").touch()

    found = only(plan(trail, run))
    parts = [(part.payload_class, part.files, part.bytes) for part in found.parts]
    assert [(ROWS, 1, sizes["rejected.zst"]), (CALLS, 1, sizes["calls.zst"]), (FILES, 1, sizes["files.zst"])] == parts
    assert (1, "replayable", ()) == (found.unknown, found.grade, found.begun)
    assert [CALLS] == [part.payload_class for part in only(plan(trail, run, classes=(CALLS,))).parts]


def test_a_named_run_that_is_held_stops_the_purge_and_an_old_one_is_kept(trail: Trail) -> None:
    run, other = made(trail), made(trail)
    recorded(trail, run, (PurgeAction.HELD, None))
    message = f"run {run.run_id} is held since 2024-01-01 by ana@host: a reason"

    with pytest.raises(UsageError) as error:
        plan(trail, other, run)
    assert (message, 2) == (error.value.message, error.value.exit_code)
    found = plan(trail, older_than_us=0)
    assert [(Reason.HELD, message)] == [(one.reason, one.message) for one in found.kept]
    assert [other] == [one.run for one in found.planned]
    recorded(trail, run, (PurgeAction.RELEASED, None))
    assert run == only(plan(trail, run)).run


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_run_that_did_not_complete_is_named_or_asked_for(trail: Trail, status: RunStatus) -> None:
    run = made(trail, status)
    old = kept(plan(trail, older_than_us=0))

    assert (Reason.UNFINISHED, run) == (old.reason, old.run)
    assert status.word in old.message
    assert run == only(plan(trail, run)).run
    assert run == only(plan(trail, older_than_us=0, unfinished=True)).run
    assert [] == plan(trail, older_than_us=DAY_US, unfinished=True).planned


def test_a_pending_run_with_remote_work_is_never_taken(trail: Trail) -> None:
    run = made(trail, RunStatus.PENDING, phase=BatchPhase.CREATED)

    assert Reason.REMOTE is kept(plan(trail, older_than_us=0, unfinished=True)).reason
    with pytest.raises(UsageError, match="is pending, and 1 batch may still be with the provider"):
        plan(trail, run)


def test_a_failed_run_with_remote_work_goes_only_when_it_is_named_and_says_so(trail: Trail) -> None:
    run = made(trail, RunStatus.FAILED, phase=BatchPhase.CREATED)

    assert Reason.REMOTE is kept(plan(trail, older_than_us=0, unfinished=True)).reason
    assert 1 == only(plan(trail, run)).remote


def test_a_run_that_somebody_works_on_is_kept(trail: Trail) -> None:
    run = made(trail, RunStatus.RUNNING)
    with RunLock(trail.database.parent, run.run_id):
        assert Reason.BUSY is kept(plan(trail, run)).reason
    assert run == only(plan(trail, run)).run


def test_what_was_begun_is_finished_whatever_the_age_the_class_and_the_status(trail: Trail) -> None:
    run = made(trail, RunStatus.FAILED)
    recorded(trail, run, (PurgeAction.PURGING, ROWS), (PurgeAction.PURGING, FILES), (PurgeAction.PURGED, FILES))

    for found in (
        plan(trail),
        plan(trail, classes=(CALLS,)),
        plan(trail, older_than_us=0),
        plan(trail, only_begun=True),
    ):
        assert ((), [ROWS]) == (only(found).new, [part.payload_class for part in only(found).begun])
    named = only(plan(trail, run))
    assert ([CALLS], [ROWS]) == (
        [part.payload_class for part in named.new],
        [part.payload_class for part in named.begun],
    )
    assert [ROWS, CALLS] == [part.payload_class for part in named.parts]


def test_a_hold_stops_what_was_begun(trail: Trail) -> None:
    run = made(trail)
    recorded(trail, run, (PurgeAction.PURGING, ROWS), (PurgeAction.HELD, None))

    assert Reason.HELD is kept(plan(trail)).reason


def test_an_end_without_its_seal_is_taken_up(trail: Trail) -> None:
    run = made(trail)
    recorded(
        trail, run, *((action, one) for one in PayloadClass for action in (PurgeAction.PURGING, PurgeAction.PURGED))
    )
    assert [] == plan(trail).planned
    trail.recorder(run).journal.commit_durably(seal=None)
    (trail.database.parent / "seals" / f"{run.run_id}.seals").unlink()

    found = only(plan(trail))
    assert ((), True) == (found.parts, found.is_unsealed)


def test_a_named_run_of_which_nothing_goes_says_why(trail: Trail) -> None:
    run = made(trail)
    empty = made(trail, has_payloads=False)
    assert "has no payloads" in kept(plan(trail, empty)).message
    assert "no purge was left undone" in kept(plan(trail, run, only_begun=True)).message
    recorded(trail, run, (PurgeAction.PURGING, ROWS), (PurgeAction.PURGED, ROWS))
    gone = kept(plan(trail, run, classes=(ROWS,)))
    assert (Reason.PURGED, f"run {run.run_id}: rows purged on 2024-01-01 by ana@host: a reason") == (
        gone.reason,
        gone.message,
    )


def test_a_run_that_cannot_be_looked_at_does_not_keep_the_others(trail: Trail) -> None:
    broken, other = made(trail), made(trail)
    broken.payload_folder.rename(broken.payload_folder.with_name("moved"))

    found = plan(trail, older_than_us=0)
    assert [other] == [one.run for one in found.planned]
    ((run, error),) = found.failed
    assert (broken, True) == (run, "is not there" in error.message)


def test_a_run_is_named_once_however_often_it_is_named(trail: Trail) -> None:
    run = made(trail)
    assert run == only(plan(trail, run, run)).run
