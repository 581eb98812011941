"""``purge`` and ``hold`` by the installed command, and what every other command says of a purged run."""

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Done, Project
from tests.e2e.small_run import small_run
from tests.e2e.wire import sha256

from elspeth.contracts import iso_time
from elspeth.core.landscape.locks import RunLock

CLASSES = ["rows", "calls", "files"]
KILLED_AT_THE_THIRD_FILE = """\
import os, signal
from elspeth.core.landscape import removal
left, delete = [2], removal._delete
def delete_or_die(folder, name):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    delete(folder, name)
removal._delete = delete_or_die
"""


@dataclass(frozen=True)
class Trail:
    """Two completed runs of one source under two templates; the first one's explanation and payloads are known."""

    project: Project
    first: str
    second: str
    explanation: dict[str, Any]

    def payloads(self, run: str) -> dict[str, bytes]:
        folder = self.project.path(f".elspeth/payloads/{run}")
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def purge(self, *arguments: str, code: int = 0) -> Done:
        return self.project("purge", *arguments, code=code)

    def change(self, sql: str, *parameters: object) -> None:
        """What somebody with access to the database can do."""
        with closing(sqlite3.connect(self.project.database)) as connection, connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(sql, parameters)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    with small_run(tmp_path_factory.mktemp("made")) as small:
        project = small.project
        first = project.run_id()
        pipeline = project.path("pipeline.yaml")
        pipeline.write_text(pipeline.read_text().replace("Classify this ticket.", "Sort this ticket."))
        project("run", "pipeline.yaml")
        yield Trail(project, first, project.run_id(), project.explain(0, first))


@pytest.fixture
def trail(made: Trail, tmp_path: Path) -> Trail:
    """A copy that may be purged."""
    project = Project(tmp_path)
    shutil.copytree(made.project.folder, project.folder, dirs_exist_ok=True)
    project.env["HOME"] = made.project.env["HOME"]
    return Trail(project, made.first, made.second, made.explanation)


