"""Every action of the fault plan, as a client meets it.

Also for delivery.py.
"""

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.simulator.client import WireClient, batch_of
from tests.simulator.conftest import Simulate

from elspeth.simulator import Settings, Simulator
from elspeth.simulator.faults import WORDS, fault_list, parse_fault


def fault(operation: str, action: Any, occurrence: Any = 1) -> dict[str, Any]:
    return {"operation": operation, "occurrence": occurrence, "action": action}


def test_a_scripted_status_comes_with_its_headers_and_body_and_nothing_is_done(simulate: Simulate) -> None:
    action = {
        "status": 429,
        "headers": {"Retry-After": "7"},
        "body": {"error": {"message": "{api_key}"}},
    }
    simulator, client = simulate(faults=[fault("files.create", action)])
    answer = client.upload(b"x")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json() == {"error": {"message": "a-key"}}
    assert client.http.get("/files").json()["data"] == []
    assert action == simulator.journal()[0]["fault"]


def test_a_scripted_status_without_a_body_has_the_providers_error_shape(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("files.list", {"status": 503})])
    answer = client.http.get("/files")
    assert (503, {"code", "message", "param", "type"}) == (answer.status_code, set(answer.json()["error"]))


def test_a_scripted_body_may_be_plain_text(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("files.list", {"status": 502, "body": "<html>bad gateway</html>"})])
    assert client.http.get("/files").text == "<html>bad gateway</html>"


def test_a_scripted_status_may_follow_the_act(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("files.create", {"status": 500, "act": True})])
    assert client.upload(b"x").status_code == 500
    assert len(client.http.get("/files").json()["data"]) == 1


def test_a_delay_is_followed_by_the_ordinary_answer(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("files.list", {"delay_seconds": 0.2})])
    started = time.monotonic()
    assert client.http.get("/files").status_code == 200
    assert time.monotonic() - started >= 0.2


def test_a_stalled_request_runs_into_the_clients_timeout_and_is_journalled(simulate: Simulate) -> None:
    simulator, client = simulate(faults=[fault("files.list", "stall")])
    with pytest.raises(httpx2.ReadTimeout):
        client.http.get("/files", timeout=0.2)
    entry = simulator.journal()[0]
    assert (entry["fault"], entry["status"], entry["response_bytes"]) == ("stall", None, 0)
    assert client.http.get("/files").status_code == 200


def test_a_stopping_simulator_lets_go_of_stalled_requests_at_once() -> None:
    with Simulator(Settings(faults=[fault("files.list", "stall")])) as simulator:
        client = WireClient(simulator.url)
        with pytest.raises(httpx2.ReadTimeout):
            client.http.get("/files", timeout=0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    client.http.close()


def test_a_reset_before_reaches_the_client_as_a_reset_and_nothing_is_done(simulate: Simulate) -> None:
    simulator, client = simulate(faults=[fault("files.create", "reset_before")])
    with pytest.raises(httpx2.NetworkError, match="reset"):
        client.upload(b"x")
    assert client.http.get("/files").json()["data"] == []
    assert simulator.journal()[0]["file_bytes"] == 1


def test_a_reset_after_reaches_the_client_as_a_reset_and_all_is_done(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("batches.create", "reset_after")])
    file_id = client.processed(batch_of(1))
    with pytest.raises(httpx2.NetworkError, match="reset"):
        client.create(file_id)
    assert [file_id] == [job["input_file_id"] for job in client.http.get("/batches").json()["data"]]


@pytest.mark.parametrize("operation", ["files.content", "batches.list"])
def test_a_truncated_answer_is_seen_as_an_error(simulate: Simulate, operation: str) -> None:
    simulator, client = simulate(faults=[fault(operation, "truncate")])
    batch = client.run(batch_of(100))
    path = f"/files/{batch['output_file_id']}/content" if operation == "files.content" else "/batches"
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete message body"):
        client.http.get(path)
    whole = client.http.get(path)
    cut, full = simulator.journal()[-2:]
    assert (200, len(whole.content) // 2, len(whole.content)) == (
        cut["status"], cut["response_bytes"], full["response_bytes"],
    )  # fmt: skip


def test_malformed_json_has_a_correct_length_and_can_not_be_read(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("batches.list", "malformed_json")])
    answer = client.http.get("/batches")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_malformed_json_also_halves_a_result_file(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("files.content", "malformed_json")])
    batch = client.run(batch_of(1))
    with pytest.raises(json.JSONDecodeError):
        client.lines(batch["output_file_id"])


