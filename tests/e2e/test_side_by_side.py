"""Several runs, several processes, several trails: none gets in another's way."""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, ended, tickets
from tests.e2e.small_run import SmallRun
from tests.e2e.wire import of

VIEWS = {
    "v_calls": "run_id, call_id, step, batch, row_index, operation, method, url, status, http_status, latency_ms, "
    "started_at, request_hash, request_ref, response_hash, response_ref, provider_request_id, error_json",
    "v_runs": "run_id, pipeline, status, started_at, ended_at, mode, grade",
    "v_rows": "run_id, row_index, line, data_hash, outcome",
    "v_states": "run_id, row_index, path, step, attempt, status, route, input_hash, output_hash, started_at, "
    "duration_us, error_json",
    "v_outcomes": "run_id, row_index, path, outcome, step, sink",
    "v_batches": "run_id, batch, step, attempt, requests, bytes, status, remote_file, remote_batch, created_at, "
    "ended_at",
}


def test_two_runs_of_one_pipeline_at_the_same_time(project: Project, simulate: Simulate) -> None:
    simulator = simulate(latency_s=0.5, file_latency_s=0.0)
    project.write("tickets.csv", tickets(12))
    project.write_pipeline(simulator.url)
    text = project.text("pipeline.yaml").replace("path: out/", "path: out/{run}/")
    project.write("pipeline.yaml", text.replace("{path: out/{run}/triaged.csv}", '{path: "out/{run}/triaged.csv"}')
                  .replace("{path: out/{run}/urgent.jsonl}", '{path: "out/{run}/urgent.jsonl"}')
                  .replace("{path: out/{run}/failed.jsonl}", '{path: "out/{run}/failed.jsonl"}'))  # fmt: skip
    with (
        ended(project.start("run", "pipeline.yaml", "--new")) as one,
        ended(project.start("run", "pipeline.yaml", "--new")) as two,
    ):
        for process in (one, two):
            out, err = process.communicate(timeout=40)
            assert 0 == process.returncode, (out, err)
    runs = project("runs", "--json").json()["runs"]
    assert ["completed", "completed"] == [run["status"] for run in runs]
    assert [12, 12] == [run["rows"] for run in runs]
    written = [
        {path.name: path.read_bytes() for path in project.path("out").joinpath(run["id"]).iterdir()} for run in runs
    ]
    assert written[0] == written[1]
    assert 6 == len(of(simulator.journal(), "batches.create"))
    for run in runs:
        assert 12 == len(project.query("SELECT 1 FROM v_outcomes WHERE run_id = ?", run["id"]))
        assert run["id"] == project.explain(11, run["id"])["run"]


def test_runs_are_listed_plainly_and_as_json(project: Project, simulate: Simulate) -> None:
    simulator = simulate(latency_s=600.0, file_latency_s=0.0)
    project.write("tickets.csv", tickets(2))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    plain = project("runs").out
    run_id, pipeline, status = plain.rstrip("\n").split("\t")
    assert ("tickets", "pending") == (pipeline, status)
    found = project("runs", "--json").json()
    assert 1 == found["schema_version"]
    (run,) = found["runs"]
    assert {"id", "pipeline", "status", "started_at", "rows", "cost_usd"} <= set(run)
    assert (run_id, "tickets", "pending", 2) == (run["id"], run["pipeline"], run["status"], run["rows"])
    project("run", "pipeline.yaml", "--no-wait", "--new", code=75)
    lines = project("runs").out.splitlines()
    assert run_id == lines[1].split("\t")[0], "the newest comes first"


def quick(project: Project, simulate: Simulate, **values: str) -> None:
    project.write("tickets.csv", tickets(2))
    project.write_pipeline(simulate().url, **values)


def check_read(project: Project, *arguments: str, env: dict[str, str | None] | None = None) -> None:
    assert "complete" not in project("status", *arguments, env=env).err
    assert "tickets\tcompleted" in project("runs", *arguments, env=env).out
    assert 1 == json.loads(project("explain", "--row", "1", "--json", *arguments, env=env).out)["row"]["index"]
    first = project("calls", *arguments, env=env).out.splitlines()[0].split("\t")
    assert "files.create" == first[1]
    assert project("call", first[0], *arguments, env=env).out
    assert project("payload", first[5], *arguments, env=env).stdout.startswith(b'{"custom_id":"row-0-0"')


def test_a_trail_elsewhere_by_the_pipeline_file(project: Project, simulate: Simulate) -> None:
    quick(project, simulate, more='landscape: {url: "sqlite:///trail/audit.db"}')
    project("run", "pipeline.yaml")
    assert project.path("trail/audit.db").is_file()
    assert not project.database.exists()
    check_read(project)
    check_read(project, "--db", "sqlite:///trail/audit.db")


