"""Every fault at every operation: recorded, told without a traceback, mended by a resume, never paid for twice."""

import json
from datetime import datetime
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Done, Project, tickets
from tests.e2e.wire import jobs_by_file, of, request_payload_hash

from elspeth.simulator import Simulator

ROWS = 3
OPERATIONS = ["files.create", "files.retrieve", "batches.create", "batches.retrieve", "batches.list", "files.content"]
ACTIONS: dict[str, Any] = {
    "401": {"status": 401},
    "404": {"status": 404},
    "429": {"status": 429},
    "500": {"status": 500},
    "reset_before": "reset_before",
    "reset_after": "reset_after",
    "stall": "stall",
}
CASES = [(op, fault) for op in OPERATIONS for fault in ACTIONS]
RESULTS_LOST = ("files.content", "404")  # a rerun costs money: only a person can want it
FINAL = {"401": 4, "404": 3}
"""The exit code of a fault that a later attempt would meet again; all others are waited out."""

NOT_FINAL_AT = {("files.retrieve", "404"), ("batches.retrieve", "404"), RESULTS_LOST}


def prepare(project: Project, simulate: Simulate, operation: str, fault: str, occurrence: object) -> Simulator:
    faults = [{"operation": operation, "occurrence": occurrence, "action": ACTIONS[fault]}]
    if operation == "batches.list":
        faults.append({"operation": "batches.create", "occurrence": 1, "action": "reset_after"})
    simulator = simulate(file_latency_s=0.05, faults=faults)
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url, options="timeout_seconds: 0.7")
    return simulator


def check_trail(project: Project, simulator: Simulator, operation: str, fault: str) -> None:
    """Every request that the provider saw is a recorded call; the spoiled ones are errors with their details."""
    journal = simulator.journal()
    calls = project.query("SELECT * FROM v_calls ORDER BY CAST(substr(call_id, instr(call_id, ':') + 1) AS INT)")
    assert [(entry["operation"], entry["status"]) for entry in journal] == [
        (call["operation"], call["http_status"]) for call in calls
    ]
    for entry, call in zip(journal, calls, strict=True):
        assert request_payload_hash(entry) == call["request_hash"], "failed requests are recorded whole as well"
        if entry["status"] is None or entry["status"] >= 400:
            assert "error" == call["status"]
            assert json.loads(call["error_json"])
        else:
            assert ("success", None) == (call["status"], call["error_json"])
        assert (entry["response_sha256"] if entry["status"] else None) == call["response_hash"]
    struck = [e for e in of(journal, operation) if e["fault"] == ACTIONS[fault]]
    assert struck, "the fault was met"
    intents = project.query("SELECT operation, hex(request_hash) AS hash FROM call_intents")
    for post in ("files.create", "batches.create"):
        sent = sorted(request_payload_hash(entry) for entry in of(journal, post))
        assert sent == sorted(intent["hash"].lower() for intent in intents if intent["operation"] == post)


def check_ending(done: Done, run_id: str, fault: str) -> None:
    """Someone who reads the terminal knows what happened and what to do."""
    told = done.out + done.err
    word = {"stall": "Timeout", "reset_before": "no answer", "reset_after": "no answer"}.get(fault, fault)
    assert f"elspeth resume {run_id}" in told
    if done.code in (3, 4):
        assert "elspeth: " in done.err
        assert "hint:" in done.err
        assert word in done.err
    else:
        assert "Safe to close" in done.out


def check_completed(project: Project, simulator: Simulator, run_id: str) -> None:
    assert [{"run_id": run_id, "status": "completed"}] == project.query("SELECT run_id, status FROM v_runs")
    assert {"completed": ROWS} == counts(project)
    assert [1] == list(jobs_by_file(simulator.journal()).values()), "one job and no other was paid for"
    assert ROWS == len(project.text("out/triaged.csv").splitlines()) - 1 + len(project.lines("out/urgent.jsonl"))


def counts(project: Project) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in project.query("SELECT outcome FROM v_outcomes"):
        word = "completed" if record["outcome"] in ("completed", "routed") else record["outcome"]
        found[word] = found.get(word, 0) + 1
    return found


def the_run(project: Project) -> str:
    ((run,),) = (record.values() for record in project.query("SELECT run_id FROM v_runs"))
    return str(run)


@pytest.mark.parametrize("fault", ACTIONS)
def test_a_fault_that_happens_once_at_each_operation(project: Project, simulate: Simulate, fault: str) -> None:
    operations = [op for op in OPERATIONS if (op, fault) in CASES and (op, fault) != RESULTS_LOST]
    faults = [{"operation": operation, "action": ACTIONS[fault]} for operation in operations]
    faults.append({"operation": "batches.create", "occurrence": 2, "action": "reset_after"})
    simulator = simulate(file_latency_s=1.4, faults=faults)
    project.write("tickets.csv", tickets(ROWS))
    path = project.write_pipeline(simulator.url, options="timeout_seconds: 0.7")
    path.write_text(path.read_text().replace("max_attempts: 2", "max_attempts: 4"))
    done = project("run", "pipeline.yaml", code=None)
    run_id = the_run(project)
    final = [op for op in operations if fault in FINAL and (op, fault) not in NOT_FINAL_AT]
    for _ in final:
        assert FINAL[fault] == done.code, (done.out, done.err)
        check_ending(done, run_id, fault)
        done = project("resume", "latest", code=None)
    assert 0 == done.code, (done.out, done.err)
    for operation in operations:
        check_trail(project, simulator, operation, fault)
    check_completed(project, simulator, run_id)


