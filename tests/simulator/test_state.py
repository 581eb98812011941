"""With a state folder, everything outlives the process.

Also for worker.py.
"""

import time
from pathlib import Path

import httpx2
import pytest
from tests.simulator.client import WireClient, batch_of, parsed
from tests.simulator.process import running

from elspeth.simulator import Settings, Simulator


def test_jobs_go_on_after_a_kill(tmp_path: Path) -> None:
    state, data = str(tmp_path / "state"), batch_of(2000)
    with running("--state", state, "--latency", "1s") as process, WireClient(process.url) as client:
        file_id = client.processed(data)
        batch_id = client.create(file_id, metadata={"run": "1"}).json()["id"]
        before = httpx2.get(process.url + "/_simulator/journal").text
        process.popen.kill()
        process.popen.wait(10)
    with running("--state", state) as process, WireClient(process.url) as client:
        assert httpx2.get(process.url + "/_simulator/journal").text == before
        assert data == client.content(file_id)
        batch = client.ended(batch_id)
        assert (
            batch["status"], batch["metadata"], batch["request_counts"]["total"],
        ) == ("completed", {"run": "1"}, 2000)  # fmt: skip
        interrupted = client.content(batch["output_file_id"])
        last = httpx2.get(process.url + "/_simulator/journal").text.splitlines()
        assert len(before.splitlines()) < len(last)
    with Simulator(Settings(latency_s=0)) as simulator, WireClient(simulator.url) as client:
        undisturbed = client.run(data)
        rows = client.lines(undisturbed["output_file_id"])
    assert [row["response"]["body"] for row in rows] == [row["response"]["body"] for row in parsed(interrupted)]


def test_a_job_that_was_cancelled_before_a_restart_stays_so(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, latency_s=30)
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        batch_id = client.create(client.upload(batch_of(5)).json()["id"]).json()["id"]
        client.http.post(f"/batches/{batch_id}/cancel")
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        assert client.batch(batch_id)["status"] == "cancelling"


def test_the_count_of_a_fault_outlives_a_restart(tmp_path: Path) -> None:
    faults = [{"operation": "files.list", "occurrence": 2, "action": {"status": 429}}]
    settings = Settings(state_dir=tmp_path, faults=faults)
    statuses = []
    for _ in range(3):
        with Simulator(settings) as simulator, WireClient(simulator.url) as client:
            statuses.append(client.http.get("/files").status_code)
    assert statuses == [200, 429, 200]
    with Simulator(Settings(state_dir=tmp_path)) as simulator, WireClient(simulator.url) as client:
        assert httpx2.get(simulator.url + "/_simulator/faults").json()["faults"] == []


def test_a_fault_added_by_request_outlives_a_restart(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with Simulator(settings) as simulator:
        simulator.add_faults([{"operation": "files.list", "action": {"status": 429}}])
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        assert client.http.get("/files").status_code == 429


def test_a_second_simulator_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Simulator(Settings(state_dir=tmp_path)), pytest.raises(ValueError, match="in use"):
        Simulator(Settings(state_dir=tmp_path)).start()


def test_what_a_kill_left_without_a_name_is_swept(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, latency_s=0)
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        file_id = client.upload(b"x").json()["id"]
    for stray in ("bodies/file-stray", "tmp/request-9"):
        (tmp_path / stray).write_bytes(b"half")
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        assert client.content(file_id) == b"x"
    assert [file_id] == [path.name for path in (tmp_path / "bodies").iterdir()]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_a_state_folder_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Simulator(Settings(latency_s=0)) as simulator, WireClient(simulator.url) as client:
        client.run(batch_of(1))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stop_in_the_midst_of_a_job_is_quick(tmp_path: Path) -> None:
    with Simulator(Settings(state_dir=tmp_path, latency_s=0.1)) as simulator:
        with WireClient(simulator.url) as client:
            client.create(client.upload(batch_of(5000)).json()["id"])
        started = time.monotonic()
    assert time.monotonic() - started < 1
