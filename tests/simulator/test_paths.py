"""Every path and operation, over raw HTTP.

Also for app.py, exchange.py, file_operations.py, batch_operations.py, shapes.py, paging.py, upload.py, arrival.py.
"""

import hashlib
import time
from typing import Any

import httpx2
import pytest
from tests.simulator.client import AZURE, DATED, OPENAI, WireClient, batch_of
from tests.simulator.conftest import Simulate

PREFIXES = [AZURE, DATED, OPENAI]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_batch_goes_from_upload_to_results_on_every_path(simulate: Simulate, prefix: str) -> None:
    _, client = simulate(prefix)
    data = batch_of(3)
    file_id = client.processed(data)
    assert data == client.content(file_id)
    batch = client.ended(client.create(file_id, metadata={"run": "1"}).json()["id"])
    assert (batch["status"], batch["request_counts"]) == (
        "completed",
        {"total": 3, "completed": 3, "failed": 0},
    )
    assert batch["metadata"] == {"run": "1"}
    assert batch["error_file_id"] is None
    rows = client.lines(batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == ["row-0", "row-1", "row-2"]
    assert all(row["error"] is None and row["response"]["status_code"] == 200 for row in rows)


@pytest.mark.parametrize(("prefix", "status", "header"), [
    (AZURE, 201, "apim-request-id"),
    (DATED, 201, "apim-request-id"),
    (OPENAI, 200, "x-request-id"),
])  # fmt: skip
def test_creating_answers_with_the_providers_status_and_request_id(
    simulate: Simulate, prefix: str, status: int, header: str
) -> None:
    _, client = simulate(prefix)
    uploaded = client.upload(batch_of(1))
    created = client.create(uploaded.json()["id"])
    assert [status, status] == [uploaded.status_code, created.status_code]
    assert uploaded.headers[header] != created.headers[header]
    assert created.headers["x-elspeth-simulator"] == "1"
    assert "date" in created.headers


def test_the_file_object_says_what_was_uploaded(simulate: Simulate) -> None:
    _, client = simulate()
    file = client.upload(
        b"x\n",
        name="ünique.jsonl",
        **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"},
    ).json()
    assert (
        file["bytes"], file["filename"], file["purpose"], file["status"],
    ) == (2, "ünique.jsonl", "batch", "processed")  # fmt: skip
    assert file["created_at"] + 3600 == file["expires_at"]
    assert file == client.http.get(f"/files/{file['id']}").json()


def test_an_expiry_that_the_provider_does_not_take_is_refused(simulate: Simulate) -> None:
    _, client = simulate(AZURE)
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    assert client.upload(b"x\n", **fields).status_code == 400


def test_an_azure_file_is_pending_for_its_latency_and_no_job_may_use_it(simulate: Simulate) -> None:
    _, client = simulate(AZURE, file_latency_s=0.3)
    file = client.upload(batch_of(1)).json()
    assert file["status"] == "pending"
    refused = client.create(file["id"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input_file_id")
    assert client.run(batch_of(1))["status"] == "completed"


def test_the_dated_path_needs_an_api_version(simulate: Simulate) -> None:
    simulator, _ = simulate()
    answer = httpx2.get(f"{simulator.url}/openai/files", headers={"api-key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "404")


def test_a_deleted_file_is_gone(simulate: Simulate) -> None:
    _, client = simulate()
    file_id = client.processed(batch_of(1))
    deleted = client.http.delete(f"/files/{file_id}")
    assert {"id": file_id, "object": "file", "deleted": True} == deleted.json()
    for answer in (
        client.http.get(f"/files/{file_id}"),
        client.http.get(f"/files/{file_id}/content"),
        client.http.delete(f"/files/{file_id}"),
        client.create(file_id),
    ):
        assert answer.status_code == 404
    assert client.http.get("/files").json()["data"] == []


def ids(listing: Any) -> list[str]:
    return [item["id"] for item in listing["data"]]


def test_files_are_listed_by_page_order_and_purpose(simulate: Simulate) -> None:
    _, client = simulate()
    made = [client.upload(b"x", name=f"{n}.jsonl").json()["id"] for n in range(3)]
    other = client.upload(b"x", purpose="user_data").json()["id"]
    first = client.http.get("/files", params={"limit": 2, "purpose": "batch"}).json()
    assert ([made[2], made[1]], True) == (ids(first), first["has_more"])
    assert (made[2], made[1]) == (first["first_id"], first["last_id"])
    rest = client.http.get("/files", params={"limit": 2, "purpose": "batch", "after": made[1]}).json()
    assert ([made[0]], False) == (ids(rest), rest["has_more"])
    assert [*made, other] == ids(client.http.get("/files", params={"order": "asc"}).json())


def test_batches_are_listed_newest_first_a_page_at_a_time(simulate: Simulate) -> None:
    _, client = simulate()
    file_id = client.processed(batch_of(1))
    made = [client.create(file_id).json()["id"] for _ in range(3)]
    first = client.http.get("/batches", params={"limit": 2}).json()
    assert ([made[2], made[1]], True) == (ids(first), first["has_more"])
    rest = client.http.get("/batches", params={"limit": 2, "after": made[1]}).json()
    assert ([made[0]], False) == (ids(rest), rest["has_more"])
    for wrong in ({"after": "batch_unknown"}, {"limit": "0"}, {"limit": "101"}, {"limit": "x"}):
        assert client.http.get("/batches", params=wrong).status_code == 400


def test_a_page_may_start_after_a_file_that_was_deleted_meanwhile(simulate: Simulate) -> None:
    _, client = simulate()
    made = [client.upload(b"x").json()["id"] for _ in range(3)]
    client.http.delete(f"/files/{made[1]}")
    assert [made[0]] == ids(client.http.get("/files", params={"after": made[1]}).json())


def test_result_files_appear_only_when_the_job_is_completed(simulate: Simulate) -> None:
    _, client = simulate(latency_s=0.4)
    batch_id = client.create(client.processed(batch_of(2))).json()["id"]
    assert len(client.http.get("/files").json()["data"]) == 1
    batch = client.ended(batch_id)
    files = client.http.get("/files", params={"purpose": "batch_output"}).json()
    assert [batch["output_file_id"]] == ids(files)


def test_a_job_passes_through_its_phases_and_its_counts_grow(simulate: Simulate) -> None:
    _, client = simulate(latency_s=1.0)
    batch_id = client.create(client.processed(batch_of(40))).json()["id"]
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] != "completed":
        seen.append(client.batch(batch_id))
    statuses = list(dict.fromkeys(batch["status"] for batch in seen))
    assert statuses == ["validating", "in_progress", "finalizing", "completed"]
    counts = [batch["request_counts"]["completed"] for batch in seen]
    assert sorted(counts) == counts
    assert any(0 < count < 40 for count in counts)
    assert all(batch["output_file_id"] is None for batch in seen[:-1])
    last = seen[-1]
    assert last["created_at"] <= last["in_progress_at"] <= last["finalizing_at"] <= last["completed_at"]
    assert last["created_at"] + 86_400 == last["expires_at"]


def test_a_cancelled_job_keeps_what_was_done_and_names_what_was_not(simulate: Simulate) -> None:
    _, client = simulate(latency_s=1.0)
    batch_id = client.create(client.processed(batch_of(40))).json()["id"]
    while client.batch(batch_id)["request_counts"]["completed"] < 5:
        time.sleep(0.01)
    cancelled = client.http.post(f"/batches/{batch_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelling")
    assert client.http.post(f"/batches/{batch_id}/cancel").json()["status"] == "cancelling"
    batch = client.ended(batch_id)
    done, undone = client.lines(batch["output_file_id"]), client.lines(batch["error_file_id"])
    assert batch["status"] == "cancelled"
    assert 5 <= len(done) < 40
    assert len(done) + len(undone) == 40
    assert {"batch_cancelled"} == {row["error"]["code"] for row in undone}
    assert len(client.http.get("/files", params={"purpose": "batch_output"}).json()["data"]) == 2


def test_a_completed_job_can_not_be_cancelled(simulate: Simulate) -> None:
    _, client = simulate()
    batch = client.run(batch_of(1))
    assert client.http.post(f"/batches/{batch['id']}/cancel").status_code == 409
    assert client.http.post("/batches/batch_unknown/cancel").status_code == 404
    assert client.http.get("/batches/batch_unknown").status_code == 404


@pytest.mark.parametrize("fields", [
    {"endpoint": "/v1/unknown"},
    {"endpoint": None},
    {"completion_window": "1h"},
    {"metadata": {"k": 1}},
    {"metadata": {f"k{n}": "v" for n in range(17)}},
    {"input_file_id": ""},
])  # fmt: skip
def test_a_create_that_makes_no_sense_is_refused(simulate: Simulate, fields: dict[str, Any]) -> None:
    _, client = simulate()
    answer = client.create(client.processed(batch_of(1)), **fields)
    assert answer.status_code == 400
    assert {"code", "message", "param", "type"} == set(answer.json()["error"])


def test_a_create_whose_body_is_not_a_json_object_is_refused(simulate: Simulate) -> None:
    _, client = simulate()
    assert client.http.post("/batches", content=b"{").status_code == 400
    assert client.http.post("/batches", content=b"[]").status_code == 400


def test_only_a_batch_file_makes_a_batch(simulate: Simulate) -> None:
    _, client = simulate()
    file_id = client.upload(batch_of(1), purpose="user_data").json()["id"]
    assert client.create(file_id).status_code == 400


def test_uploads_that_make_no_sense_are_refused(simulate: Simulate) -> None:
    _, client = simulate(max_file_bytes=10)
    multipart = {"content-type": "multipart/form-data; boundary=b"}
    assert client.upload(b"x", purpose="").status_code == 400
    assert client.http.post("/files", json={"purpose": "batch"}).status_code == 400
    assert client.http.post("/files", data={"purpose": "batch"}, files={"other": b"x"}).status_code == 400
    assert client.http.post("/files", content=b"no form", headers=multipart).status_code == 400
    assert client.http.post("/files", content=b"--b\r\n", headers=multipart).status_code == 400
    assert client.upload(b"12345678901").status_code == 413
    assert client.http.get("/files").json()["data"] == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_request_without_a_valid_key_is_refused_in_the_providers_shape(simulate: Simulate, prefix: str) -> None:
    simulator, client = simulate(prefix, api_key="right")
    with WireClient(simulator.url, prefix, key="") as nobody:
        answers = [client.http.get("/files"), nobody.http.get("/files"), nobody.upload(b"x")]
    for answer in answers:
        assert answer.status_code == 401
        assert {"code", "message", "param", "type"} == set(answer.json()["error"])
    for headers in ({"api-key": "right"}, {"authorization": "Bearer right"}):
        right = httpx2.get(f"{simulator.url}{prefix}/files", params=client.params, headers=headers)
        assert right.status_code == 200


def test_any_key_will_do_unless_one_is_named(simulate: Simulate) -> None:
    _, client = simulate()
    assert client.http.get("/batches").status_code == 200


def test_what_is_not_there_is_a_404(simulate: Simulate) -> None:
    simulator, client = simulate()
    assert client.http.get("/models").status_code == 404
    assert client.http.put("/files").status_code == 404
    assert httpx2.get(simulator.url + "/_simulator/unknown").status_code == 404
    assert httpx2.get(simulator.url + "/elsewhere", headers={"api-key": "k"}).status_code == 404


def test_the_health_of_the_simulator_can_be_asked(simulate: Simulate) -> None:
    simulator, _ = simulate()
    assert httpx2.get(simulator.url + "/_simulator/health").json() == {"status": "ok"}


def test_two_simulators_never_give_the_same_ids(simulate: Simulate) -> None:
    (_, one), (_, two) = simulate(), simulate()
    assert one.upload(b"x").json()["id"] != two.upload(b"x").json()["id"]


def test_a_large_upload_arrives_byte_for_byte(simulate: Simulate) -> None:
    simulator, client = simulate()
    data = bytes(range(256)) * 20_000 + b"\r\n--"
    file_id = client.upload(data).json()["id"]
    assert hashlib.sha256(data).digest() == hashlib.sha256(client.content(file_id)).digest()
    assert hashlib.sha256(data).hexdigest() == simulator.journal()[0]["file_sha256"]