def test_results_that_the_provider_has_lost_are_never_bought_again(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, "files.content", "404", 1)
    done = project("run", "pipeline.yaml", code=75)
    check_trail(project, simulator, "files.content", "404")
    assert "the provider no longer knows" in done.err.lower()
    project("resume", "latest", code=75)
    assert 1 == sum(jobs_by_file(simulator.journal()).values())


@pytest.mark.parametrize("word", ["truncate", "malformed_json"])
def test_answers_that_are_cut_are_recorded_as_far_as_they_came(project: Project, simulate: Simulate, word: str) -> None:
    faults = [{"operation": operation, "action": word} for operation in OPERATIONS[:4]]
    faults += [{"operation": "files.content", "action": "truncate"}]
    simulator = simulate(file_latency_s=0.05, faults=faults)
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    calls = project.query("SELECT * FROM v_calls ORDER BY CAST(substr(call_id, instr(call_id, ':') + 1) AS INT)")
    journal = simulator.journal()
    assert [entry["response_sha256"] for entry in journal] == [call["response_hash"] for call in calls]
    for entry, call in zip(journal, calls, strict=True):
        if entry["fault"] == "truncate":
            assert "error" == call["status"]
            assert json.loads(call["error_json"])
    check_completed(project, simulator, the_run(project))


def test_a_wish_to_be_asked_later_is_obeyed_by_the_next_process_as_well(project: Project, simulate: Simulate) -> None:
    action = {"status": 429, "headers": {"retry-after": "3"}}
    simulator = simulate(faults=[{"operation": "batches.create", "action": action}])
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml", "--wait", "0.5s", code=75)
    project("resume", "latest", "--wait", "0s", code=75)
    assert 1 == len(of(simulator.journal(), "batches.create"))
    project("resume", "latest")
    first, second = of(simulator.journal(), "batches.create")
    waited = datetime.fromisoformat(second["time"]) - datetime.fromisoformat(first["time"])
    assert 2.9 <= waited.total_seconds() < 10


@pytest.mark.parametrize("style", ["http", "job"])
def test_a_full_queue_means_later(project: Project, simulate: Simulate, style: str) -> None:
    simulator = simulate(enqueued_token_limit=700, quota_style=style, latency_s=0.3)
    project.write("tickets.csv", tickets(12))
    project.write_pipeline(simulator.url, max_requests=4)
    done = project("run", "pipeline.yaml")
    assert done.out.startswith("complete: 12 in = ")
    assert "failed" not in done.out


@pytest.mark.parametrize("end", ["expired", "cancelled", "failed"])
def test_a_job_that_ends_early_is_harvested_and_the_rest_is_sent_again(
    project: Project, simulate: Simulate, end: str
) -> None:
    action = {"end": {"status": end, "fraction": 0.5}}
    simulator = simulate(faults=[{"operation": "batches.create", "action": action}])
    project.write("tickets.csv", tickets(4))
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml")
    assert done.out.startswith("complete: 4 in = ")
    assert "failed" not in done.out
    assert [4, 2] == [record["requests"] for record in project.query("SELECT requests FROM v_batches ORDER BY batch")]


@pytest.mark.parametrize(("operation", "fault"), CASES)
def test_a_fault_that_stays(project: Project, simulate: Simulate, operation: str, fault: str) -> None:
    simulator = prepare(project, simulate, operation, fault, "every")
    wait = "2.5s" if operation == "batches.list" else "1.2s"
    done = project("run", "pipeline.yaml", "--wait", wait, code=None)
    run_id = the_run(project)
    for _ in range(10):  # on a busy machine the time may be over before the fault is met
        if done.code != 75 or any(e["fault"] == ACTIONS[fault] for e in of(simulator.journal(), operation)):
            break
        done = project("resume", "latest", "--wait", wait, code=None)
    check_trail(project, simulator, operation, fault)
    is_final = fault in FINAL and (operation, fault) not in NOT_FINAL_AT
    assert (FINAL[fault] if is_final else 75) == done.code, (done.out, done.err)
    check_ending(done, run_id, fault)
    simulator.clear_faults()
    if (operation, fault) == RESULTS_LOST:
        project("resume", run_id, "--wait", "1s", code=75)
        assert 1 == sum(jobs_by_file(simulator.journal()).values())
        return
    project("resume", "latest")
    check_completed(project, simulator, run_id)
