"""Reading back is strict: what is not sound stops the command and names the place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.landscape.conftest import Trail, failed_step, node_step

from elspeth.contracts import BatchPhase, MissingTrailError, RunStatus, StateStatus, TrailError, UsageError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeRecorder, Payloads, RowSource, RunHeader
from elspeth.core.landscape.reader import read_json, read_word
from elspeth.core.landscape.rows import TrailRows


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    return trail.new_run()


@pytest.fixture
def recorder(trail: Trail, run: RunHeader) -> LandscapeRecorder:
    return trail.recorder(run)


def forge(trail: Trail, sql: str, *parameters: object) -> None:
    """What a vandal with another SQLite does."""
    with sqlite3.connect(trail.database) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql, parameters)
    connection.close()


def test_a_run_is_named_by_its_id_a_unique_prefix_or_latest(trail: Trail) -> None:
    first = trail.new_run()
    trail.clock.advance_s(400 * 24 * 3600)
    second = trail.new_run()
    reader = trail.reader()

    assert first.run_id < second.run_id
    assert 13 == len(first.run_id)
    assert [second, first, first, second] == [
        reader.run(name) for name in ("latest", first.run_id, first.run_id[:6], second.run_id.upper())
    ]
    with pytest.raises(UsageError, match="'01' names several runs"):
        reader.run("01")
    with pytest.raises(MissingTrailError, match="there is no run 'zzz' in") as error:
        reader.run("zzz")
    assert f"The last runs are: {second.run_id}, {first.run_id}." == error.value.hint
    for wild in ("%", "_" * 13, "0_"):
        with pytest.raises(MissingTrailError):
            reader.run(wild)
    with pytest.raises(MissingTrailError, match="no run numbered 9"):
        reader.run_numbered(9)


def test_an_empty_name_is_no_prefix_of_the_only_run(trail: Trail, run: RunHeader) -> None:
    with pytest.raises(UsageError, match="has at least one character"):
        trail.reader().run("")


def test_what_is_no_text_is_in_no_record(trail: Trail, run: RunHeader) -> None:
    reader = trail.reader()

    with pytest.raises(MissingTrailError, match="it is not UTF-8"):
        reader.run("\udcff")
    for read in (reader.query, reader.stream, reader.dicts):
        with pytest.raises(MissingTrailError, match="it is not UTF-8"):
            list(read("SELECT 1 FROM runs WHERE pipeline = ?", "\udcff"))


def test_an_empty_landscape_has_no_latest_run(trail: Trail, run: RunHeader) -> None:
    empty = Trail(trail.database.with_name("other.db"))
    empty.new_run()
    forge(empty, "DELETE FROM runs")

    with pytest.raises(MissingTrailError) as error:
        empty.reader().run("latest")
    assert "There are no runs yet." == error.value.hint
    empty.close()


def test_payloads_beside_the_database_move_with_it(trail: Trail, run: RunHeader, tmp_path: Path) -> None:
    recorder = trail.recorder(run)
    body = recorder.calls.store_body(b"body")
    recorder.journal.commit_durably()
    recorder.journal.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    trail.database.rename(moved / "audit.db")
    (tmp_path / "payloads").rename(moved / "payloads")
    other = Trail(moved / "audit.db")

    reader = other.reader()
    assert b"body" == Payloads(reader, reader.run("latest")).body(body)
    other.close()


def test_payloads_elsewhere_are_found_where_they_are(trail: Trail, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run = trail.new_run(payloads=elsewhere)

    assert elsewhere / run.run_id == run.payload_folder


@pytest.mark.parametrize(("value", "shown"), [(99, "99"), (0, "0"), ("1", "'1'"), (None, "None"), (1.0, "1.0")])
def test_an_unknown_number_is_no_word(value: object, shown: str) -> None:
    with pytest.raises(TrailError, match=f"node_states 1/2: {shown} is no StateStatus"):
        read_word(StateStatus, value, "node_states 1/2")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null"])
def test_what_is_no_json_object_names_its_place(text: str) -> None:
    with pytest.raises(TrailError, match="commits 1/0: not"):
        read_json(text, "commits 1/0")


def test_no_json_at_all_is_an_empty_object() -> None:
    assert {} == read_json(None, "run_events 1/0")


def test_a_forged_status_or_frontier_names_its_place(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    recorder.add_run_event(RunStatus.RUNNING)
    recorder.journal.commit_durably()
    forge(trail, "UPDATE run_events SET status = 42")
    forge(trail, "UPDATE commits SET frontier_json = 'x'")

    with pytest.raises(TrailError, match="run_events 1/0: 42 is no RunStatus"):
        trail.reader().status(run.run_no)
    with pytest.raises(TrailError, match="commits 1/0: not JSON"):
        trail.reader().frontier(run.run_no)


def test_a_forged_configuration_is_found(trail: Trail, run: RunHeader) -> None:
    forge(trail, "UPDATE runs SET config_json = '{\"x\":1}'")

    with pytest.raises(TrailError, match="runs 1: config_json does not have the hash"):
        trail.reader().run(run.run_id)


def test_statements_that_fail_are_errors_of_the_trail(trail: Trail, run: RunHeader) -> None:
    reader = trail.reader()
    for ask in (reader.query, lambda sql: list(reader.stream(sql)), lambda sql: list(reader.dicts(sql))):
        with pytest.raises(TrailError, match="cannot be read: no such table"):
            ask("SELECT * FROM nowhere")
    assert [{"a": 1, "b": "x"}] == list(reader.dicts("SELECT 1 AS a, 'x' AS b"))


def test_a_payload_that_is_gone_or_changed_is_found(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    body = recorder.calls.store_body(b"body" * 100)
    recorder.journal.commit_durably()
    payloads = Payloads(trail.reader(), run)

    assert b"body" * 100 == b"".join(payloads.chunks(str(body), body.sha256))
    with pytest.raises(TrailError, match=f"payload {body} of run {run.run_id} does not have the hash {'00' * 32}"):
        payloads.body_at(str(body), bytes(32))
    with pytest.raises(TrailError, match="does not have the hash"):
        list(payloads.chunks(str(body), bytes(32)))
    with pytest.raises(TrailError, match=f"run {run.run_id} has no payload segment 9"):
        payloads.body_at("9:0:1", bytes(32))
    (run.payload_folder / "calls.zst").unlink()
    with pytest.raises(TrailError, match=r"calls\.zst is missing"):
        Payloads(trail.reader(), run).body(body)


def record_rows(recorder: LandscapeRecorder, first: int, last: int, *, size: int = 10) -> None:
    lines = [b"%d" % index + b"x" * size for index in range(first, last + 1)]
    recorder.add_rows(range(first, last + 1), range(first + 2, last + 3), [sha256(line) for line in lines])
    hashes = [sha256(line + b"!") for line in lines]
    recorder.add_passages(range(first, last + 1), [node_step(1, changed=True)], [hashes])
    recorder.add_row_bytes(
        [version for line in lines for version in (line, line + b"!")], first_row=first, last_row=last
    )


def test_rows_come_back_from_many_frames_and_commits(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    for first in range(0, 60, 10):
        record_rows(recorder, first, first + 9, size=10_000)
        if first % 20:
            recorder.journal.commit()
    recorder.journal.commit_durably()
    rows = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    wanted = [0, 7, 9, 10, 31, 59]
    found = list(rows.fetch(wanted))

    assert [(index, index + 2, False) for index in wanted] == [(row.index, row.line, row.is_rejected) for row in found]
    assert [b"%d" % index + b"x" * 10_000 for index in wanted] == [
        rows.data(row, row.version_before(1)) for row in found
    ]
    assert [b"%d" % index + b"x" * 10_000 + b"!" for index in wanted] == [
        rows.data(row, row.version_before(2)) for row in found
    ]
    assert found == [rows.find(index) for index in wanted]
    assert rows.find(60) is None
    assert [(1, 0, StateStatus.COMPLETED)] == [(s.node_no, s.attempt, s.status) for s in found[0].states]


def test_of_rows_that_follow_each_other_one_of_each_frame_is_looked_up(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    for first in range(0, 60, 20):
        record_rows(recorder, first, first + 19, size=0)
    recorder.journal.commit_durably()
    reader = trail.reader()
    source = RowSource(reader, run, Payloads(reader, run))
    asked: list[str] = []
    reader.connection.set_trace_callback(asked.append)
    wanted = [b"%d" % row for row in range(60)]

    assert wanted == [source.bytes_of(row, commit_no=0, sha=sha256(line)) for row, line in enumerate(wanted)]
    assert 3 == sum("frames_by_commit" in statement for statement in asked)


def test_what_another_commit_wrote_is_not_found_whatever_was_read_before(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    for row in range(2):
        record_rows(recorder, row, row, size=0)
        recorder.journal.commit_durably()
    source = RowSource(trail.reader(), run, Payloads(trail.reader(), run))
    assert b"0" == source.bytes_of(0, commit_no=0, sha=sha256(b"0"))

    with pytest.raises(TrailError, match="no payload in commit 1 has the hash"):
        source.bytes_of(1, commit_no=1, sha=sha256(b"0"))


def test_of_a_commits_frames_that_may_hold_a_row_the_others_are_looked_for_too(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    """Rows that come home late lie in frames whose ranges overlap."""
    for first, last, lines in ((0, 9, [b"in the first", b"9"]), (4, 6, [b"4", b"6"]), (5, 5, [b"another"])):
        recorder.add_row_bytes(lines, first_row=first, last_row=last)
    recorder.journal.commit_durably()
    source = RowSource(trail.reader(), run, Payloads(trail.reader(), run))

    assert b"in the first" == source.bytes_of(5, commit_no=0, sha=sha256(b"in the first"))
    lines, rows = source.lines_of(5, commit_no=0)
    assert {b"in the first", b"9", b"4", b"6", b"another"} < {*lines.values()}
    assert range(10) == rows


ROWS_OF_ALL_KINDS = 40


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrailRows]:
    """Rows that changed early, late or twice, that failed, that passed by a node, that have got no further yet."""
    trail = Trail(tmp_path_factory.mktemp("kinds") / "audit.db")
    run = trail.new_run()
    recorder = trail.recorder(run)
    for row in range(ROWS_OF_ALL_KINDS):
        line = b"%d" % row
        recorder.add_rows([row], [row + 2], [sha256(line)])
        recorder.add_row_bytes([line, line + b"!", line + b"?"], first_row=row, last_row=row)
        hashes = [[sha256(line + b"!")]]
        match row % 5:
            case 0:
                recorder.add_passages([row], [node_step(1, changed=True), node_step(2)], hashes)
            case 1:
                recorder.add_passages([row], [node_step(1), node_step(2), node_step(3, changed=True)], hashes)
            case 2:
                recorder.add_failed_passage(row, [node_step(1), failed_step(2)], [], {"code": "c", "message": "m"})
            case 3:
                steps = [node_step(1, changed=True), node_step(3, changed=True)]
                recorder.add_passages([row], steps, [*hashes, [sha256(line + b"?")]])
            case _:
                pass
        if row % 7 == 6:
            recorder.journal.commit()
    recorder.journal.commit_durably()
    yield TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    trail.close()


@given(st.sets(st.integers(0, ROWS_OF_ALL_KINDS - 1)))
def test_one_row_is_found_as_it_is_fetched_with_others(all_kinds: TrailRows, wanted: set[int]) -> None:
    assert list(all_kinds.fetch(sorted(wanted))) == [all_kinds.find(index) for index in sorted(wanted)]


@given(st.integers(0, 5), st.sets(st.integers(0, ROWS_OF_ALL_KINDS - 1)))
def test_rows_wait_at_a_node_as_their_states_have_it(all_kinds: TrailRows, node_no: int, wanted: set[int]) -> None:
    rows = [row for row in all_kinds.fetch(sorted(wanted)) if node_no not in {state.node_no for state in row.states}]
    versions = {row.index: row.version_before(node_no) for row in rows}
    data = {row.index: all_kinds.data(row, versions[row.index]) for row in rows}

    assert {index: (writer, sha, data[index]) for index, (writer, sha, _) in versions.items()} == all_kinds.waiting_at(
        node_no, sorted(wanted)
    )


def test_a_row_of_no_such_hash_or_index_is_an_error(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    record_rows(recorder, 0, 3)
    recorder.journal.commit_durably()
    source = RowSource(trail.reader(), run, Payloads(trail.reader(), run))

    with pytest.raises(TrailError, match=f"row 2 of run {run.run_id}: no payload in commit 0 has the hash {'00' * 32}"):
        source.bytes_of(2, commit_no=0, sha=bytes(32))
    rows = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    with pytest.raises(TrailError, match="1 of 2 rows are missing"):
        list(rows.fetch([3, 4]))
    with pytest.raises(TrailError, match="1 of 2 rows are missing"):
        rows.waiting_at(2, [3, 4])
    forge(trail, "DELETE FROM rows WHERE row_index = 1")
    with pytest.raises(TrailError, match="row 1 has states, but no record"):
        list(rows.fetch([0, 1, 2]))


def test_a_run_without_row_payloads_says_so(trail: Trail, run: RunHeader) -> None:
    with pytest.raises(TrailError, match="has no payloads of rows"):
        RowSource(trail.reader(), run, Payloads(trail.reader(), run)).bytes_of(0, commit_no=0, sha=bytes(32))


def test_a_rejected_record_keeps_its_bytes(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    raw = b"bad,\n\xffrow"
    ref = recorder.add_rejected_bytes(raw)
    recorder.add_rows([0], [2], [ref.sha256])
    error = {"code": "c", "message": "m", "raw": {"ref": str(ref)}}
    recorder.add_failed_passage(0, [failed_step(0)], [], error)
    recorder.journal.commit_durably()
    rows = TrailRows(trail.reader(), run, Payloads(trail.reader(), run))
    (row,) = rows.fetch([0])

    assert (True, raw) == (row.is_rejected, rows.raw(row))
    forge(trail, "UPDATE passages SET error_json = '{}'")
    (row,) = TrailRows(trail.reader(), run, Payloads(trail.reader(), run)).fetch([0])
    with pytest.raises(TrailError, match="not a payload reference"):
        rows.raw(row)


def test_a_forged_state_names_its_place(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    record_rows(recorder, 0, 1)
    recorder.batches.add_event(1, "x", BatchPhase.OPEN)
    recorder.journal.commit_durably()
    forge(trail, "UPDATE journeys SET status = 77")

    with pytest.raises(TrailError, match="node_states 1/0: 77 is no StateStatus"):
        list(TrailRows(trail.reader(), run, Payloads(trail.reader(), run)).fetch([0, 1]))
