"""A purge records before it deletes, and a hold stands in its way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.app.test_purge_plan import made
from tests.core.landscape.conftest import Trail

from elspeth.app.purge_plan import Reason, Wanted, plan_purge
from elspeth.app.retention import Keeper, Outcome, carry_out, held_runs
from elspeth.contracts import BusyError, PayloadClass, PurgeAction, TrailError, UsageError
from elspeth.core.landscape import LandscapeReader, RunHeader, SealFolder
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.retention import is_sealed, keeping_of, purges_of
from elspeth.core.notes import parse_checkpoint, parse_note
from elspeth.engine.decisions import person

ROWS, CALLS, FILES = PayloadClass
PURGING, PURGED = PurgeAction.PURGING, PurgeAction.PURGED
MakeKeeper = Callable[[], Keeper]


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    opened = Trail(tmp_path / "audit.db")
    yield opened
    opened.close()


@pytest.fixture
def keeper(trail: Trail, tmp_path: Path) -> MakeKeeper:
    (tmp_path / "keys").mkdir()
    environ = {"ELSPETH_SIGNING_KEY": str(tmp_path / "keys" / "signing_key")}
    return lambda: Keeper(trail.reader(), environ=environ, clock=trail.clock)


def purge(trail: Trail, keeper: MakeKeeper, *runs: RunHeader, why: str | None = "90 days", **wanted: object) -> Outcome:
    want = Wanted(runs=tuple(run.run_id for run in runs), **wanted)  # type: ignore[arg-type]
    plan = plan_purge(trail.reader(), want, now_us=trail.clock.now_us())
    return carry_out(plan, want, keeper=keeper, why=why)


def recorded(trail: Trail, run: RunHeader) -> list[tuple[PurgeAction, PayloadClass | None]]:
    return [(purge.action, purge.payload_class) for purge in purges_of(trail.reader(), run)]


def there(run: RunHeader) -> set[str]:
    return {path.name for path in run.payload_folder.iterdir()}


def reasons(trail: Trail, run: RunHeader) -> list[str]:
    notes = SealFolder.beside(trail.database).notes(run.run_id)
    return [parse_checkpoint(parse_note(note).text).extensions[1] for note in notes]


def test_a_purge_leaves_its_records_its_seals_and_the_other_classes(trail: Trail, keeper: MakeKeeper) -> None:
    run, other = made(trail), made(trail)
    size = (run.payload_folder / "calls.zst").stat().st_size
    outcome = purge(trail, keeper, run, classes=(CALLS,))

    assert ([run], [], []) == ([one.planned.run for one in outcome.taken], outcome.kept, outcome.failed)
    assert {"files.zst", "rejected.zst"} == there(run)
    assert {"files.zst", "rejected.zst", "calls.zst"} == there(other)
    assert [(action, CALLS, person(), "90 days", {"files": 1, "bytes": size}) for action in (PURGING, PURGED)] == [
        (p.action, p.payload_class, p.who, p.why, p.detail) for p in purges_of(trail.reader(), run)
    ]
    assert ["reason made", "reason purge", "reason purged"] == reasons(trail, run)
    assert is_sealed(trail.reader(), run)


def test_all_intents_are_one_commit_and_all_ends_another(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    purge(trail, keeper, run)

    assert [(PURGING, one) for one in PayloadClass] + [(PURGED, one) for one in PayloadClass] == recorded(trail, run)
    commits = trail.query("SELECT commit_no FROM purges ORDER BY event_no")
    assert [1, 2] == sorted({commit for (commit,) in commits})
    assert set() == there(run)


def test_a_commit_of_a_purge_repeats_the_frontier(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    journal = trail.recorder(run).journal
    journal.checkpoint_with(lambda: {"rows": 7}, {})
    journal.commit_durably()
    keeper().hold(run, why="an inquiry")

    assert {"rows": 7} == trail.reader().frontier(run.run_no)


def test_what_cannot_be_deleted_leaves_its_class_undone_and_the_next_purge_finishes_it(
    trail: Trail, keeper: MakeKeeper
) -> None:
    run, other = made(trail), made(trail)
    path = run.payload_folder / "calls.zst"
    path.unlink()
    path.mkdir()
    outcome = purge(trail, keeper, run, other)

    assert [1, 0] == [len(one.faults) for one in outcome.taken]
    assert {"calls.zst"} == there(run)
    assert set() == there(other)
    assert (CALLS,) == keeping_of(trail.reader(), run).unfinished
    path.rmdir()
    path.write_bytes(b"put back")
    trail.clock.advance_s(86_400)
    purge(trail, keeper, why=None)
    assert (set(), ()) == (there(run), keeping_of(trail.reader(), run).unfinished)
    assert "90 days" == purges_of(trail.reader(), run)[-1].why


def test_a_second_purge_does_nothing(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    purge(trail, keeper, run)
    before = recorded(trail, run)

    def never() -> Keeper:
        raise AssertionError("nothing is to be done")

    outcome = purge(trail, never, run)
    assert ([], [Reason.PURGED]) == (list(outcome.taken), [one.reason for one in outcome.kept])
    assert before == recorded(trail, run)


def test_a_reason_is_wanted(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    ((_, error),) = purge(trail, keeper, run, why=None).failed
    assert isinstance(error, UsageError)
    assert ([], 3) == (recorded(trail, run), len(there(run)))


def test_a_hold_that_came_after_the_look_is_obeyed(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    want = Wanted(runs=(run.run_id,))
    plan = plan_purge(trail.reader(), want, now_us=trail.clock.now_us())
    keeper().hold(run, why="an inquiry")
    outcome = carry_out(plan, want, keeper=keeper, why="90 days")

    assert [Reason.HELD] == [one.reason for one in outcome.kept]
    assert 3 == len(there(run))


def test_a_run_that_is_being_worked_on_is_busy_and_the_others_go(trail: Trail, keeper: MakeKeeper) -> None:
    busy, other = made(trail), made(trail)
    with RunLock(trail.database.parent, busy.run_id):
        outcome = purge(trail, keeper, busy, other)
        ((run, error),) = outcome.failed
        assert (busy, True) == (run, isinstance(error, BusyError))
        with pytest.raises(BusyError):
            keeper().hold(busy, why="an inquiry")
    assert (3, set()) == (len(there(busy)), there(other))


def test_a_seal_that_is_missing_is_made_up_for(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    purge(trail, keeper, run)
    journal = trail.recorder(run).journal
    journal.commit_durably(seal="last")
    journal.close()
    path = SealFolder.beside(trail.database).file(run.run_id)
    path.write_text("".join(SealFolder.beside(trail.database).notes(run.run_id)[:-1]))
    assert not is_sealed(trail.reader(), run)

    outcome = purge(trail, keeper, why=None)
    assert ([], []) == (list(outcome.failed), list(outcome.kept))
    assert [True] == [one.planned.is_unsealed for one in outcome.taken]
    assert is_sealed(trail.reader(), run)


def test_an_older_copy_of_the_database_is_refused(trail: Trail, keeper: MakeKeeper) -> None:
    made(trail)
    (trail.database.parent / "seals" / "01zzzzzzzzzzz.seals").write_text("")
    with pytest.raises(TrailError, match="is an older copy or was changed"):
        keeper()


def test_a_hold_is_ended_by_a_release_and_both_are_sealed(trail: Trail, keeper: MakeKeeper) -> None:
    run = made(trail)
    keeper().hold(run, why="an inquiry")
    ((held, hold),) = held_runs(trail.reader())
    assert (run, "an inquiry", person()) == (held, hold.why, hold.who)
    assert "an inquiry" == keeper().release(run, why="it is over").why
    assert [] == list(held_runs(trail.reader()))
    assert ["reason made", "reason held", "reason released"] == reasons(trail, run)
    with pytest.raises(UsageError, match="is not held"):
        keeper().release(run, why="again")


def test_nothing_is_deleted_before_the_intent_is_durable_and_sealed(
    trail: Trail, keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(trail)
    seen: list[tuple[int, str]] = []
    delete = os.unlink

    def watched(path: str, **options: int) -> None:
        if str(path).endswith(".zst"):
            with LandscapeReader(trail.database) as reader:
                seen.append((len(keeping_of(reader, run).begun), reasons(trail, run)[-1]))
        delete(path, **options)

    monkeypatch.setattr(os, "unlink", watched)
    purge(trail, keeper, run)
    assert [(3, "reason purge")] * 3 == seen


def test_a_plan_is_an_outcome_that_has_not_come(trail: Trail) -> None:
    run = made(trail)
    plan = plan_purge(trail.reader(), Wanted(runs=(run.run_id,)), now_us=trail.clock.now_us())
    outcome = Outcome.of_plan(plan)
    assert (False, [run]) == (outcome.is_done, [one.planned.run for one in outcome.taken])
    assert ([], 3) == (recorded(trail, run), len(there(run)))
