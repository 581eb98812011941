"""What nobody changed passes, wherever it was put and whatever happened beside it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.runner import CountingClock, purge
from tests.engine.workbench import Project
from tests.tamper.trail import Copy, findings_of, keep, own_key

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.landscape.verify import Brought, Strength


def test_the_trail_as_it_was_written_passes(original: Copy) -> None:
    verification = original.verify()

    assert [] == findings_of(verification)
    assert ["completed", "completed", "pending"] == [report.status for report in verification.reports]
    assert all(step.checked for report in verification.reports for step in report.steps)


def test_keys_and_checkpoints_make_the_word_stronger(original: Copy) -> None:
    kept = [note for number in (1, 2, 3) for note in original.seals.notes(original.run_id(number))]

    assert Strength.CONSISTENT is original.verify().strength
    assert Strength.SIGNED is original.verify(brought=Brought(keys=[own_key()])).strength
    assert Strength.ANCHORED is original.verify(brought=Brought(keys=[own_key()], checkpoints=kept)).strength


def test_an_old_checkpoint_anchors_a_trail_that_went_on(trail: Copy) -> None:
    kept = trail.seals.notes(trail.run_id(3))[-1]
    keep(trail.database, run_no=3)
    verification = trail.verify(3, brought=Brought(keys=[own_key()], checkpoints=[kept]))

    assert [] == findings_of(verification)
    assert Strength.ANCHORED is verification.strength


@pytest.mark.parametrize("statement", ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "ANALYZE", "REINDEX"])
def test_what_sqlite_does_to_a_database_passes(trail: Copy, statement: str) -> None:
    keep(trail.database, run_no=1)
    with closing(sqlite3.connect(trail.database, isolation_level=None)) as connection:
        connection.execute(statement)

    assert [] == findings_of(trail.verify())


def test_a_trail_that_was_moved_passes(trail: Copy, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(trail.database.parent, moved)

    assert [] == findings_of(Copy(Project(moved)).verify())
    shutil.move(moved / ".elspeth", trail.database.parent)


def test_another_run_beside_it_passes(trail: Copy) -> None:
    trail.project.rows([{"id": number} for number in range(20)])
    trail.project.pipeline()
    assert 0 == trail.project.run().exit_code

    verification = trail.verify()
    assert [] == findings_of(verification)
    assert 4 == len(verification.reports)


def test_a_run_that_was_begun_first_and_completed_last_has_replaced_the_other_ones_output(trail: Copy) -> None:
    trail.project.rows([{"id": number} for number in range(20)])
    trail.project.pipeline()
    stopped = trail.project.run(stop=_already_stopped())
    assert 130 == stopped.exit_code
    assert 0 == trail.project.run(new=True).exit_code
    assert 0 == trail.project.resume(stopped.run_id).exit_code

    assert [] == findings_of(trail.verify())
    assert f"is superseded by run {stopped.run_id}" in trail.verify(5).reports[0].steps[-1].notes[0]


def _already_stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


@pytest.mark.parametrize("payload_class", PayloadClass)
def test_a_purge_passes_also_when_it_was_cut_short(trail: Copy, payload_class: PayloadClass) -> None:
    """The files of one class go, one by one; the records that say so were there before the first."""
    keep(trail.database, run_no=1, action=PurgeAction.PURGING, payload_class=payload_class)
    files = [
        trail.payloads(1) / name
        for (name,) in trail.query("SELECT name FROM segments WHERE run_no = 1 AND class = ?", payload_class.value)
    ]
    files.pop().unlink()
    assert [] == findings_of(trail.verify())
    for path in files:
        path.unlink()
    keep(trail.database, run_no=1, action=PurgeAction.PURGED, payload_class=payload_class)

    assert [] == findings_of(trail.verify())


def test_a_purge_of_a_whole_run_passes_and_a_checkpoint_from_before_it_still_anchors(trail: Copy) -> None:
    kept = trail.seals.notes(trail.run_id(1))[-1]
    assert "" == purge(trail.project.state, CountingClock())
    assert [] == list(trail.payloads(1).iterdir())

    verification = trail.verify(1, brought=Brought(keys=[own_key()], checkpoints=[kept]))
    assert [] == findings_of(verification)
    assert Strength.ANCHORED is verification.strength
    assert [] == findings_of(trail.verify())
