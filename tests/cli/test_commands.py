"""Running and reading through the command line, for run_commands.py and trail_commands.py.

The end-to-end tests go further; these are the ways of each command by itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from elspeth.cli.run_commands import _worse

PIPELINE = """\
name: fruit
source: {plugin: csv, options: {path: fruit.csv}, schema: {id: int, name: str}, key: id}
steps:
  - name: long
    gate: len(row['name']) > 4
    routes: {true: next, false: short}
sinks:
  out: {plugin: jsonl, options: {path: out.jsonl}}
  short: {plugin: csv, options: {path: short.csv}}
output: out
"""


def elspeth(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [str(Path(sys.executable).with_name("elspeth")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fruit")
    (folder / "fruit.yaml").write_text(PIPELINE)
    (folder / "fruit.csv").write_text("id,name\n1,apple\n2,fig\n3,cherry\n")
    done = elspeth(folder, "run", "fruit.yaml")
    assert (done.returncode, done.stdout) == (0, b"complete: 3 in = 2 out + 1 short\n")
    return folder


def test_status_runs_and_calls_read_the_trail(project: Path) -> None:
    run_id = elspeth(project, "runs").stdout.decode().split("\t")[0]
    status = json.loads(elspeth(project, "status", run_id, "--json").stdout)
    assert (status["status"], status["rows"]["read"], status["next"]) == ("completed", 3, None)
    assert b"3 in = 2 out + 1 short" in elspeth(project, "status").stdout
    assert json.loads(elspeth(project, "calls", "latest", "--json").stdout)["calls"] == []
    (run,) = json.loads(elspeth(project, "runs", "--json").stdout)["runs"]
    assert (run["id"], run["rows"], run["status"]) == (run_id, 3, "completed")


def test_a_row_is_explained_by_index_and_by_key(project: Path) -> None:
    by_index = json.loads(elspeth(project, "explain", "latest", "--row", "1", "--json").stdout)
    by_key = json.loads(elspeth(project, "explain", "latest", "--key", "2", "--json").stdout)
    assert by_index == by_key
    assert by_index["steps"][0]["gate"] == {
        "expression": "len(row['name']) > 4",
        "values": {"name": "fig"},
        "route": "false",
    }
    assert by_index["outcomes"][0]["line"] == 2
    assert elspeth(project, "explain", "latest").returncode == 2
    assert elspeth(project, "explain", "latest", "--row", "99").returncode == 2


def test_a_payload_is_its_bytes(project: Path) -> None:
    explained = json.loads(elspeth(project, "explain", "latest", "--row", "0", "--json").stdout)
    digest = explained["row"]["hash"]
    assert hashlib.sha256(elspeth(project, "payload", digest).stdout).hexdigest() == digest
    for wrong in ("abc", "0" * 64):
        refused = elspeth(project, "payload", wrong)
        assert (refused.returncode, refused.stdout) == (2, b"")
    assert elspeth(project, "call", "nonsense").returncode == 2


def test_a_complete_run_is_only_reported_by_resume(project: Path) -> None:
    done = elspeth(project, "resume", "latest")
    assert (done.returncode, done.stdout) == (0, b"complete: 3 in = 2 out + 1 short\n")
    assert elspeth(project, "resume").returncode == 2
    assert elspeth(project, "resume", "--all").returncode == 0


def test_a_key_finds_its_run_again(project: Path) -> None:
    def count() -> int:
        return len(elspeth(project, "runs").stdout.splitlines())

    before = count()
    first = elspeth(project, "run", "fruit.yaml", "--key", "nightly")
    second = elspeth(project, "run", "fruit.yaml", "--key", "nightly")
    assert (first.returncode, first.stdout) == (second.returncode, second.stdout)
    assert count() == before + 1


def test_wait_and_no_wait_exclude_each_other(project: Path) -> None:
    assert elspeth(project, "run", "fruit.yaml", "--wait", "1s", "--no-wait").returncode == 2


@pytest.mark.parametrize(
    ("codes", "expected"), [((0, 75), 75), ((75, 3), 3), ((3, 4), 4), ((4, 130), 130), ((1, 75), 75), ((5, 3), 5)]
)
def test_when_several_codes_apply_the_gravest_counts(codes: tuple[int, int], expected: int) -> None:
    assert _worse(*codes) == expected
    assert _worse(*reversed(codes)) == expected
