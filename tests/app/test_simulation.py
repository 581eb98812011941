"""The built-in simulator as a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest

from elspeth.app.simulation import SimulatorProcess
from elspeth.contracts import RunError


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_while_the_block_runs_and_is_gone_afterwards(tmp_path: Path) -> None:
    with SimulatorProcess(tmp_path / "state") as simulator:
        assert httpx2.get(f"{simulator.url}/_simulator/health").status_code == 200
        assert simulator._process is not None
        pid = simulator._process.pid
    assert not is_alive(pid)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{simulator.url}/_simulator/health")


def test_what_it_holds_outlives_it_until_it_is_forgotten(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with SimulatorProcess(state) as simulator:
        files = {"file": ("a.jsonl", b"{}\n"), "purpose": (None, "batch")}
        key = {"Authorization": "Bearer simulated"}
        created = httpx2.post(f"{simulator.url}/v1/files", files=files, headers=key).json()
    with SimulatorProcess(state) as simulator:
        found = httpx2.get(f"{simulator.url}/v1/files/{created['id']}", headers=key)
        assert found.json()["filename"] == "a.jsonl"
        simulator.forget()
    assert not state.exists()


def test_one_that_cannot_start_says_what_to_try(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with (
        SimulatorProcess(state),
        pytest.raises(RunError) as caught,
        SimulatorProcess(state),
    ):
        pass
    assert "elspeth simulate" in (caught.value.hint or "")
