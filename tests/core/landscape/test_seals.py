"""Seals tell of what was there; a database that lacks it is refused."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.contracts import RunStatus, TrailError
from elspeth.core.landscape import LandscapeReader, RunHeader, SealFolder, Signing, open_journal
from elspeth.core.landscape.seals import run_tree, seal_text
from elspeth.core.notes import parse_checkpoint, parse_note


def sealed_run(trail: Trail, *, commits: int = 3) -> RunHeader:
    run = trail.new_run()
    recorder = trail.recorder(run)
    for _ in range(commits):
        recorder.add_run_event(RunStatus.RUNNING)
        recorder.journal.commit_durably()
    recorder.journal.seal("completed")
    recorder.journal.drain()
    return run


def seals_of(trail: Trail) -> SealFolder:
    return SealFolder.beside(trail.database)


def test_a_seal_is_a_checkpoint_of_the_tree_with_when_and_why() -> None:
    text = seal_text(run_id="01k9x", tree_size=17, root=bytes(32), at=1_704_067_201_500_000, reason="completed")

    assert (
        "elspeth/run/01k9x\n17\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "at 2024-01-01T00:00:01.500000Z\nreason completed\n"
    ) == text


def test_the_table_and_the_file_hold_the_same_signed_notes(trail: Trail) -> None:
    run = sealed_run(trail)
    recorded = [note for (note,) in trail.query("SELECT note FROM seals ORDER BY seal_no")]

    assert recorded == seals_of(trail).notes(run.run_id)
    sizes = [parse_checkpoint(parse_note(note).text).size for note in recorded]
    assert [1, 3] == sizes
    last = parse_checkpoint(parse_note(recorded[-1]).text)
    assert run_tree(trail.reader(), run).root() == last.root


def test_a_seal_every_minute_when_something_was_committed(trail: Trail) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    for seconds in (0.0, 59.0, 1.0, 30.0, 3600.0):
        trail.clock.advance_s(seconds)
        recorder.journal.commit_durably()

    assert [("opened", 1), ("minute", 3), ("minute", 5)] == trail.query("SELECT reason, tree_size FROM seals")


def test_an_older_copy_of_the_database_is_refused(trail: Trail, tmp_path: Path) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.journal.commit_durably()
    trail.close()
    older = tmp_path / "older.db"
    shutil.copy(trail.database, older)
    recorder = trail.recorder(run)
    recorder.journal.commit_durably()
    recorder.journal.seal("completed")
    recorder.journal.drain()
    trail.close()
    shutil.copy(older, trail.database)

    with LandscapeReader(trail.database) as reader:
        with pytest.raises(TrailError, match="is older than the seals") as error:
            seals_of(trail).require_current(reader)
        assert error.value.hint is not None
        with pytest.raises(TrailError, match="is older than the seals"):
            open_journal(reader, run, clock=trail.clock, signing=Signing.throwaway(trail.database))


def test_a_run_that_was_sealed_and_is_gone_is_missed(trail: Trail) -> None:
    run = sealed_run(trail)
    seals = seals_of(trail)
    seals.file(run.run_id).rename(seals.file("01zzzzzzzzzzz"))

    with pytest.raises(TrailError, match="run 01zzzzzzzzzzz was sealed and is not in it"):
        seals.require_current(trail.reader())


def test_a_changed_seal_is_refused(trail: Trail) -> None:
    run = sealed_run(trail)
    seals = seals_of(trail)
    text = seals.file(run.run_id).read_text()
    seals.file(run.run_id).write_text(text.replace("reason completed", "reason complete"))

    with pytest.raises(TrailError, match="are not those in"):
        seals.require_current(trail.reader())


def test_a_commit_that_is_not_the_sealed_one_is_refused(trail: Trail) -> None:
    sealed_run(trail)
    trail.close()
    connection = sqlite3.connect(trail.database)
    connection.execute("DROP TRIGGER commits_no_update")
    connection.execute("UPDATE commits SET root = zeroblob(32) WHERE commit_no = 2")
    connection.commit()
    connection.close()

    with pytest.raises(TrailError, match="does not hold what was sealed"):
        seals_of(trail).require_current(trail.reader())


def test_a_seal_that_only_the_database_has_is_added_to_the_file(trail: Trail) -> None:
    run = sealed_run(trail)
    seals = seals_of(trail)
    recorded = [note for (note,) in trail.query("SELECT note FROM seals ORDER BY seal_no")]
    seals.file(run.run_id).write_text(recorded[0])
    seals.require_current(trail.reader())
    assert recorded[:1] == seals.notes(run.run_id)

    seals.bring_up_to_date(trail.reader(), run)
    assert recorded == seals.notes(run.run_id)


def test_a_seal_that_was_cut_short_in_the_file_is_completed(trail: Trail) -> None:
    run = sealed_run(trail)
    seals = seals_of(trail)
    recorded = [note for (note,) in trail.query("SELECT note FROM seals ORDER BY seal_no")]
    for left in (1, len(recorded[1]) - 1):
        seals.file(run.run_id).write_text(recorded[0] + recorded[1][:left])
        seals.require_current(trail.reader())
        assert not seals.has_all(trail.reader(), run)

        seals.bring_up_to_date(trail.reader(), run)
        assert recorded == seals.notes(run.run_id)
        assert seals.has_all(trail.reader(), run)


def test_what_another_process_seals_meanwhile_is_no_older_copy(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sealed_run(trail)
    seals = seals_of(trail)
    reader = trail.reader()
    recorder = trail.recorder(first)
    query = reader.query

    def seal_first(sql: str, *parameters: object) -> list[tuple[object, ...]]:
        found = query(sql, *parameters)
        if "FROM runs" in sql and "run_id" in sql.partition("FROM")[0] and "run_no" not in sql:
            sealed_run(trail)
        elif "note FROM seals" in sql:
            recorder.add_run_event(RunStatus.RUNNING)
            recorder.journal.commit_durably(seal="minute")
        return found

    monkeypatch.setattr(reader, "query", seal_first)
    seals.require_current(reader)
    seals.bring_up_to_date(reader, first, is_repaired=False)

    assert 3 < len(seals.notes(first.run_id))
    assert 1 < len(seals.run_ids())
