"""The journal against what really went over the wire."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.simulator.client import API_VERSION, AZURE, DATED, batch_of
from tests.simulator.conftest import Simulate

from elspeth.simulator.journal import Journal


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_hashes_are_those_of_what_was_sent_and_received(simulate: Simulate) -> None:
    simulator, client = simulate(AZURE)
    data = batch_of(20)
    uploaded = client.upload(data, name="unique.jsonl")
    created = client.create(uploaded.json()["id"])
    batch = client.batch(created.json()["id"])
    content = client.content(batch["output_file_id"])
    upload, create, retrieve, download = simulator.journal()
    assert ("files.create", sha256(data), len(data), "unique.jsonl") == (
        upload["operation"], upload["file_sha256"], upload["file_bytes"], upload["file_name"],
    )  # fmt: skip
    assert (sha256(uploaded.request.read()), 201, sha256(uploaded.content)) == (
        upload["body_sha256"], upload["status"], upload["response_sha256"],
    )  # fmt: skip
    assert (sha256(created.request.content), len(created.request.content), sha256(created.content)) == (
        create["body_sha256"], create["body_bytes"], create["response_sha256"],
    )  # fmt: skip
    assert (len(created.content), None) == (create["response_bytes"], create["file_sha256"])
    assert ("batches.retrieve", "GET", f"{AZURE}/batches/{batch['id']}", sha256(b"")) == (
        retrieve["operation"], retrieve["method"], retrieve["path"], retrieve["body_sha256"],
    )  # fmt: skip
    assert (sha256(content), len(content)) == (download["response_sha256"], download["response_bytes"])
    assert [entry["n"] for entry in simulator.journal()] == [1, 2, 3, 4]


def test_keys_are_never_in_the_journal(simulate: Simulate) -> None:
    simulator, client = simulate(DATED, faults=[{"operation": "files.list", "action": {
        "status": 401, "body": {"error": {"message": "bad key {api_key}"}},
    }}])  # fmt: skip
    secret = "sentinel-secret"
    headers = {"api-key": secret, "authorization": f"Bearer {secret}"}
    answer = client.http.get("/files", headers=headers, params={"api-key": secret})
    assert secret in answer.text
    text = json.dumps(simulator.journal())
    assert secret not in text
    entry = simulator.journal()[0]
    assert (entry["headers"]["api-key"], entry["headers"]["authorization"]) == ("***", "***")
    assert entry["query"] == {**API_VERSION, "api-key": "***"}


def test_the_journal_is_served_as_json_lines(simulate: Simulate) -> None:
    simulator, client = simulate()
    client.http.get("/files")
    client.http.get("/models")
    answer = httpx2.get(simulator.url + "/_simulator/journal")
    assert answer.headers["content-type"] == "application/x-ndjson"
    served = [json.loads(line) for line in answer.text.splitlines()]
    assert simulator.journal() == served
    assert [(entry["operation"], entry["status"]) for entry in served] == [("files.list", 200), (None, 404)]


def test_an_upload_that_breaks_off_is_in_the_journal(simulate: Simulate) -> None:
    simulator, client = simulate()

    def broken() -> Iterator[bytes]:
        yield b"--b\r\n"
        raise RuntimeError("the client gives up")

    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": "1000"}
    with pytest.raises(RuntimeError):
        client.http.post("/files", content=broken(), headers=headers)
    deadline = time.monotonic() + 5
    while not simulator.journal():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    entry = simulator.journal()[0]
    assert (entry["operation"], entry["status"], entry["body_bytes"]) == ("files.create", None, 5)


def test_a_line_torn_by_a_kill_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.ndjson"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3, "ti')
    journal = Journal(path)
    number = journal.next_number()
    journal.append({"n": number})
    assert [entry["n"] for entry in journal.entries()] == [1, 2, 3]
    journal.close()