@pytest.fixture(scope="module")
def purged(made: Trail, tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """The first run purged of everything; tests only read it."""
    project = Project(tmp_path_factory.mktemp("purged"))
    shutil.copytree(made.project.folder, project.folder, dirs_exist_ok=True)
    project.env["HOME"] = made.project.env["HOME"]
    project("purge", made.first, "--yes", "--why", "90 days")
    return Trail(project, made.first, made.second, made.explanation)


def mark_of(trail: Trail, payload_class: str) -> dict[str, str]:
    (found,) = trail.project.query(
        "SELECT at, who, why FROM purges WHERE action = 3 AND class = ?", CLASSES.index(payload_class) + 1
    )
    return {"day": iso_time(found["at"])[:10], "by": found["who"], "why": found["why"], "class": payload_class}


def is_mark(mark: dict[str, str], expected: dict[str, str]) -> bool:
    assert {"at", "by", "why", "class"} == set(mark)
    return (mark["at"][:10], mark["by"], mark["why"], mark["class"]) == tuple(expected.values())


def test_without_yes_it_says_what_would_go_and_nothing_goes(trail: Trail) -> None:
    before = trail.payloads(trail.first)
    shown = trail.purge(trail.first).out
    found = trail.purge(trail.first, "--json").json()

    assert before == trail.payloads(trail.first)
    assert [] == trail.project.query("SELECT * FROM purges")
    (run,) = found["runs"]
    assert (False, trail.first, "replayable", "attributable") == (
        found["is_done"], run["run"], run["grade"], run["grade_after"],
    )  # fmt: skip
    assert CLASSES == [part["class"] for part in run["classes"]]
    assert len(before) == sum(part["files"] for part in run["classes"])
    size = sum(map(len, before.values()))
    assert size == sum(part["bytes"] for part in run["classes"])
    assert f"would purge 1 run: {len(before)} files, {size:,} bytes; nothing was deleted: --yes does it" in shown
    assert "grade replayable -> attributable" in shown


def test_by_age_only_old_runs_go_and_a_class_is_all_that_goes(trail: Trail) -> None:
    assert "nothing to purge" in trail.purge("--older-than", "90d", "--yes", "--why", "90 days").out
    at = trail.project.query("SELECT MAX(at) AS at FROM run_events WHERE run_no = 1")[0]["at"]
    trail.change("UPDATE run_events SET at = ? WHERE run_no = 1", at - 100 * 86_400_000_000)
    before, others = trail.payloads(trail.first), trail.payloads(trail.second)
    done = trail.purge("--older-than", "90d", "--class", "rows", "--class", "calls", "--yes", "--why", "90 days")

    assert done.out.splitlines()[-1].startswith("purged 1 run: 3 files, ")
    gone = {"rows.zst", "rejected.zst", "calls.zst"}
    assert {name: data for name, data in before.items() if name not in gone} == trail.payloads(trail.first)
    assert others == trail.payloads(trail.second)
    assert "nothing to purge" in trail.purge("--older-than", "90d", "--class", "rows", "--yes", "--why", "again").out


def test_a_pipelines_own_retention_is_obeyed(simulate: Simulate, project: Project) -> None:
    project.write("tickets.csv", "id,subject,body,priority\n1,a,b,1\n")
    project.write_pipeline(simulate().url, more="payloads: {retention_days: 30}")
    project("run", "pipeline.yaml")
    assert "nothing to purge" in project("purge").out
    with closing(sqlite3.connect(project.database)) as connection, connection:
        connection.execute("DROP TRIGGER run_events_no_update")
        connection.execute("UPDATE run_events SET at = at - 31 * 86400000000")

    assert "would purge 1 run" in project("purge").out
    assert "purged 1 run" in project("purge", "--yes", "--why", "past its 30 days").out
    assert [] == list(project.path(f".elspeth/payloads/{project.run_id()}").iterdir())


def test_a_second_purge_says_that_all_is_gone(purged: Trail) -> None:
    records = purged.project.query("SELECT * FROM purges")
    done = purged.purge(purged.first, "--yes", "--why", "again")

    assert "nothing to purge\n" == done.out
    assert f"kept: run {purged.first}: rows purged on" in done.err
    assert records == purged.project.query("SELECT * FROM purges")


def test_the_explanation_has_hashes_and_marks_in_the_place_of_values(purged: Trail) -> None:
    rows, files = mark_of(purged, "rows"), mark_of(purged, "files")
    before, after = purged.explanation, purged.project.explain(0, purged.first)
    words = f"purged on {rows['day']} by {rows['by']}: 90 days"

    assert (None, before["row"]["hash"]) == (after["row"]["data"], after["row"]["hash"])
    assert is_mark(after["row"]["purged"], rows)
    assert CLASSES == [mark["class"] for mark in after["purged"]]
    for one, other in zip(before["steps"], after["steps"], strict=True):
        assert (None, None, 64) == (other["input"], other["output"], len(other["input_hash"]))
        assert is_mark(other["purged"], rows)
        assert (one["name"], one["status"]) == (other["name"], other["status"])
    (asked,), (still,) = (shown["steps"][1]["attempts"] for shown in (before, after))
    for part in ("request", "reply"):
        assert is_mark(still[part].pop("purged"), files)
        assert {**asked[part], "line": None} == still[part]
    assert before["outcomes"] == after["outcomes"]

    text = purged.project("explain", purged.first, "--row", "0").out
    assert 6 == text.count(words)
    assert "every hash of this row's bytes was checked" not in text
    assert text.endswith("what is purged could not be checked; every hash of this row's other bytes was\n")
    for step in after["steps"]:
        assert step["input_hash"] in text
    assert "values: purged" in text


def test_failed_and_rejected_rows_keep_their_reasons(purged: Trail) -> None:
    rejected = purged.project.explain(3, purged.first)["row"]
    failed = purged.project.explain(6, purged.first)["steps"][-1]
    assert (None, None, "type") == (rejected["data"], rejected["raw"], rejected["error"]["code"])
    assert ("failed", "content_filter", None) == (failed["status"], failed["error"]["code"], failed["output_hash"])
    for row, code in ((3, "type"), (6, "content_filter")):
        text = purged.project("explain", purged.first, "--row", str(row)).out
        assert code in text
        assert "purged on" in text


def test_a_payload_is_told_to_be_purged_unless_another_run_has_it(purged: Trail) -> None:
    source = purged.explanation["row"]["hash"]
    assert source == sha256(purged.project.payload(source)), "the second run read the same row"
    request = purged.explanation["steps"][1]["attempts"][0]["request"]["sha256"]
    done = purged.project("payload", request, code=3)
    assert (b"", True) == (done.stdout, "purged on" in done.err)


def test_calls_are_listed_and_each_has_the_hash_of_its_envelope(purged: Trail) -> None:
    calls = purged.project.calls(purged.first)
    assert len(calls) > 5
    shown = purged.project("call", calls[0]["call_id"], "--json").json()
    assert (None, 64, "calls") == (shown["envelope"], len(shown["envelope_hash"]), shown["purged"]["class"])
    text = purged.project("call", calls[0]["call_id"]).out
    assert f"envelope_hash: {shown['envelope_hash']}" in text
    assert "envelope: purged on" in text


def test_the_grade_falls_for_the_purged_run_alone(purged: Trail) -> None:
    runs = {run["id"]: run for run in purged.project("runs", "--json").json()["runs"]}
    assert ("attributable", "replayable") == (runs[purged.first]["grade"], runs[purged.second]["grade"])
    status = purged.project("status", purged.first, "--json").json()
    assert ("attributable", None) == (status["grade"], status["held"])
    assert [(one, True) for one in CLASSES] == [(mark["class"], mark["is_done"]) for mark in status["purged"]]
    assert "grade attributable\nrows purged on" in purged.project("status", purged.first).out


def test_a_purged_run_is_compared_as_far_as_hashes_tell(purged: Trail) -> None:
    found = purged.project("diff", purged.first, purged.second, "--json", code=1).json()
    whole = {name: found["rows"][name] for name in ("all", "same", "differ")}
    assert whole["all"] == whole["same"] + whole["differ"]
    assert {"bytes"} == {one["what"] for one in found["rows"]["differ_in"]} & {"bytes", "field"}
    assert ("attributable", "replayable") == (found["a"]["grade"], found["b"]["grade"])
    (file,) = found["configuration"]["files"]
    assert (["a"], None) == (file["purged"], file["diff"])
    (answer,) = next(row["answers"] for row in found["differing"] if row["answers"])
    assert ("unknown", ["a"]) == (answer["request"], answer["purged"])
    assert "b" in answer
    text = purged.project("diff", purged.first, purged.second, code=1).out
    assert "in purged bytes" in text
    assert ", purged in A" in text
    assert "answer of classify: (purged) -> {" in text
    assert "not the same bytes; what differs is purged" in text


def test_a_key_in_all_runs_is_told_with_what_is_not_known(purged: Trail) -> None:
    found = purged.project("explain", "--all-runs", "--key", "1", "--json").json()
    assert (2, 1, None) == (found["asked"], found["purged_requests"], found["cost_usd"])
    text = purged.project("explain", "--all-runs", "--key", "1").out
    assert "1 request purged: compared by hash alone" in text
    assert "answer: purged on" in text
    assert 2 == text.count("not asked before in the same bytes")


def test_an_export_goes_on_and_says_what_is_purged(purged: Trail) -> None:
    lines = [json.loads(line) for line in purged.project("export", purged.first, "--to", "-").out.splitlines()]
    assert ("attributable", "end") == (lines[0]["grade"], lines[-1]["what"])
    actions = [line["action"] for line in lines if line.get("table") == "purges"]
    assert ["purging"] * 3 + ["purged"] * 3 == actions
    done = purged.project("export", purged.first, "--to", "-", "--payloads")
    payloads = [line for line in map(json.loads, done.out.splitlines()) if "payload" in line]
    assert set(CLASSES) == {line["purged"]["class"] for line in payloads}
    assert {"payload", "segment_no", "purged"} == set(payloads[0])


def test_a_purged_run_still_verifies_and_its_rows_are_named_as_not_to_be_replayed(purged: Trail) -> None:
    verified = purged.project("verify", purged.first, timeout=120)
    assert "segments of classes that were purged are not looked for" in verified.out
    done = purged.project("replay", purged.first, code=1)
    assert "13 rows cannot be replayed" in done.out


def test_a_purge_that_is_killed_in_its_middle_is_finished_by_the_next(trail: Trail, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(KILLED_AT_THE_THIRD_FILE)
    before, other = trail.payloads(trail.first), trail.payloads(trail.second)
    arguments = ("purge", trail.first, "--yes", "--why", "90 days")
    trail.project(*arguments, code=-signal.SIGKILL, env={"PYTHONPATH": str(site)})

    assert len(before) - 2 == len(trail.payloads(trail.first))
    assert "begun, not finished: elspeth purge --resume" in trail.project("status", trail.first).out
    assert "attributable" == trail.project("status", trail.first, "--json").json()["grade"]
    trail.project("verify", trail.first)
    trail.purge("--resume", "--yes")
    assert ({}, other) == (trail.payloads(trail.first), trail.payloads(trail.second))
    assert "begun" not in trail.project("status", trail.first).out
    trail.project("verify", "--all")


def test_a_held_run_is_refused_by_name_and_kept_by_age(trail: Trail) -> None:
    assert "no run is held\n" == trail.project("hold").err
    trail.project("hold", trail.first, "--why", "inquiry 12")
    held = trail.project("hold").out.split("\t")
    assert (trail.first, "inquiry 12\n") == (held[0], held[3])
    before = trail.payloads(trail.first)

    refused = trail.purge(trail.second, trail.first, "--yes", "--why", "90 days", code=2)
    assert f"run {trail.first} is held since {held[1]} by {held[2]}: inquiry 12" in refused.err
    assert f"elspeth hold {trail.first} --release --why TEXT" in refused.err
    assert "purged 1 run" in trail.purge("--older-than", "0s", "--yes", "--why", "old").out
    assert (before, {}) == (trail.payloads(trail.first), trail.payloads(trail.second))
    assert f"held since {held[1]} by {held[2]}: inquiry 12" in trail.project("status", trail.first).out
    assert "replayable" == trail.project("status", trail.first, "--json").json()["grade"]

    assert "inquiry 12" in trail.project("hold", trail.first, "--release", "--why", "closed").out
    assert "is not held" in trail.project("hold", trail.first, "--release", "--why", "x", code=2).err
    assert "purged 1 run" in trail.purge(trail.first, "--yes", "--why", "closed").out
    seals = trail.project.text(f".elspeth/seals/{trail.first}.seals")
    order = ["reason held", "reason released", "reason purge\n", "reason purged"]
    assert sorted(order, key=seals.index) == order


@pytest.mark.parametrize("name", ["../../../precious.zst", "/etc/hostname.zst"])
def test_a_name_that_leads_elsewhere_is_refused_and_the_other_run_goes(trail: Trail, name: str) -> None:
    precious = trail.project.write("precious.zst", "precious")
    trail.change("UPDATE segments SET name = ? WHERE run_no = 1 AND name = 'rows.zst'", name)
    before = trail.payloads(trail.first)
    done = trail.purge("--older-than", "0s", "--yes", "--why", "90 days", code=3)

    assert f"{name!r} is no name of a payload file; nothing of the run is deleted" in done.err
    assert (b"precious", before) == (precious.read_bytes(), trail.payloads(trail.first))
    assert {} == trail.payloads(trail.second)
    assert [] == trail.project.query("SELECT * FROM purges WHERE run_no = 1")


def test_a_link_and_a_folder_in_the_place_of_files_stay_and_the_rest_goes(trail: Trail) -> None:
    precious = trail.project.write("precious.zst", "precious")
    folder = trail.project.path(f".elspeth/payloads/{trail.first}")
    for name in ("rows.zst", "calls.zst"):
        (folder / name).unlink()
    (folder / "rows.zst").symlink_to(precious)
    (folder / "calls.zst").mkdir()
    done = trail.purge(trail.first, "--yes", "--why", "90 days", code=3)

    assert 2 == done.err.count("cannot be deleted: it is no file, but a link, a folder or a device")
    assert b"precious" == precious.read_bytes()
    assert {"rows.zst", "calls.zst"} == {path.name for path in folder.iterdir()}
    assert "rows purged on" in trail.project("status", trail.first).out
    assert "(begun, not finished: elspeth purge --resume)" in trail.project("status", trail.first).out
    (folder / "rows.zst").unlink()
    (folder / "calls.zst").rmdir()
    assert "purged 1 run" in trail.purge("--resume").out
    assert "not finished" not in trail.project("status", trail.first).out


def test_a_run_that_a_process_works_on_is_busy(made: Trail) -> None:
    before = made.payloads(made.first)
    with RunLock(made.project.database.parent, made.first):
        busy = made.project("purge", made.first, "--yes", "--why", "90 days", code=6)
        assert "is held by process" in busy.err
        assert "is being worked on" in made.project("purge", made.first).err
        assert "is held by process" in made.project("hold", made.first, "--why", "an inquiry", code=6).err
    assert before == made.payloads(made.first)


def test_a_run_with_work_at_the_provider_is_not_purged(simulate: Simulate, project: Project) -> None:
    project.write("tickets.csv", "id,subject,body,priority\n1,a,b,1\n")
    project.write_pipeline(simulate(latency_s=3600.0, file_latency_s=0.0).url)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    refused = project("purge", "latest", "--yes", "--why", "x", code=2)
    assert "is pending, and 1 batch may still be with the provider" in refused.err
    kept = project("purge", "--older-than", "0s", "--unfinished", "--json").json()["kept"]
    assert ["remote"] == [one["reason"] for one in kept]


def test_a_failed_run_goes_when_it_is_asked_for_and_cannot_go_on(simulate: Simulate, project: Project) -> None:
    project.write("tickets.csv", "id,subject,body,priority\n1,a,b,1\n")
    project.write_pipeline(simulate().url, options="price: {input_per_mtok: 2, output_per_mtok: 8}")
    project("run", "pipeline.yaml", "--max-cost", "0.000001", code=5)
    kept = project("purge", "--older-than", "0s")
    assert "is failed and could go on: name it, or give --unfinished" in kept.err
    assert "purged 1 run" in project("purge", "--older-than", "0s", "--unfinished", "--yes", "--why", "given up").out

    refused = project("resume", "latest", code=3)
    assert "cannot go on: purged on" in refused.err
    assert ": given up" in refused.err
    assert None is project("status", "--json").json()["next"]
    project("run", "pipeline.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["purge", "--yes", "--older-than", "0s"], "purge --yes needs --why TEXT"),
        (["purge", "--class", "everything"], "there is no class 'everything' of payloads"),
        (["purge", "--older-than", "soon"], "'soon' is no duration"),
        (["purge", "no-such-run"], "there is no run 'no-such-run'"),
        (["purge", "latest", "--yes", "--why", "two\nlines"], "--why is no line of text"),
        (["purge", "latest", "--yes", "--why", " "], "--why is no line of text"),
        (["hold", "latest"], "hold needs --why TEXT"),
        (["hold", "--release"], "hold needs a run"),
        (["hold", "--db", "nowhere.db"], "there is no database at"),
        (["purge", "--db", "nowhere.db", "--yes", "--why", "x"], "there is no database at"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(made: Trail, arguments: list[str], message: str) -> None:
    done = made.project(*arguments, code=2)
    assert message in done.err
    assert [] == made.project.query("SELECT * FROM purges")
    assert not made.project.path("nowhere.db").exists()
