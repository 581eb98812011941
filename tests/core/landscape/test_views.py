"""The views for people; their columns are a contract (interface.md, Shapes)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.landscape.conftest import Trail, failed_step, node_step

from elspeth.contracts import (
    BatchPhase,
    CallRecord,
    CallScope,
    CallStatus,
    CallType,
    Outcome,
    RunStatus,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeRecorder, RunHeader

START = 1_704_067_200_000_000
COLUMNS = {
    "node_states": "run_no, row_index, path, node_no, attempt, commit_no, status, route, output_hash, started_us, "
    "duration_us, error_json",
    "v_runs": "run_id, pipeline, status, started_at, ended_at, mode, grade",
    "v_rows": "run_id, row_index, line, data_hash, outcome",
    "v_states": "run_id, row_index, path, step, attempt, status, route, input_hash, output_hash, started_at, "
    "duration_us, error_json",
    "v_outcomes": "run_id, row_index, path, outcome, step, sink",
    "v_reuses": "run_id, row_index, path, step, from_run, from_row, from_batch, from_attempt, request_hash, "
    "request_ref, reply_hash, reply_ref, input_tokens, output_tokens",
    "v_calls": "run_id, call_id, step, batch, row_index, operation, method, url, status, http_status, latency_ms, "
    "started_at, request_hash, request_ref, response_hash, response_ref, provider_request_id, error_json",
    "v_batches": "run_id, batch, step, attempt, requests, bytes, status, remote_file, remote_batch, created_at, "
    "ended_at",
}
A, B, C = (sha256(letter) for letter in (b"a", b"b", b"c"))


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    return trail.new_run()


@pytest.fixture
def recorder(trail: Trail, run: RunHeader) -> LandscapeRecorder:
    made = trail.recorder(run)
    for number, name, kind in ((0, "source", 1), (1, "tidy", 2), (2, "risk", 3), (3, "out", 5)):
        made.journal.add(
            "nodes",
            node_no=number,
            name=name,
            kind=kind,
            plugin=None,
            expression=None,
            fields_json="{}",
            price_json=None,
            answers_from=None,
        )
    return made


def shown(trail: Trail, view: str) -> list[dict[str, Any]]:
    return list(trail.reader().dicts(f"SELECT * FROM {view}"))


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_the_columns_of_the_contract_first(view: str, trail: Trail, run: RunHeader) -> None:
    promised = COLUMNS[view].split(", ")
    cursor = trail.reader().connection.execute(f"SELECT * FROM {view}")

    assert promised == [column[0] for column in cursor.description][: len(promised)]


def test_runs(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    def last() -> dict[str, Any]:
        recorder.journal.commit_durably()
        (record,) = shown(trail, "v_runs")
        return record

    recorder.add_run_event(RunStatus.RUNNING)
    expected = {
        "run_id": run.run_id,
        "pipeline": "p",
        "status": "running",
        "started_at": "2024-01-01T00:00:00.000000Z",
        "ended_at": None,
        "mode": "run",
        "grade": "replayable",
    }
    assert expected == last()
    trail.clock.advance_s(1.5)
    recorder.add_run_event(RunStatus.FAILED)
    assert {**expected, "status": "failed", "ended_at": "2024-01-01T00:00:01.500000Z"} == last()
    recorder.add_run_event(RunStatus.RUNNING)
    assert expected == last()
    recorder.add_run_event(RunStatus.PENDING)
    assert {**expected, "status": "pending"} == last()
    trail.clock.advance_s(60)
    recorder.add_run_event(RunStatus.COMPLETED)
    assert {**expected, "status": "completed", "ended_at": "2024-01-01T00:01:01.500000Z"} == last()


def test_states_derive_what_went_in_and_what_came_out(trail: Trail, recorder: LandscapeRecorder) -> None:
    recorder.add_rows([0, 1], [2, 3], [A, A])
    tidy = node_step(1, changed=True, started_at=START + 7, duration_us=3)
    recorder.add_passages([0], [tidy, node_step(2, route="true", started_at=START + 8, duration_us=3)], [[B]])
    recorder.add_failed_passage(1, [failed_step(1, started_at=START)], [], {"code": "x"})
    recorder.add_passages([1], [node_step(1, attempt=1, changed=True, started_at=START)], [[C]])
    recorder.journal.commit_durably()

    assert [
        (0, "", "tidy", 0, "completed", None, A.hex(), B.hex(), 3, None),
        (0, "", "risk", 0, "completed", "true", B.hex(), B.hex(), 3, None),
        (1, "", "tidy", 0, "failed", None, A.hex(), None, 1, '{"code":"x"}'),
        (1, "", "tidy", 1, "completed", None, A.hex(), C.hex(), 1, None),
    ] == trail.query(
        "SELECT row_index, path, step, attempt, status, route, input_hash, output_hash, duration_us, error_json "
        "FROM v_states ORDER BY row_index, step = 'risk', attempt"
    )
    assert "2024-01-01T00:00:00.000007Z" == shown(trail, "v_states")[0]["started_at"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM node_states WHERE run_no = 1 AND row_index = 2 AND path = x'' AND node_no = 3",
        "SELECT * FROM node_states WHERE run_no = 1 AND row_index IN (SELECT value FROM json_each('[2]'))",
        "SELECT * FROM node_states WHERE run_no = 1 AND row_index BETWEEN 2 AND 3",
        "SELECT * FROM node_states WHERE run_no = 1",
    ],
)
def test_states_are_found_by_the_keys_of_both_tables_and_sorted_token_by_token(trail: Trail, statement: str) -> None:
    trail.new_run()
    plan = [
        detail
        for *_, detail in trail.query(f"EXPLAIN QUERY PLAN {statement} ORDER BY row_index, path, node_no, attempt")
    ]

    assert ["p USING PRIMARY KEY", "j USING PRIMARY KEY"] == [
        line.removeprefix("SEARCH ").partition(" (")[0] for line in plan if line.startswith("SEARCH ")
    ]
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_rows_and_outcomes(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    recorder.add_rows([0, 1], [2, 5], [A, B])
    recorder.add_outcomes([0], outcome=Outcome.ROUTED, step_no=2, sink_no=3, sink_lines=[2])
    recorder.journal.commit_durably()

    one = {"run_id": run.run_id, "row_index": 0}
    assert [
        {**one, "line": 2, "data_hash": A.hex(), "outcome": "routed"},
        {**one, "row_index": 1, "line": 5, "data_hash": B.hex(), "outcome": None},
    ] == shown(trail, "v_rows")
    assert [
        {**one, "path": "", "outcome": "routed", "step": "risk", "sink": "out", "line": 2, "reason": None}
    ] == shown(trail, "v_outcomes")


def test_calls(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    body = recorder.calls.store_body(b"x")
    recorder.calls.add_call(
        CallRecord(
            scope=CallScope(node_no=1, batch_no=4, row_index=2),
            call_type=CallType.HTTP,
            operation="files.create",
            status=CallStatus.ERROR,
            started_at=START + 1,
            latency_us=1234,
            request=body,
            envelope=body,
            method="POST",
            url="http://x/",
            http_status=500,
            provider_request_id="p",
            error={"type": "http_status"},
        )
    )
    recorder.journal.commit_durably()
    expected = {
        "run_id": run.run_id,
        "call_id": f"{run.run_id}:0",
        "step": "tidy",
        "batch": 4,
        "row_index": 2,
        "operation": "files.create",
        "method": "POST",
        "url": "http://x/",
        "status": "error",
        "http_status": 500,
        "latency_ms": 1.234,
        "started_at": "2024-01-01T00:00:00.000001Z",
        "request_hash": sha256(b"x").hex(),
        "request_ref": "1:0:1",
        "response_hash": None,
        "response_ref": None,
        "provider_request_id": "p",
        "error_json": '{"type":"http_status"}',
    }
    (record,) = shown(trail, "v_calls")

    assert expected == {name: record[name] for name in expected}


def test_batches(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    batch = recorder.batches.open_batch(node_no=1, attempt=0, parent_no=None)
    for event, phase, detail in (
        ("sealed", BatchPhase.SEALED, {"requests": 3, "bytes": 99}),
        ("uploaded", BatchPhase.UPLOADED, {"file_id": "f-1"}),
        ("created", BatchPhase.CREATED, {"batch_id": "b-1", "provider_status": "validating"}),
        ("polled", BatchPhase.CREATED, {"provider_status": "in_progress"}),
        ("ended", BatchPhase.ENDED, {"provider_status": "completed"}),
    ):
        trail.clock.advance_s(1)
        recorder.batches.add_event(batch, event, phase, detail)
    recorder.journal.commit_durably()

    assert [
        {
            "run_id": run.run_id,
            "batch": 1,
            "step": "tidy",
            "attempt": 0,
            "requests": 3,
            "bytes": 99,
            "status": "ended",
            "remote_file": "f-1",
            "remote_batch": "b-1",
            "created_at": "2024-01-01T00:00:03.000000Z",
            "ended_at": "2024-01-01T00:00:05.000000Z",
            "provider_status": "completed",
        }
    ] == shown(trail, "v_batches")