def test_a_patch_is_merged_into_the_answer_only(simulate: Simulate) -> None:
    patch = {"status": "paused", "request_counts": {"total": None}, "new": 1}
    _, client = simulate(faults=[fault("batches.retrieve", {"patch": patch})])
    batch_id = client.create(client.processed(batch_of(2))).json()["id"]
    patched, plain = client.batch(batch_id), client.batch(batch_id)
    assert (
        patched["status"], patched["new"], patched["request_counts"],
    ) == ("paused", 1, {"total": None, "completed": 2, "failed": 0})  # fmt: skip
    assert plain["status"] == "completed"


def test_a_stuck_job_stays_in_the_phase_it_was_last_seen_in(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("batches.retrieve", "stuck", {"from": 1, "to": 3})])
    batch_id = client.create(client.processed(batch_of(2))).json()["id"]
    assert [client.batch(batch_id)["status"] for _ in range(3)] == ["validating"] * 3
    assert client.batch(batch_id)["status"] == "completed"


def test_a_stale_list_lacks_the_newest_object(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("batches.list", "stale_list"), fault("files.list", "stale_list")])
    old = client.upload(b"x").json()["id"]
    file_id = client.processed(batch_of(1))
    batch_id = client.create(file_id).json()["id"]
    assert client.http.get("/batches").json()["data"] == []
    assert [batch_id] == [job["id"] for job in client.http.get("/batches").json()["data"]]
    assert [old] == [f["id"] for f in client.http.get("/files?purpose=batch").json()["data"]]


@pytest.mark.parametrize("collection", ["files", "batches"])
def test_a_foreign_list_holds_other_peoples_objects_too(simulate: Simulate, collection: str) -> None:
    _, client = simulate(faults=[fault(f"{collection}.list", "foreign_list")])
    client.run(batch_of(1))
    foreign = client.http.get(f"/{collection}?limit=20").json()["data"]
    own = client.http.get(f"/{collection}?limit=20").json()["data"]
    assert own == foreign[2:]
    assert set(own[0]) == set(foreign[0])
    assert foreign[0]["id"] not in {item["id"] for item in own}


@pytest.mark.parametrize(("occurrence", "expected"), [
    (2, [200, 429, 200, 200]),
    ([1, 3], [429, 200, 429, 200]),
    ("every", [429, 429, 429, 429]),
    ({"from": 3}, [200, 200, 429, 429]),
    ({"from": 2, "to": 3}, [200, 429, 429, 200]),
    ({"to": 1}, [429, 200, 200, 200]),
])  # fmt: skip
def test_a_fault_strikes_at_its_occurrences(simulate: Simulate, occurrence: Any, expected: list[int]) -> None:
    _, client = simulate(faults=[fault("files.list", {"status": 429}, occurrence)])
    assert expected == [client.http.get("/files").status_code for _ in range(4)]


def test_a_fault_added_later_counts_from_then(simulate: Simulate) -> None:
    simulator, client = simulate()
    client.http.get("/files")
    simulator.add_faults([fault("files.list", {"status": 418}), fault("*", {"status": 429}, 2)])
    assert [client.http.get("/files").status_code for _ in range(3)] == [418, 429, 200]


def test_faults_are_added_listed_and_deleted_over_http(simulate: Simulate) -> None:
    simulator, client = simulate()
    faults_url = simulator.url + "/_simulator/faults"
    one = fault("files.list", {"status": 418})
    assert httpx2.post(faults_url, json=one).status_code == 201
    plan = {"faults": [fault("files.list", {"status": 419}, 2)], "row_faults": {"row-0": "500"}}
    assert len(httpx2.post(faults_url, json=plan).json()["faults"]) == 3
    assert client.http.get("/files").status_code == 418
    listed = httpx2.get(faults_url).json()["faults"]
    assert [entry["seen"] for entry in listed] == [1, 1, 0]
    assert one == {key: listed[0][key] for key in one}
    assert client.run(batch_of(1))["request_counts"] == {"completed": 0, "failed": 1, "total": 1}
    assert httpx2.delete(faults_url).json() == {"faults": []}
    assert httpx2.get(faults_url).json() == {"faults": []}
    assert client.http.get("/files").status_code == 200
    assert [entry["operation"] for entry in simulator.journal()[:2]] == ["files.list", "files.create"]


