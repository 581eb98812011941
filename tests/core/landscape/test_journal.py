"""Commits: all or nothing, in order, on the disk when they return (journal.py; commit.py and writer.py underneath)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail, answer_of

from elspeth.contracts import (
    BatchPhase,
    CallStatus,
    CallType,
    Outcome,
    PayloadClass,
    RunError,
    RunStatus,
    TrailError,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeRecorder, Payloads
from elspeth.core.landscape.rows import TrailRows
from elspeth.core.landscape.schema import TABLES
from elspeth.core.payloads import PartFile

OPEN = """
import os, resource, signal, sys, time
from pathlib import Path
from elspeth.contracts import *
from elspeth.core.landscape import *
from elspeth.core.clock import SystemClock
from elspeth.core.canonical import sha256
from elspeth.core.payloads import PartFile
reader = LandscapeReader(Path(sys.argv[1]))
run = reader.run(sys.argv[2])
journal = open_journal(reader, run, clock=SystemClock(), signing=Signing.throwaway(Path(sys.argv[1])))
recorder = LandscapeRecorder(journal, run_id=run.run_id, started_at=run.started_at, code_version="0")
"""


def counts(trail: Trail) -> dict[str, int]:
    return {entry.name: trail.query(f"SELECT count(*) FROM {entry.name}")[0][0] for entry in TABLES}


def test_a_fixed_run_gives_exactly_these_commits(trail: Trail) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    state = {"next_row": 0, "sinks": {"b": 2, "a": {"size": 0}}}
    part = PartFile(run.payload_folder / "out.part", submit=recorder.journal.submit)
    recorder.journal.checkpoint_with(lambda: state, {4: part})
    recorder.add_run_event(RunStatus.RUNNING)
    recorder.journal.commit()
    trail.clock.advance_s(1.5)
    part.append(b"id\r\n")
    recorder.add_rows([0], [2], [sha256(b"{}")])
    recorder.add_row_bytes([b"{}"], first_row=0, last_row=0)
    state = {"next_row": 1}
    recorder.journal.commit()
    recorder.journal.commit_durably()

    assert [
        (1, 0, 1_704_067_200_000_000, '{"next_row":0,"sinks":{"a":{"size":0},"b":2}}'),
        (1, 1, 1_704_067_201_500_000, '{"next_row":1}'),
        (1, 2, 1_704_067_201_500_000, '{"next_row":1}'),
    ] == trail.query("SELECT run_no, commit_no, at, frontier_json FROM commits")
    assert [(1, 1, 1, 0), (1, 2, 4, 0)] == trail.query("SELECT commit_no, kind, file_no, start FROM extents")
    assert [(sha256(b"id\r\n"), 4)] == trail.query("SELECT hash, length FROM extents WHERE kind = 2")
    assert [(0, 0), (1, 1)] == trail.query(
        "SELECT 0, commit_no FROM run_events UNION ALL SELECT 1, commit_no FROM rows"
    )


def test_a_fault_inside_the_transaction_leaves_nothing(trail: Trail) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.journal.commit_durably()
    before = counts(trail)
    recorder.add_rows([0], [1], [sha256(b"a")])
    recorder.add_outcomes([0], outcome=Outcome.COMPLETED, step_no=None, sink_no=None, sink_lines=[0])
    recorder.journal.add(
        "nodes",
        node_no=1,
        name=None,
        kind=1,
        plugin=None,
        expression=None,
        fields_json="{}",
        price_json=None,
        answers_from=None,
    )

    with pytest.raises(sqlite3.IntegrityError, match=r"NOT NULL constraint failed: nodes\.name"):
        recorder.journal.commit_durably()
    assert before == counts(trail)


def test_a_failure_surfaces_at_the_next_word_and_for_good(trail: Trail) -> None:
    run = trail.new_run()
    journal = trail.recorder(run).journal

    def fail() -> None:
        raise OSError(28, "No space left on device", "/disk/rows.zst")

    journal.submit(fail)
    for _ in range(2):
        with pytest.raises(RunError, match=r"No space left on device \(/disk/rows.zst\)") as error:
            journal.drain()
        assert error.value.hint is not None
        with pytest.raises(RunError):
            journal.submit(lambda: None)
    with pytest.raises(RunError):
        journal.commit()
    journal.close()
    assert 0 == counts(trail)["commits"]


def test_a_fault_of_our_own_is_raised_as_it_is(trail: Trail) -> None:
    journal = trail.recorder(trail.new_run()).journal
    journal.submit(lambda: {}["bug"])

    with pytest.raises(KeyError, match="bug"):
        journal.drain()


@pytest.mark.parametrize("limit", [4_000, 150_000])
def test_a_full_disk_stops_the_run_and_what_is_committed_stays(
    limit: int, trail: Trail, python: Callable[..., subprocess.Popen[str]]
) -> None:
    run = trail.new_run()
    script = OPEN + (
        "recorder.add_rows([0], [1], [sha256(b'a')]); recorder.add_row_bytes([b'a'], first_row=0, last_row=0)\n"
        "journal.commit_durably()\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "  for row in range(1, 200):\n"
        "    data = os.urandom(5000).hex().encode()\n"
        "    recorder.add_rows([row], [row + 1], [sha256(data)])\n"
        "    recorder.add_row_bytes([data], first_row=row, last_row=row)\n"
        "    journal.commit_durably()\n"
        "except RunError as error: print(error.message); print(error.hint)\n"
        "journal.close()\n"
    )
    said, hint = answer_of(python(script, trail.database, run.run_id)).splitlines()

    assert "cannot be written" in said
    assert "resume" in hint
    rows = trail.query("SELECT row_index, data_hash, commit_no FROM rows")
    source = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    assert len(rows) == len(list(source.fetch([row for row, _, _ in rows])))
    for row in source.fetch([row for row, _, _ in rows]):
        source.data(row, row.version_before(0))
    recorder = trail.recorder(run)
    recorder.add_row_bytes([b"more"], first_row=999, last_row=999)
    recorder.journal.commit_durably()


def test_a_journal_goes_on_without_collision(trail: Trail) -> None:
    run = trail.new_run()
    for turn in range(3):
        recorder = trail.recorder(run)
        recorder.add_run_event(RunStatus.RUNNING)
        recorder.add_rows([turn], [turn + 1], [sha256(b"%d" % turn)])
        recorder.add_row_bytes([b"%d" % turn], first_row=turn, last_row=turn)
        batch = recorder.batches.open_batch(node_no=1, attempt=0, parent_no=None)
        for number in range(1, batch + 1):
            recorder.batches.add_event(number, "noted", BatchPhase.OPEN)
        body = recorder.calls.store_body(b"call %d" % turn)
        recorder.record_call(CallType.OTHER, CallStatus.SUCCESS, body.sha256)
        recorder.journal.commit_durably()
        recorder.journal.close()

    assert [(0,), (1,), (2,)] == trail.query("SELECT event_no FROM run_events")
    assert [(0,), (1,), (2,)] == trail.query("SELECT commit_no FROM commits")
    assert [(0,), (1,), (2,)] == trail.query("SELECT call_no FROM calls")
    assert [(1,), (2,), (3,)] == trail.query("SELECT batch_no FROM batches")
    assert [(1, 3), (2, 2), (3, 1)] == trail.query("SELECT batch_no, count(*) FROM batch_events GROUP BY batch_no")
    rows = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    assert [b"0", b"1", b"2"] == [rows.data(row, row.version_before(0)) for row in rows.fetch([0, 1, 2])]


def test_what_a_killed_process_wrote_but_did_not_commit_is_cut(
    trail: Trail, python: Callable[..., subprocess.Popen[str]]
) -> None:
    run = trail.new_run()
    script = OPEN + (
        "from elspeth.core.landscape import commit as module\n"
        "part = PartFile(run.payload_folder / 'out.part', submit=journal.submit)\n"
        "journal.checkpoint_with(dict, {4: part})\n"
        "part.append(b'one\\n'); recorder.add_row_bytes([b'one'], first_row=0, last_row=0)\n"
        "recorder.add_rows([0], [1], [sha256(b'one')]); journal.commit_durably()\n"
        "part.append(b'two\\n'); recorder.add_row_bytes([b'two'], first_row=1, last_row=1)\n"
        "recorder.calls.store_body(b'lost'); recorder.add_rows([1], [2], [sha256(b'two')])\n"
        "module.Commit._insert = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal.commit_durably()\n"
    )
    process = python(script, trail.database, run.run_id)
    process.communicate(timeout=30)
    assert -signal.SIGKILL == process.returncode

    assert b"one\ntwo\n" == (run.payload_folder / "out.part").read_bytes()
    torn = (run.payload_folder / "rows.zst").stat().st_size
    ((size,),) = trail.query("SELECT SUM(length) FROM extents WHERE kind = 1")
    assert torn > size
    recorder = trail.recorder(run)
    part = PartFile(run.payload_folder / "out.part", submit=recorder.journal.submit, size=4)
    recorder.journal.checkpoint_with(dict, {4: part})
    part.append(b"TWO\n")
    recorder.add_rows([1], [2], [sha256(b"TWO")])
    recorder.add_row_bytes([b"TWO"], first_row=1, last_row=1)
    kept = recorder.calls.store_body(b"kept")
    recorder.journal.commit_durably()

    assert b"one\nTWO\n" == part.path.read_bytes()
    payloads = Payloads(trail.reader(), run)
    assert b"kept" == payloads.body(kept)
    assert b"one\nTWO\n" == b"".join(payloads.segment(1).chunks())
    ((size,),) = trail.query("SELECT SUM(length) FROM extents WHERE kind = 1 AND file_no = 1")
    assert (run.payload_folder / "rows.zst").stat().st_size == size
    for start, length, digest in trail.query("SELECT start, length, hash FROM extents WHERE file_no = 1 AND kind = 1"):
        assert digest == sha256((run.payload_folder / "rows.zst").read_bytes()[start : start + length])


def test_a_resume_on_a_shortened_segment_is_an_error_of_the_trail(trail: Trail) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.add_row_bytes([b"one"], first_row=0, last_row=0)
    recorder.journal.commit_durably()
    recorder.journal.close()
    os.truncate(run.payload_folder / "rows.zst", 3)
    recorder = trail.recorder(run)
    recorder.add_row_bytes([b"two"], first_row=1, last_row=1)

    with pytest.raises(TrailError, match=r"rows\.zst is shorter than the trail says"):
        recorder.journal.commit_durably()


def test_two_processes_write_two_runs_in_one_database(
    trail: Trail, python: Callable[..., subprocess.Popen[str]]
) -> None:
    runs = [trail.new_run(), trail.new_run()]
    script = OPEN + (
        "for row in range(100):\n"
        "  data = b'%d of %s' % (row, run.run_id.encode())\n"
        "  recorder.add_rows([row], [row + 1], [sha256(data)])\n"
        "  recorder.add_row_bytes([data], first_row=row, last_row=row)\n"
        "  journal.commit()\n"
        "journal.drain(); journal.close()\n"
    )
    for process in [python(script, trail.database, run.run_id) for run in runs]:
        assert "" == answer_of(process)

    for run in runs:
        rows = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
        assert [b"%d of %s" % (row, run.run_id.encode()) for row in range(100)] == [
            rows.data(row, row.version_before(0)) for row in rows.fetch(range(100))
        ]


def test_a_reader_in_the_middle_of_reading_does_not_hold_up_the_end(trail: Trail) -> None:
    recorder = trail.recorder(trail.new_run())
    recorder.add_rows(range(1000), range(1000), [sha256(b"x")] * 1000)
    recorder.journal.commit_durably()
    reading = trail.reader().stream("SELECT * FROM rows")
    next(reading)
    recorder.add_run_event(RunStatus.COMPLETED)
    recorder.journal.commit_durably()
    began = time.monotonic()
    recorder.journal.close()

    assert time.monotonic() - began < 5


def test_the_log_is_folded_in_at_the_end(trail: Trail, tmp_path: Path) -> None:
    recorder: LandscapeRecorder = trail.recorder(trail.new_run())
    recorder.journal.payloads.shared(PayloadClass.ROWS)
    recorder.journal.commit_durably()
    recorder.journal.close()

    assert 0 == (tmp_path / "audit.db-wal").stat().st_size


def test_a_closed_journal_takes_nothing_and_may_be_closed_again(trail: Trail) -> None:
    journal = trail.recorder(trail.new_run()).journal
    journal.close()
    journal.close()

    with pytest.raises(RuntimeError, match="has ended"):
        journal.commit_durably()


def test_the_interpreters_switch_interval_is_put_back_by_the_last_writer(trail: Trail) -> None:
    """In whatever order they end."""
    usual_s = sys.getswitchinterval()
    first, second = trail.recorder(trail.new_run()), trail.recorder(trail.new_run())
    both_s = sys.getswitchinterval()

    first.journal.close()
    one_s = sys.getswitchinterval()
    second.journal.close()

    assert usual_s != both_s == one_s
    assert usual_s == sys.getswitchinterval()


def test_what_is_gathered_by_column_is_not_added_one_by_one(trail: Trail) -> None:
    """It would be inserted, and no leaf would speak of it."""
    recorder = trail.recorder(trail.new_run())

    with pytest.raises(RuntimeError, match="records of rows are gathered by column"):
        recorder.journal.add("rows", row_index=0, line=1, data_hash=bytes(32))


def test_a_payload_file_that_is_gone_while_the_run_goes_on_is_noticed_by_the_next_commit(trail: Trail) -> None:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.add_row_bytes([b"{}"], first_row=0, last_row=0)
    recorder.journal.commit_durably()
    (run.payload_folder / "rows.zst").unlink()

    recorder.add_row_bytes([b"{}"], first_row=1, last_row=1)

    with pytest.raises(RunError, match=r"rows\.zst was moved or removed"):
        recorder.journal.commit_durably()
