"""What is recorded is what is read back, table by table."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from tests.core.landscape.conftest import Trail, failed_step, node_step

from elspeth.contracts import (
    BatchPhase,
    BodyRef,
    CallIntent,
    CallRecord,
    CallScope,
    CallStatus,
    CallType,
    FileRole,
    Outcome,
    PayloadClass,
    PurgeAction,
    RunStatus,
)
from elspeth.core.canonical import canonical_json, sha256
from elspeth.core.landscape import LandscapeRecorder, LineColumns, Payloads, RowSource, RunHeader
from elspeth.core.landscape.retention import add_purge
from elspeth.core.landscape.reuses import Reuse
from elspeth.core.landscape.schema import TABLES, table
from elspeth.core.payloads import FRAME_BYTES

START = 1_704_067_200_000_000
A, B, C = (sha256(letter) for letter in (b"a", b"b", b"c"))


def records(trail: Trail, name: str, *columns: str) -> list[tuple[Any, ...]]:
    key = ", ".join(table(name).key)
    return trail.query(f"SELECT {', '.join(columns) or '*'} FROM {name} ORDER BY {key}")


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    return trail.new_run()


@pytest.fixture
def recorder(trail: Trail, run: RunHeader) -> LandscapeRecorder:
    return trail.recorder(run)


def test_a_runs_first_record_has_everything_that_a_resume_needs(trail: Trail, run: RunHeader) -> None:
    columns = ("run_no", "run_id", "pipeline", "mode", "started_at", "folder", "config_json", "config_hash")
    assert [
        (1, run.run_id, "p", "run", START, str(trail.database.parent), "{}", sha256(b"{}"), f"payloads/{run.run_id}")
    ] == records(trail, "runs", *columns, "payload_folder")
    assert trail.database.parent / "payloads" / run.run_id == run.payload_folder


def test_rows_and_keys(trail: Trail, recorder: LandscapeRecorder) -> None:
    recorder.add_rows([0, 1], [2, 5], [A, B])
    recorder.add_rows([2], [6], [C])
    recorder.add_key("k-1", 1)
    recorder.add_key("ä", 0)
    recorder.journal.commit_durably()

    assert [(1, 0, 0, 2, A), (1, 1, 0, 5, B), (1, 2, 0, 6, C)] == records(trail, "rows")
    assert [(1, "k-1", 0, 1), (1, "ä", 0, 0)] == records(trail, "row_keys")


def test_passages_with_and_without_a_hash_a_route_or_an_error(trail: Trail, recorder: LandscapeRecorder) -> None:
    tidy = node_step(1, changed=True, started_at=START + 5, duration_us=7)
    label = node_step(2, changed=True, started_at=START + 6)
    gate = node_step(3, route="true", started_at=START + 8)
    recorder.add_passages([0, 2], [tidy, label, gate], [[A, B], [C, A]])
    recorder.add_failed_passage(1, [tidy, failed_step(2, started_at=START + 6)], [B], {"code": "c", "message": "ü"})
    recorder.add_passages([], [tidy], [[]])
    recorder.add_passages([1], [node_step(2, attempt=1, started_at=START + 9)], [])
    recorder.journal.commit_durably()

    error = '{"code":"c","message":"ü"}'
    assert [
        (1, 0, b"", 0, 0, A + C, None),
        (1, 1, b"", 0, 1, B, error),
        (1, 1, b"", 0, 2, None, None),
        (1, 2, b"", 0, 0, B + A, None),
    ] == records(trail, "passages")
    assert [
        (1, 0, 0, 0, 2, 1, 0, 1, None, 0, 5, 7),
        (1, 0, 0, 1, 2, 2, 0, 1, None, 1, 6, 1),
        (1, 0, 0, 2, 2, 3, 0, 1, "true", None, 8, 1),
        (1, 0, 1, 0, 1, 1, 0, 1, None, 0, 5, 7),
        (1, 0, 1, 1, 1, 2, 0, 2, None, None, 6, 1),
        (1, 0, 2, 0, 0, 2, 1, 1, None, None, 9, 1),
    ] == records(trail, "journeys")
    assert [
        (1, 0, b"", 1, 0, 0, 1, None, A, 5, 7, None),
        (1, 0, b"", 2, 0, 0, 1, None, C, 6, 1, None),
        (1, 0, b"", 3, 0, 0, 1, "true", None, 8, 1, None),
        (1, 1, b"", 1, 0, 0, 1, None, B, 5, 7, None),
        (1, 1, b"", 2, 0, 0, 2, None, None, 6, 1, error),
        (1, 1, b"", 2, 1, 0, 1, None, None, 9, 1, None),
    ] == trail.query("SELECT * FROM node_states WHERE row_index < 2 ORDER BY row_index, node_no, attempt")


def test_hashes_that_do_not_fit_the_steps_are_refused(recorder: LandscapeRecorder) -> None:
    changed, same = node_step(1, changed=True), node_step(2)
    with pytest.raises(ValueError, match="1 hashes do not fit"):
        recorder.add_passages([0], [same], [[A]])
    with pytest.raises(ValueError, match="0 hashes do not fit"):
        recorder.add_failed_passage(0, [changed, failed_step(2)], [], {})
    with pytest.raises(ValueError, match="shorter"):
        recorder.add_passages([0, 1], [changed, changed], [[A, B], [C]])


def test_journeys_are_numbered_anew_in_each_commit(trail: Trail, recorder: LandscapeRecorder) -> None:
    for row in (0, 1):
        recorder.add_passages([row], [node_step(1, started_at=START)], [])
        recorder.journal.commit_durably()

    assert [(0, 0), (1, 0)] == records(trail, "passages", "commit_no", "journey_no")


def test_outcomes_with_and_without_a_sink(trail: Trail, recorder: LandscapeRecorder) -> None:
    recorder.add_outcomes([0], outcome=Outcome.COMPLETED, step_no=None, sink_no=3, sink_lines=[2])
    recorder.add_outcomes([1], outcome=Outcome.FAILED, step_no=1, sink_no=None, sink_lines=[0], reason="schema")
    recorder.add_outcomes([2], outcome=Outcome.ROUTED, step_no=2, sink_no=4, sink_lines=[9])
    recorder.journal.commit_durably()

    assert [
        (1, 0, b"", 0, 1, None, 3, 2, None),
        (1, 1, b"", 0, 8, 1, None, None, "schema"),
        (1, 2, b"", 0, 2, 2, 4, 9, None),
    ] == records(trail, "outcomes")


def test_a_second_outcome_of_a_token_is_refused(trail: Trail, recorder: LandscapeRecorder) -> None:
    recorder.add_outcomes([0], outcome=Outcome.COMPLETED, step_no=None, sink_no=None, sink_lines=[0])
    recorder.journal.commit_durably()
    recorder.add_outcomes([0], outcome=Outcome.FAILED, step_no=1, sink_no=None, sink_lines=[0])

    with pytest.raises(Exception, match="UNIQUE"):
        recorder.journal.commit_durably()


def test_run_events_and_the_status(trail: Trail, recorder: LandscapeRecorder, run: RunHeader) -> None:
    assert (RunStatus.RUNNING, {}) == trail.reader().status(run.run_no)
    recorder.add_run_event(RunStatus.RUNNING)
    trail.clock.advance_s(1)
    recorder.add_run_event(RunStatus.FAILED, {"message": "disk"})
    recorder.journal.commit_durably()

    who = (socket.gethostname(), os.getpid(), "0")
    assert [
        (1, 0, 0, START, 1, *who, None),
        (1, 1, 0, START + 1_000_000, 4, *who, '{"message":"disk"}'),
    ] == records(trail, "run_events")
    assert (RunStatus.FAILED, {"message": "disk"}) == trail.reader().status(run.run_no)


def test_the_files_of_a_run(trail: Trail, recorder: LandscapeRecorder, run: RunHeader) -> None:
    recorder.add_file("pipeline", b"name: p\n")
    recorder.add_file("t.j2", b"")
    recorder.journal.commit_durably()

    assert [
        (1, "pipeline", 0, sha256(b"name: p\n"), "1:0:8"),
        (1, "t.j2", 0, sha256(b""), "1:8:0"),
    ] == records(trail, "run_files")
    payloads = Payloads(trail.reader(), run)
    assert b"name: p\n" == payloads.body_at("1:0:8", sha256(b"name: p\n"))


def test_a_call_without_http_is_stored_with_its_bodies(
    trail: Trail, recorder: LandscapeRecorder, run: RunHeader
) -> None:
    call_id = recorder.record_call(
        CallType.SQL, CallStatus.ERROR, {"b": 1, "a": 2.0}, b"raw", {"message": "no"}, latency_ms=1.5, node_no=4
    )
    other = recorder.record_call(CallType.OTHER, CallStatus.SUCCESS, b"q", operation="credentials")
    recorder.journal.commit_durably()

    assert (f"{run.run_id}:0", f"{run.run_id}:1") == (call_id, other)
    request, envelope = b'{"a":2,"b":1}', canonical_json({"call_type": "sql", "status": "error"})
    assert (
        1, 0, 0, None, 4, None, None, 3, "sql", None, None, 2, None, START - 1500, 1500, sha256(request), "1:0:13",
        sha256(b"raw"), "1:13:3", sha256(envelope), f"1:16:{len(envelope)}", None, 0, '{"message":"no"}',
    ) == records(trail, "calls")[0]  # fmt: skip
    payloads = Payloads(trail.reader(), run)
    for ref, digest, data in (("1:0:13", request, request), ("1:13:3", b"raw", b"raw")):
        assert data == payloads.body_at(ref, sha256(digest))
    assert [(None, None)] == trail.query("SELECT response_hash, response_ref FROM calls WHERE call_no = 1")


def test_an_intent_is_durable_with_everything_before_it_when_it_returns(
    trail: Trail, recorder: LandscapeRecorder, run: RunHeader
) -> None:
    recorder.add_rows([0], [1], [A])
    body = recorder.calls.store_body(b"body")
    scope = CallScope(node_no=2, batch_no=7)
    number = recorder.calls.intend(
        CallIntent(scope=scope, operation="batches.create", method="POST", url="http://x/", request=body)
    )

    assert 0 == number
    assert [(1, 0, 0, START, "batches.create", "POST", "http://x/", 2, 7, sha256(b"body"), "1:0:4", 4)] == records(
        trail, "call_intents"
    )
    assert [(0,)] == records(trail, "rows", "row_index")
    assert b"body" == Payloads(trail.reader(), run).body(body)


def call_of(request: BodyRef, **changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "scope": CallScope(), "call_type": CallType.HTTP, "operation": "o", "status": CallStatus.SUCCESS,
        "started_at": START, "latency_us": 1, "request": request, "envelope": request,
    }  # fmt: skip
    return CallRecord(**{**values, **changes})


def test_only_a_call_with_an_intent_is_durable_at_once(trail: Trail, recorder: LandscapeRecorder) -> None:
    body = recorder.calls.store_body(b"x")
    recorder.calls.add_call(call_of(body, scope=CallScope(row_index=3)))
    assert [] == records(trail, "calls")
    recorder.calls.add_call(call_of(body, intent_no=0, http_status=201, response=body, provider_request_id="p"))

    assert [(0, None, 3, None, None), (1, 0, None, 201, "p")] == records(
        trail, "calls", "call_no", "intent_no", "row_index", "http_status", "provider_request_id"
    )
    assert body == recorder.calls.last_response


def test_bodies_that_are_open_at_the_same_time_do_not_mix(
    trail: Trail, recorder: LandscapeRecorder, run: RunHeader
) -> None:
    calls = recorder.calls
    first, second = calls.open_body(CallScope()), calls.open_body(CallScope())
    first.write(b"fi")
    second.write(b"sec")
    first.write(b"rst")
    stored = calls.store_body(b"third")
    second.write(b"ond")
    refs = [first.close(), second.close(), stored, calls.store_body(b"fourth")]
    recorder.journal.commit_durably()

    payloads = Payloads(trail.reader(), run)
    assert [b"first", b"second", b"third", b"fourth"] == [payloads.body(ref) for ref in refs]
    assert [("calls.zst",), ("calls-2.zst",), ("calls-3.zst",)] == records(trail, "segments", "name")
    assert [1, 2, 3, 1] == [ref.segment_no for ref in refs]


def test_an_answer_with_a_name_is_a_file_of_its_own_and_closed_after_the_commit(
    trail: Trail, recorder: LandscapeRecorder, run: RunHeader
) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    for number in range(1, 30):
        scope = CallScope(batch_no=number, response_name="out.jsonl", response_role=FileRole.OUTPUT)
        sink = recorder.calls.open_body(scope)
        sink.write(b"line\n")
        sink.close()
        recorder.journal.commit_durably()
    recorder.journal.commit_durably()

    assert (1, 1, 0, PayloadClass.FILES.value, "000001-out.jsonl.zst", 1, 2) == records(trail, "segments")[0]
    assert len(os.listdir("/proc/self/fd")) <= opened + 3
    assert b"line\n" == Payloads(trail.reader(), run).segment(29).read(0, 5)


def test_batches_their_events_and_their_members(trail: Trail, recorder: LandscapeRecorder, run: RunHeader) -> None:
    batches = recorder.batches
    first = batches.open_batch(node_no=2, attempt=0, parent_no=None)
    retry = batches.open_batch(node_no=2, attempt=1, parent_no=first)
    segment_no, _ = batches.open_file(first, FileRole.REQUEST, name="r.jsonl")
    start = batches.reopen_file(segment_no).append(b'{"a":1}\n')
    lines = LineColumns([5], [0], [start], [8], [sha256(b'{"a":1}\n')])
    batches.add_lines(lines, batch_no=first, role=FileRole.REQUEST, segment_no=segment_no)
    batches.add_event(first, "sealed", BatchPhase.SEALED, {"requests": 1, "bytes": 8})
    batches.add_event(retry, "sealed", BatchPhase.SEALED)
    trail.clock.advance_s(2)
    batches.add_event(first, "uploaded", BatchPhase.UPLOADED, {"file_id": "f"})
    recorder.journal.commit_durably()
    batches.finish_file(segment_no)
    recorder.journal.commit_durably()

    assert [(1, 1, 0, 2, 0, None, START), (1, 2, 0, 2, 1, 1, START)] == records(trail, "batches")
    assert [
        (1, 1, 0, 0, START, "sealed", 2, '{"requests":1,"bytes":8}'),
        (1, 1, 1, 0, START + 2_000_000, "uploaded", 3, '{"file_id":"f"}'),
        (1, 2, 0, 0, START, "sealed", 2, "{}"),
    ] == records(trail, "batch_events")
    assert [(1, 5, b"", 1, 1, 0, 1, 0, 0, 8, sha256(b'{"a":1}\n'))] == records(trail, "batch_members")
    assert b'{"a":1}\n' == Payloads(trail.reader(), run).segment(segment_no).read(0, 8)


def test_segments_frames_extents_and_commits(trail: Trail, recorder: LandscapeRecorder, run: RunHeader) -> None:
    recorder.journal.checkpoint_with(lambda: {"next_row": 2}, {})
    recorder.add_row_bytes([b"a", b"bb"], first_row=0, last_row=1)
    recorder.journal.commit_durably()
    recorder.add_rejected_bytes(b"bad\nrow")
    recorder.add_row_bytes([b"c" * 100_000], first_row=2, last_row=2)
    recorder.journal.commit_durably()

    rows = (run.payload_folder / "rows.zst").read_bytes()
    rejected = (run.payload_folder / "rejected.zst").read_bytes()
    first, other, last = records(trail, "frames")[0], records(trail, "frames")[2], records(trail, "frames")[1]
    size = first[6]
    assert (1, 1, 0, 0, 5, 0, size, 0, 1) == first
    assert (1, 1, 5, 1, 100_001, size, len(rows) - size, 2, 2) == last
    assert (1, 2, 0, 1, 7, 0, len(rejected), None, None) == other
    assert [(1, 1, 0, 1, "rows.zst", None, None), (1, 2, 1, 1, "rejected.zst", None, None)] == records(
        trail, "segments"
    )
    assert [
        (1, 0, 1, 1, 0, size, sha256(rows[:size])),
        (1, 1, 1, 1, size, len(rows) - size, sha256(rows[size:])),
        (1, 1, 1, 2, 0, len(rejected), sha256(rejected)),
    ] == records(trail, "extents")
    assert [(1, 0, START, '{"next_row":2}'), (1, 1, START, '{"next_row":2}')] == records(
        trail, "commits", "run_no", "commit_no", "at", "frontier_json"
    )
    assert {"next_row": 2} == trail.reader().frontier(run.run_no)


def lines_by_row(trail: Trail, run: RunHeader) -> list[tuple[int, int, list[bytes]]]:
    """The frames of rows: their range, and what lies between the newlines."""
    segment = Payloads(trail.reader(), run).segment(1)
    return [
        (first, last, segment.read(start, size).splitlines())
        for start, size, first, last in records(trail, "frames", "start", "size", "first_row", "last_row")
    ]


def test_the_rows_of_a_micro_batch_lie_in_frames_of_the_usual_size(
    trail: Trail, recorder: LandscapeRecorder, run: RunHeader
) -> None:
    """All versions of a row are in one frame, and a frame names the rows whose bytes are in it and no others."""
    rows = range(100, 356)
    columns = [[b"%d %d " % (row, version) + b"x" * 290 for row in rows] for version in range(3)]
    recorder.add_versions([(rows, column) for column in columns])
    recorder.journal.commit_durably()
    found = lines_by_row(trail, run)

    assert [line for versions in zip(*columns, strict=True) for line in versions] == [
        line for _, _, lines in found for line in lines
    ]
    for first, last, lines in found:
        assert [b"%d" % row for row in range(first, last + 1) for _ in range(3)] == [line.split()[0] for line in lines]
        assert sum(map(len, lines)) < FRAME_BYTES + 3 * 300
    assert 7 == len(found)


def test_frames_of_rows_that_went_different_ways(trail: Trail, recorder: LandscapeRecorder, run: RunHeader) -> None:
    """A row without a second version, one that is larger than a frame, and one without a byte."""
    columns = [([3, 5, 9], [b"3 a", b"", b"9 a"]), ([3, 9], [b"3 b", b"9 b" + b"x" * 2 * FRAME_BYTES])]
    recorder.add_versions(columns)
    recorder.journal.commit_durably()
    source = RowSource(trail.reader(), run, Payloads(trail.reader(), run))

    assert 1 < len(lines_by_row(trail, run))
    for rows, lines in columns:
        assert lines == [
            source.bytes_of(row, commit_no=0, sha=sha256(line)) for row, line in zip(rows, lines, strict=True)
        ]


def test_a_taken_answer_and_the_lines_that_are_kept_of_it(trail: Trail, recorder: LandscapeRecorder) -> None:
    request, reply = recorder.add_reused_line(b"asked\n"), recorder.add_reused_line(b"answered\n")
    reuse = Reuse(
        node_no=2,
        from_run="01k9x",
        from_row=7,
        from_batch=3,
        from_attempt=1,
        request_hash=request.sha256,
        request_ref=str(request),
        role=FileRole.OUTPUT,
        reply_hash=reply.sha256,
        reply_ref=str(reply),
        input_tokens=11,
        output_tokens=None,
        is_simulated=True,
    )
    recorder.add_reuse(5, reuse)
    recorder.journal.commit_durably()

    asked, answered = (sha256(b"asked\n"), "1:0:6"), (sha256(b"answered\n"), "1:6:9")
    assert [(1, 5, b"", 2, 0, "01k9x", 7, 3, 1, *asked, FileRole.OUTPUT.value, *answered, 11, None, 1)] == records(
        trail, "reuses"
    )
    assert [("reused.zst", PayloadClass.FILES.value)] == records(trail, "segments", "name", "class")


def test_a_record_lacks_no_column(trail: Trail, recorder: LandscapeRecorder) -> None:
    with pytest.raises(KeyError, match="label"):
        recorder.journal.add("edges", from_no=1, to_no=None)
    recorder.journal.add("edges", from_no=1, label="next", to_no=None)
    recorder.journal.add(
        "nodes",
        node_no=1,
        name="n",
        kind=2,
        plugin=None,
        expression="e",
        fields_json="{}",
        price_json=None,
        answers_from=None,
    )
    recorder.journal.add("artifacts", node_no=1, path="/o", size=1, hash=A, records=0)
    recorder.journal.commit_durably()

    assert [(1, 1, "next", 0, None)] == records(trail, "edges")
    assert [(1, 1, 0, "n", 2, None, "e", "{}", None, None)] == records(trail, "nodes")
    assert [(1, 1, 0, "/o", 1, A, 0)] == records(trail, "artifacts")


def test_the_first_commit_is_sealed_and_what_is_sealed_is_not_sealed_again(
    trail: Trail, recorder: LandscapeRecorder
) -> None:
    recorder.journal.commit()
    recorder.journal.seal("pending")
    recorder.journal.commit()
    recorder.journal.seal("completed")
    recorder.journal.drain()
    assert [(1, 0, START, "opened", 1), (1, 1, START, "completed", 2)] == [seal[:5] for seal in records(trail, "seals")]


def test_what_is_done_about_the_keeping_of_payloads_is_numbered_on_across_processes(trail: Trail) -> None:
    run = trail.new_run()
    for _ in range(2):
        journal = trail.recorder(run).journal
        add_purge(
            journal,
            PurgeAction.PURGING,
            who="ana@host",
            why="90 days",
            payload_class=PayloadClass.CALLS,
            detail={"files": 2, "bytes": 9},
        )
        add_purge(journal, PurgeAction.HELD, who="bo@host", why="an inquiry")
        journal.commit_durably()
        journal.close()

    assert [
        (1, 0, 0, START, 3, 2, "ana@host", "90 days", '{"files":2,"bytes":9}'),
        (1, 1, 0, START, 1, None, "bo@host", "an inquiry", None),
    ] == records(trail, "purges")[:2]
    assert [0, 1, 2, 3] == [record[1] for record in records(trail, "purges")]


def test_every_table_is_written_by_some_test_here() -> None:
    with open(__file__) as file:
        text = file.read()
    missing = [entry.name for entry in TABLES if f'trail, "{entry.name}"' not in text]

    assert [] == missing