def test_a_trail_elsewhere_by_option(project: Project, simulate: Simulate, tmp_path: Path) -> None:
    quick(project, simulate)
    url = f"sqlite:///{tmp_path / 'trails' / 'a.db'}"
    project("run", "pipeline.yaml", "--db", url)
    assert (tmp_path / "trails" / "a.db").is_file()
    assert not project.database.exists()
    check_read(project)
    check_read(project, "--db", str(tmp_path / "trails" / "a.db"))


def test_a_trail_elsewhere_by_environment(project: Project, simulate: Simulate, tmp_path: Path) -> None:
    quick(project, simulate)
    env: dict[str, str | None] = {"ELSPETH_LANDSCAPE_URL": f"sqlite:///{tmp_path / 'b.db'}"}
    project("run", "pipeline.yaml", env=env)
    assert (tmp_path / "b.db").is_file()
    check_read(project, env=env)
    check_read(project)


def test_payloads_may_lie_in_a_folder_of_their_own(project: Project, simulate: Simulate) -> None:
    quick(project, simulate, more="payloads: {path: stored/bodies}")
    project("run", "pipeline.yaml")
    assert list(project.path("stored/bodies").rglob("calls.zst"))
    check_read(project)


def test_the_state_is_found_from_a_folder_below(project: Project, simulate: Simulate) -> None:
    quick(project, simulate)
    project("run", "pipeline.yaml")
    below = project.folder / "some" / "where"
    below.mkdir(parents=True)
    assert "tickets\tcompleted" in project("runs", cwd=below).out
    stopped = project.folder / "other"
    (stopped / ".git").mkdir(parents=True)
    assert "there is no trail here" in project("runs", cwd=stopped, code=2).err


@pytest.mark.parametrize("command", [
    ["status"], ["runs"], ["runs", "--json"], ["explain", "--row", "0"], ["calls"], ["call", "x:0"],
    ["payload", "0" * 64], ["resume", "latest"], ["resume", "--all"],
])  # fmt: skip
def test_a_database_that_does_not_exist_is_an_error_and_is_not_created(project: Project, command: list[str]) -> None:
    err = project(*command, code=2).err
    assert "there is no trail here" in err
    assert "hint:" in err
    missing = project.folder / "no" / "such.db"
    err = project(*command, "--db", f"sqlite:///{missing}", code=2).err
    assert str(missing) in err
    assert [] == list(project.folder.iterdir())


def test_a_file_that_is_no_trail_is_refused(project: Project) -> None:
    project.write("notes.db", "this is no database\n" * 100)
    sqlite3.connect(project.path("empty.db")).close()
    connection = sqlite3.connect(project.path("other.db"))
    connection.execute("CREATE TABLE things (x)")
    connection.close()
    for name in ("notes.db", "empty.db", "other.db"):
        before = project.path(name).read_bytes()
        done = project("runs", "--db", name, code=None)
        assert done.code in (2, 3), (name, done)
        assert name in done.err
        assert before == project.path(name).read_bytes()
    assert "postgresql" in project("runs", "--db", "postgresql://u:hunter22secret@h/d", code=2).err
    assert "hunter22secret" not in project("runs", "--db", "postgresql://u:hunter22secret@h/d", code=2).err


@pytest.mark.parametrize("view", VIEWS)
def test_the_columns_of_the_views_are_those_that_are_promised(small: SmallRun, view: str) -> None:
    promised = VIEWS[view].split(", ")
    columns = [record["name"] for record in small.project.query(f"SELECT name FROM pragma_table_info('{view}')")]
    assert promised == columns[: len(promised)], "new columns come after the promised ones"
    assert small.project.query(f"SELECT * FROM {view}")


def test_the_views_read_well_with_the_sqlite3_program_alone(small: SmallRun) -> None:
    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("there is no sqlite3 program on this machine")
    sql = "SELECT outcome, COUNT(*) FROM v_outcomes GROUP BY outcome ORDER BY outcome"
    found = subprocess.run([program, "-readonly", small.project.database, sql], capture_output=True, check=True)
    assert b"completed|5\nfailed|2\nquarantined|3\nrouted|3\n" == found.stdout


def test_nothing_in_the_trail_can_be_changed_by_accident(small: SmallRun, tmp_path: Path) -> None:
    copy = tmp_path / "audit.db"
    source = sqlite3.connect(f"file:{small.project.database}?mode=ro", uri=True)
    target = sqlite3.connect(copy)
    source.backup(target)
    source.close()
    tables = [name for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    filled = [name for name in tables if target.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
    assert len(filled) > 10
    for name in filled:
        if name.startswith("sqlite_"):
            continue
        column = target.execute(f"SELECT name FROM pragma_table_info('{name}')").fetchone()[0]
        for statement in (f"DELETE FROM {name}", f"UPDATE {name} SET {column} = {column}"):
            with pytest.raises(sqlite3.DatabaseError):
                target.execute(statement)
    target.close()
