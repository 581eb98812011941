"""The same through the installed command: exit codes, the place on stdout, JSON, an older copy that is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.project import Project
from tests.tamper.mutations import drop_run, insider
from tests.tamper.trail import Copy, own_key

PIPELINE = """\
name: plain
source: {plugin: csv, options: {path: rows.csv}, schema: {id: int}}
sinks: {done: {plugin: jsonl, options: {path: out/done.jsonl}}}
output: done
"""


@pytest.fixture
def project(tmp_path: Path, original: Copy) -> Project:
    """A project with a copy of the trail, on the machine that made it: its keys are known."""
    made = Project(tmp_path)
    made.env["HOME"] = os.environ["HOME"]
    shutil.copytree(original.database.parent, made.folder / ".elspeth")
    return made


def sql(statement: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        with insider(project.database) as connection:
            connection.execute(statement)

    return change


def flip(pattern: str, at: int) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        path = next((project.folder / ".elspeth").glob(pattern))
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (sql("UPDATE rows SET line = line + 1 WHERE run_no = 1 AND row_index = 5"), "rows row 5: it is not what was"),
        (sql("DELETE FROM calls WHERE run_no = 1 AND call_no = 3"), "calls commit "),
        (sql("UPDATE nodes SET name = CAST(x'ff41' AS TEXT) WHERE run_no = 1 AND node_no = 2"), "nodes 2: it is not"),
        (sql("UPDATE runs SET pipeline = 'x' || char(10, 27) WHERE run_no = 1"), "runs 1: it is not what was recorded"),
        (sql("UPDATE runs SET config_json = '{}' WHERE run_no = 1"), "runs 1: runs 1: config_json does not have the"),
        (sql("UPDATE commits SET frontier_json = '[' WHERE run_no = 1 AND commit_no = 9"), "commits 9: it is not"),
        (sql("UPDATE seals SET at = at - 86400000000 WHERE run_no = 1 AND seal_no = 1"), "seals 1: its columns are"),
        (sql("DROP VIEW v_rows"), "schema view v_rows: it is missing"),
        (lambda project: drop_run(project.database, 2), "runs 2: there is no such run, but there are later ones"),
        (flip("payloads/*/rows.zst", 40), "payloads rows.zst byte 0: its "),
        (flip("seals/*.seals", 90), "seals 01"),
    ],
)
def test_a_difference_is_exit_1_with_its_place(project: Project, change: Callable[[Project], None], first: str) -> None:
    change(project)
    done = project("verify", "--all", code=1)
    *_, last = done.out.splitlines()

    assert last.startswith("NOT verified: ")
    assert f"the first: {first}" in last
    assert all(line.isprintable() for line in done.out.split("\n"))


def test_text_that_is_no_text_is_printed_as_json_too(project: Project) -> None:
    sql("UPDATE nodes SET name = CAST(x'ff41' AS TEXT), plugin = char(27) WHERE run_no = 1 AND node_no = 2")(project)
    found = project("verify", "--all", "--json", code=1).json()

    assert (False, "consistent") == (found["is_verified"], found["strength"])
    steps = found["runs"][0]["steps"]
    assert list(range(1, 10)) == [step["step"] for step in steps]
    assert [{"where": "nodes", "place": "2", "message": "it is not what was recorded (commit 0)"}] == steps[1][
        "findings"
    ]


def test_a_damaged_database_is_exit_3_with_a_message(project: Project) -> None:
    data = bytearray(project.database.read_bytes())
    data[100:4000] = bytes(3900)
    project.database.write_bytes(data)
    done = project("verify", code=3)

    assert "" == done.out
    assert done.err.startswith("elspeth: ")


def test_a_read_only_copy_passes_and_a_key_and_a_checkpoint_anchor_it(project: Project, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"{own_key().encode()}\n")
    kept = tmp_path / "kept.seals"
    kept.write_text("".join(path.read_text() for path in sorted((project.folder / ".elspeth" / "seals").iterdir())))
    state = project.folder / ".elspeth"
    entries = [state, *state.rglob("*")]
    for path in entries:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert "verified, consistent only" in project("verify", "--all", cwd=state).out
        done = project("verify", "--all", "--key", key, "--checkpoint", kept, env={"HOME": str(tmp_path)})
    finally:
        for path in entries:
            path.chmod(0o755 if path.is_dir() else 0o644)

    assert "verified, and anchored" in done.out


def test_an_older_copy_of_the_database_is_refused_and_found(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("rows.csv", "id\n1\n2\n")
    project.write("pipeline.yaml", PIPELINE)
    project("run", "pipeline.yaml")
    older = project.database.read_bytes()
    kept = next((project.folder / ".elspeth" / "seals").iterdir())
    earlier = project.write("kept.seals", kept.read_bytes())
    project("run", "pipeline.yaml")
    later = project.run_id()
    for path in project.database.parent.glob("audit.db*"):
        path.unlink()
    project.database.write_bytes(older)

    for command in (["run", "pipeline.yaml"], ["resume", "latest"]):
        refused = project(*command, code=3)
        assert f"is an older copy or was changed: run {later} was sealed and is not in it" in refused.err
        assert "hint: Put the newer copy back" in refused.err
    assert f"runs {later}: the run was sealed, and is not in the database" in project("verify", "--all", code=1).out
    assert "verified, and anchored" in project("verify", "--checkpoint", earlier).out


def test_an_older_copy_of_a_run_that_went_on_is_refused_and_found(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("rows.csv", "id\n1\n2\n")
    project.write("pipeline.yaml", PIPELINE)
    (project.folder / "out").write_text("in the way")
    project("run", "pipeline.yaml", code=None)
    older = project.database.read_bytes()
    (project.folder / "out").unlink()
    project("resume", "latest")
    for path in project.database.parent.glob("audit.db*"):
        path.unlink()
    project.database.write_bytes(older)

    refused = project("resume", "latest", code=3)
    assert "is older than the seals of run" in refused.err
    assert "hint: Put the newer copy back" in refused.err
    assert "seals 1: missing: " in project("verify", code=1).out