@pytest.mark.parametrize("source", [
    {"operation": "files.lst", "action": "stall"},
    {"operation": "files.list", "action": "stal"},
    {"operation": "files.list"},
    {"operation": "files.list", "action": {}},
    {"operation": "files.list", "action": {"statsu": 429}},
    {"operation": "files.list", "action": {"status": []}},
    {"operation": "files.list", "action": "stall", "occurrence": 0},
    {"operation": "files.list", "action": "stall", "occurrence": "always"},
    {"operation": "files.list", "action": "stall", "when": 1},
    {"operation": "files.list", "action": {"end": {"status": "expired"}}},
    {"operation": "batches.create", "action": {"end": {"status": "paused"}}},
    {"operation": "batches.create", "action": {"row_faults": {"row-1": "999"}}},
    {"operation": "files.content", "action": {"lines": {"lost": ["row-1"]}}},
    "stall",
    7,
])  # fmt: skip
def test_a_misspelt_fault_is_refused(simulate: Simulate, source: Any) -> None:
    with pytest.raises(ValueError):
        parse_fault(source)
    simulator, _ = simulate()
    answer = httpx2.post(simulator.url + "/_simulator/faults", json=[fault("files.list", "stall"), source])
    assert answer.status_code == 400
    assert httpx2.get(simulator.url + "/_simulator/faults").json()["faults"] == []
    with pytest.raises(ValueError):
        Simulator(Settings(faults=[source]))


def test_a_fault_plan_with_unknown_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="fautls"):
        fault_list({"fautls": []})


@pytest.mark.parametrize(("status", "code"), [
    ("expired", "batch_expired"), ("cancelled", "batch_cancelled"), ("failed", "request_timeout"),
])  # fmt: skip
def test_a_job_can_end_early_with_the_undone_rows_in_the_error_file(simulate: Simulate, status: str, code: str) -> None:
    _, client = simulate(faults=[fault("batches.create", {"end": {"status": status, "fraction": 0.5}})])
    batch = client.run(batch_of(4))
    assert status == batch["status"]
    assert batch[f"{status}_at"] is not None
    assert [row["custom_id"] for row in client.lines(batch["output_file_id"])] == ["row-0", "row-1"]
    undone = client.lines(batch["error_file_id"])
    assert [("row-2", None, code), ("row-3", None, code)] == [
        (row["custom_id"], row["response"], row["error"]["code"]) for row in undone
    ]
    assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 0}
    assert (status == "failed") == (batch["errors"] is not None)
    assert client.run(batch_of(1))["status"] == "completed"


def test_undone_rows_may_be_missing_altogether(simulate: Simulate) -> None:
    end = {"status": "expired", "fraction": 0.25, "undone": "missing"}
    _, client = simulate(faults=[fault("batches.create", {"end": end})])
    batch = client.run(batch_of(4))
    assert (len(client.lines(batch["output_file_id"])), batch["error_file_id"]) == (1, None)


def test_an_expiry_for_all_jobs_is_a_setting_and_can_be_confined_to_the_first(simulate: Simulate) -> None:
    _, client = simulate(expire_after=0.0, undone_rows="missing", faulty_jobs=1)
    first, second = client.run(batch_of(2)), client.run(batch_of(2))
    assert (first["status"], first["output_file_id"], first["error_file_id"]) == ("expired", None, None)
    assert second["status"] == "completed"


def test_rows_of_one_job_alone_can_fail(simulate: Simulate) -> None:
    _, client = simulate(faults=[fault("batches.create", {"row_faults": {"row-1": "503"}})])
    first, second = client.run(batch_of(3)), client.run(batch_of(3))
    assert [batch["request_counts"]["failed"] for batch in (first, second)] == [1, 0]
    assert [row["custom_id"] for row in client.lines(first["error_file_id"])] == ["row-1"]


def test_row_faults_of_the_plan_hold_beside_other_faults_of_a_create(simulate: Simulate) -> None:
    faults = fault_list({"row_faults": {"row-0": "500"}, "faults": [fault("batches.create", "reset_after")]})
    _, client = simulate(faults=faults)
    file_id = client.processed(batch_of(2))
    with pytest.raises(httpx2.NetworkError):
        client.create(file_id)
    batch = client.http.get("/batches").json()["data"][0]
    assert client.ended(batch["id"])["request_counts"]["failed"] == 1


def test_every_word_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [word for word in WORDS if f'"{word}"' not in source] == []
