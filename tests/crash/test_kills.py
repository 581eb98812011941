"""A run that dies at any of its effects and is resumed comes to the same end, and pays for nothing twice.

`ELSPETH_CRASH_POINTS=all` tries every effect; without it a sample, which moves with nothing but the code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.crash import runner
from tests.engine.workbench import KEY, HurriedClock, Project, ask, created

from elspeth.contracts import RunStatus
from elspeth.simulator import Settings, Simulator

ROWS = 23
STEPS = """
- name: early
  gate: row['id'] % 7 == 3
  routes: {true: routed, false: next}
"""
ROW_FAULTS = {"row-4-0": "429", "row-9-0": "500", "row-12-0": "content_filter"}
SAMPLE = 10


def prepare(folder: Path, simulator: Simulator) -> Project:
    """Batches in flight, a gate, two formats, a failed and a rejected row, a batch of second attempts."""
    project = Project(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = [f'{{"id": {i}, "text": "row number {i}"}}\n' for i in range(ROWS)]
    records[6] = "not json\n"
    project.write("rows.jsonl", "".join(records))
    late = "- {name: late, gate: \"row['id'] > 15\", routes: {true: table, false: next}, on_error: failed}\n"
    project.pipeline(
        STEPS + ask(simulator, max_requests=6, max_batches_in_flight=2, poll_interval_seconds=0.01) + late,
        source="schema: {id: int, text: str}\nkey: id\non_invalid: rejected",
        sinks=["done", "routed", "failed", "rejected"],
        csv="table: {plugin: csv, options: {path: out/table.csv, fields: [id, text, llm_response]}}",
    )
    return project


def process(project: Project, what: str, fatal: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(runner.__file__)), str(project.folder), what, str(fatal)]
    environ = {**os.environ, "KEY": KEY}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def killed(project: Project, what: str, fatal: int) -> None:
    done = process(project, what, fatal)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def served() -> Simulator:
    return Simulator(Settings(latency_s=0.0, row_faults=ROW_FAULTS))


def effects(project: Project) -> int:
    """How many effects the run has when nothing kills it."""
    done = process(project, "run", 0)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


def balanced(project: Project) -> None:
    assert project.query("SELECT COUNT(*) FROM rows") == project.query("SELECT COUNT(*) FROM outcomes") == [(ROWS,)]


def paid_once(project: Project, simulator: Simulator) -> None:
    """Every job that the simulator accepted is one of ours, and no file has two of them."""
    accepted = [entry for entry in created(simulator) if entry["status"] == 200 or entry["status"] is None]
    bodies = Counter(entry["body_sha256"] for entry in accepted)
    batches = project.query("SELECT COUNT(*) FROM batches")[0][0]
    extra = len(project.events("extra_job"))
    assert sum(bodies.values()) == batches + extra


def ended_alike(project: Project, unkilled: dict[str, bytes]) -> None:
    result = project.resume()
    assert result.error is None
    assert result.status is RunStatus.COMPLETED
    assert project.outputs() == unkilled
    balanced(project)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with served() as simulator:
        project = prepare(tmp_path_factory.mktemp("unkilled"), simulator)
        assert project.run().exit_code == 0
        return project.outputs()


@pytest.fixture(scope="module")
def last_effect(tmp_path_factory: pytest.TempPathFactory) -> int:
    with served() as simulator:
        return effects(prepare(tmp_path_factory.mktemp("count"), simulator))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch, hurried: HurriedClock) -> None:
    for (module, name), value in runner.SMALL.items():
        monkeypatch.setattr(module, name, value)


def points(last: int) -> list[int]:
    if os.environ.get("ELSPETH_CRASH_POINTS") == "all":
        return list(range(1, last + 1))
    return sorted({1 + round(place * (last - 1) / (SAMPLE - 1)) for place in range(SAMPLE)})


def test_a_killed_run_is_resumed_to_the_same_outputs_and_pays_once(
    tmp_path: Path, unkilled: dict[str, bytes], last_effect: int
) -> None:
    for point in points(last_effect):
        with served() as simulator:
            project = prepare(tmp_path / str(point), simulator)
            killed(project, "run", point)
            print(f"killed at effect {point} of {last_effect}")
            ended_alike(project, unkilled)
            paid_once(project, simulator)


def test_a_run_may_be_killed_again_and_again(tmp_path: Path, unkilled: dict[str, bytes]) -> None:
    with served() as simulator:
        project = prepare(tmp_path, simulator)
        killed(project, "run", 60)
        for point in (5, 31, 58, 40):
            killed(project, "resume", point)
        ended_alike(project, unkilled)
        paid_once(project, simulator)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_a_killed_run_makes_lost_part_files_again(
    tmp_path: Path, unkilled: dict[str, bytes], last_effect: int, share: float
) -> None:
    with served() as simulator:
        project = prepare(tmp_path, simulator)
        killed(project, "run", round(last_effect * share))
        for part in (project.folder / "out").glob(".*.part"):
            part.unlink()
        ended_alike(project, unkilled)
        paid_once(project, simulator)


def test_a_process_may_die_between_the_renames_and_their_record(tmp_path: Path) -> None:
    """Also where outputs must not exist: what has its name already is our own."""

    def project(name: str) -> Project:
        found = Project(tmp_path / name)
        found.folder.mkdir()
        found.rows([{"id": n} for n in range(5)])
        found.pipeline(
            "- {name: sort, gate: \"row['id'] > 2\", routes: {true: other, false: next}}",
            source="schema: {id: int}",
            csv="other: {plugin: csv, options: {path: out/other.csv, fields: [id], if_exists: error}}",
        )
        return found

    last = effects(project("count"))
    renamed = 0
    for point in range(last - 13, last + 1, 2):
        killed_one = project(str(point))
        killed(killed_one, "run", point)
        renamed += (killed_one.folder / "out" / "other.csv").exists()
        assert killed_one.resume().error is None
        assert killed_one.outputs() == {
            "done.jsonl": b'{"id":0}\n{"id":1}\n{"id":2}\n',
            "other.csv": b"id\n3\n4\n",
        }
    assert renamed > 1
