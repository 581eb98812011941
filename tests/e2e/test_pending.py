"""A run outlives its process: it is left, found again, resumed under its id, and never paid for twice."""

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, ended, tickets
from tests.e2e.wire import jobs_by_file, of

from elspeth.simulator import Simulator

ROWS = 8
BATCHES = 2
FOR_EVER = 600.0


def prepare(project: Project, simulate: Simulate, *, latency_s: float, **values: Any) -> Simulator:
    simulator = simulate(latency_s=latency_s, file_latency_s=0.0)
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url, **values)
    return simulator


def check_each_job_once(simulator: Simulator, jobs: int = BATCHES) -> None:
    assert [1] * jobs == list(jobs_by_file(simulator.journal()).values())
    assert jobs == len(of(simulator.journal(), "files.create"))


def check_complete(project: Project) -> None:
    triaged = project.text("out/triaged.csv").splitlines()[1:]
    urgent = project.lines("out/urgent.jsonl")
    ids = sorted([int(line.split(",")[0]) for line in triaged] + [row["id"] for row in urgent])
    assert list(range(1, ROWS + 1)) == ids


def begun(project: Project, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """A run that has said its id on stderr and has its batches with the provider."""
    process = project.start(*arguments)
    assert process.stderr is not None
    run_id = process.stderr.readline().decode().split()[1]
    return process, run_id


def wait_for_jobs(simulator: Simulator, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(of(simulator.journal(), "batches.retrieve")) < 1 or len(jobs_by_file(simulator.journal())) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_that_does_not_wait_is_resumed_by_another_process(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=1.5)
    done = project("run", "pipeline.yaml", "--no-wait", code=75)
    run_id = project.run_id()
    assert f"run {run_id}  tickets  PENDING   0 of 2 batches done" in done.out
    assert f"Safe to close. Nothing polls until: elspeth resume {run_id}" in done.out
    assert not project.path("out/triaged.csv").exists(), "an output appears when it is whole"
    resumed = project("resume", "latest")
    assert resumed.out.startswith("complete: 8 in = ")
    assert run_id == project.run_id()
    assert 1 == len(project("runs", "--json").json()["runs"])
    check_each_job_once(simulator)
    check_complete(project)


def test_status_of_a_pending_run_as_text_and_as_json(project: Project, simulate: Simulate) -> None:
    prepare(project, simulate, latency_s=FOR_EVER)
    done = project("run", "pipeline.yaml", "--no-wait", "--json", code=75)
    told, found = done.json(), project("status", "latest", "--json").json()
    assert 75 == told["exit_code"] == found["exit_code"]
    assert {**told, "exit_code": 0} == {**found, "exit_code": 0}
    assert (1, "pending", "tickets") == (found["schema_version"], found["status"], found["pipeline"])
    assert f"elspeth resume {found['run']}" == found["next"]
    assert (ROWS, True, 0) == (found["rows"]["read"], found["rows"]["is_source_done"], found["rows"]["out"])
    assert "8 in = 8 on their way" == found["rows"]["equation"]
    assert [(1, "created", 5), (2, "created", 3)] == [
        (batch["batch"], batch["phase"], batch["requests"]) for batch in found["batches"]
    ]
    text = project("status").out
    assert "PENDING" in text
    assert "batch 1  " in text
    assert "batch 2  " in text
    assert "age " in text
    assert "8 in = 8 on their way" in text
    assert f"elspeth resume {found['run']}" in text
    views = project.query("SELECT batch, requests, ended_at FROM v_batches")
    assert [(1, 5, None), (2, 3, None)] == [tuple(view.values()) for view in views]


def test_waiting_is_bounded(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=FOR_EVER)
    started = time.monotonic()
    project("run", "pipeline.yaml", "--wait", "1s", code=75)
    assert 1 <= time.monotonic() - started < 10
    started = time.monotonic()
    project("resume", "latest", "--wait", "0s", code=75)
    assert time.monotonic() - started < 8
    check_each_job_once(simulator)


@pytest.mark.parametrize("arguments", [["--wait", "soon"], ["--wait", "1"], ["--wait", "1s", "--no-wait"]])
def test_a_wait_that_makes_no_sense_is_refused(project: Project, simulate: Simulate, arguments: list[str]) -> None:
    simulator = prepare(project, simulate, latency_s=0.0)
    assert "elspeth: " in project("run", "pipeline.yaml", *arguments, code=2).err
    assert [] == simulator.journal()
    assert not project.path(".elspeth").exists()


def test_a_second_run_of_a_pending_pipeline_needs_to_be_wanted(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=1.5)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    first = project.run_id()
    refused = project("run", "pipeline.yaml", code=2)
    assert f"elspeth: run {first} of this pipeline and source is pending" in refused.err
    assert f"elspeth resume {first}" in refused.err
    assert "--new" in refused.err
    check_each_job_once(simulator)
    project("run", "pipeline.yaml", "--no-wait", "--new", code=75)
    assert 2 * BATCHES == len(of(simulator.journal(), "batches.create"))
    assert 2 == len(project("runs").out.splitlines())
    done = project("resume", "--all", "--json", timeout=30)
    assert [0, 0] == [run["exit_code"] for run in done.json()["runs"]]
    assert {"completed"} == {run["status"] for run in project("runs", "--json").json()["runs"]}
    assert 2 * BATCHES == len(of(simulator.journal(), "batches.create"))
    assert "no run is pending" in project("resume", "--all").err


def test_runs_are_named_by_unique_prefixes(project: Project, simulate: Simulate) -> None:
    prepare(project, simulate, latency_s=FOR_EVER)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    first = project.run_id()
    assert first == project("status", first[:3], "--json").json()["run"]
    assert first == project("status", first.upper(), "--json").json()["run"]
    project("run", "pipeline.yaml", "--no-wait", "--new", code=75)
    second = project.run_id()
    assert first != second
    assert second == project("status", "latest", "--json").json()["run"] == project("status", "--json").json()["run"]
    shared = first[: next(n for n in range(len(first)) if first[n] != second[n])]
    assert "names several runs" in project("status", shared, code=2).err
    assert first == project("status", first[: len(shared) + 1], "--json").json()["run"]
    project("resume", first, "--wait", "0s", code=75)
    for command in (["status"], ["explain", "--row", "0"], ["calls"], ["resume"]):
        err = project(command[0], "nosuchrun", *command[1:], code=2).err
        assert "elspeth: there is no run 'nosuchrun'" in err
        assert f"hint: The last runs are: {second}, {first}" in err


def test_a_second_process_on_a_run_is_told_who_holds_it(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=FOR_EVER)
    process, run_id = begun(project, "run", "pipeline.yaml")
    with ended(process):
        wait_for_jobs(simulator, BATCHES)
        busy = project("resume", run_id, code=6).err
        assert f"run {run_id} is held by process {process.pid} on {socket.gethostname()} since " in busy
        assert "hint:" in busy
        assert "running" == project("status", "--json").json()["status"]
        assert "running" in project("run", "pipeline.yaml", code=2).err
        process.send_signal(signal.SIGKILL)
        process.wait()
    project("resume", run_id, "--wait", "0s", code=75)
    check_each_job_once(simulator)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state(project: Project, simulate: Simulate, number: int, code: int) -> None:
    simulator = prepare(project, simulate, latency_s=2.0)
    process, run_id = begun(project, "run", "pipeline.yaml")
    with ended(process):
        wait_for_jobs(simulator, BATCHES)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert code == process.returncode, (out, err)
    assert b"Traceback" not in err
    assert b"stopping" in err
    assert f"elspeth resume {run_id}".encode() in out
    found = project("status", "--json").json()
    assert ("interrupted", code) == (found["status"], found["exit_code"])
    project("resume", "latest")
    assert run_id == project.run_id()
    check_each_job_once(simulator)
    check_complete(project)


def test_a_second_signal_stops_at_once_and_the_run_can_still_be_resumed(project: Project, simulate: Simulate) -> None:
    simulator = simulate(faults=[{"operation": "batches.retrieve", "action": "stall"}])
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url)
    process, run_id = begun(project, "run", "pipeline.yaml")
    with ended(process):
        wait_for_jobs(simulator, BATCHES)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None, "the first signal waits for what is in hand"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)
    assert -signal.SIGINT == process.returncode
    project("resume", run_id)
    check_each_job_once(simulator)
    check_complete(project)


@pytest.mark.parametrize("delay_s", [0.35, 0.5, 0.65, 0.9])
def test_a_killed_process_loses_nothing(project: Project, simulate: Simulate, delay_s: float) -> None:
    simulator = prepare(project, simulate, latency_s=0.3)
    with ended(project.start("run", "pipeline.yaml")) as process:
        time.sleep(delay_s)
        process.kill()
        process.wait()
    if project.database.exists() and project("runs").out:
        project("resume", "latest")
    else:
        project("run", "pipeline.yaml")
    assert [1] * BATCHES == list(jobs_by_file(simulator.journal()).values())
    assert [f"{project.run_id()}\ttickets\tcompleted"] == project("runs").out.splitlines()
    check_complete(project)


def test_a_resume_goes_by_what_was_recorded(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=1.0)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    project.path("pipeline.yaml").unlink()
    project("resume", "latest")
    check_each_job_once(simulator)
    check_complete(project)


def test_a_completed_run_is_only_reported(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=0.0)
    line = project("run", "pipeline.yaml").out
    before = len(simulator.journal())
    assert line == project("resume", "latest").out
    assert before == len(simulator.journal())


def test_an_edited_source_is_refused(project: Project, simulate: Simulate) -> None:
    """Only where rows are still to be read: what was read stays as it was read."""
    simulator = simulate(faults=[{"operation": "files.create", "action": {"status": 401}}])
    project.write("tickets.csv", tickets(600))
    project.write_pipeline(simulator.url, max_requests=100)
    project("run", "pipeline.yaml", code=4)
    assert not project("status", "--json").json()["rows"]["is_source_done"]
    project.write("tickets.csv", tickets(600).replace("Subject 1\n", "Subject X\n").replace("number 1,", "numbex 1,"))
    refused = project("resume", "latest", code=3).err
    assert "tickets.csv" in refused
    assert "hint:" in refused
    project.write("tickets.csv", tickets(600))
    project("resume", "latest")
    assert [1] * 6 == list(jobs_by_file(simulator.journal()).values())


def test_a_longer_or_shorter_source_is_refused(project: Project, simulate: Simulate) -> None:
    simulator = simulate(faults=[{"operation": "files.create", "action": {"status": 401}}])
    project.write("tickets.csv", tickets(600))
    project.write_pipeline(simulator.url, max_requests=100)
    project("run", "pipeline.yaml", code=4)
    for changed in (tickets(100), tickets(600) + "601,late,row,1\n"):
        project.write("tickets.csv", changed)
        assert "tickets.csv" in project("resume", "latest", code=3).err
    project.write("tickets.csv", tickets(600))
    project("resume", "latest")


def test_a_copy_of_the_state_is_read_without_being_written(
    project: Project, simulate: Simulate, tmp_path: Path
) -> None:
    prepare(project, simulate, latency_s=FOR_EVER)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", project.folder / ".elspeth", copy], check=True)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    url = f"sqlite:///{copy / 'audit.db'}"
    before = sorted(path.name for path in copy.iterdir())
    assert "PENDING" in project("status", "--db", url).out
    assert "waits for the provider" in project("explain", "--row", "0", "--db", url).out
    assert before == sorted(path.name for path in copy.iterdir())
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)
