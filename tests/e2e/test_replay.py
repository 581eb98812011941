"""A run replayed from the trail alone: the same bytes, or what differs, by row, step and field."""

import hashlib
import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.e2e.conftest import Simulate
from tests.e2e.project import Done, Project, ended, tickets
from tests.e2e.small_run import FAILED, REJECTED, SmallRun
from tests.e2e.test_machine_faults import unprivileged

SINKS = ("triaged.csv", "urgent.jsonl", "failed.jsonl")
EXAMPLE = Path(__file__).parents[2] / "examples" / "debian-packages"
FORBID = """
import os, sys

def hook(event, args):
    if event in ("socket.__new__", "socket.getaddrinfo"):
        os.write(2, b"Traceback: the network was touched\\n")
        os._exit(99)

sys.addaudithook(hook)
"""


class Cold:
    """A copy of a project's state and of nothing else, in a folder that nobody may write to, without a network."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "replayed"
        self.trail = folder / "trail"
        shutil.copytree(project.folder / ".elspeth", self.trail, ignore=shutil.ignore_patterns("*-shm", "*-wal"))
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(FORBID)
        self._project = project
        self.env: dict[str, str | None] = {"PYTHONPATH": str(site), "AZURE_OPENAI_API_KEY": None}
        self.recorded = {path.name: path.read_bytes() for path in (project.folder / "out").rglob("*") if path.is_file()}

    def __call__(self, *options: str | Path, code: int = 0, run: str = "latest") -> Done:
        database = f"sqlite:///{self.trail / 'audit.db'}"
        return self._project(
            "replay", run, "--db", database, "--out", self.out, *options, code=code, cwd=self.folder, env=self.env
        )

    def json(self, *options: str | Path, code: int = 1) -> dict[str, Any]:
        return self(*options, "--json", code=code).json()

    def outputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.rglob("*") if path.is_file() and path.name[0] != "."}

    def hashes(self) -> dict[str, str]:
        """Everything in the trail's folder, by name."""
        return {
            str(path.relative_to(self.trail)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.trail.rglob("*"))
            if path.is_file()
        }

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.trail / "audit.db")) as connection:
            return connection.execute(sql, parameters).fetchall()

    def tamper(self, *changes: str) -> None:
        """Does what the triggers forbid."""
        with closing(sqlite3.connect(self.trail / "audit.db")) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            for change in changes:
                assert connection.execute(change).rowcount > 0, change
            connection.commit()

    def payloads(self) -> Path:
        (folder,) = (self.trail / "payloads").iterdir()
        return folder

    def rewrite(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Writes a segment's frames anew with other bytes of the same length, as somebody with the files could."""
        ((segment_no,),) = self.query("SELECT segment_no FROM segments WHERE name = ?", name)
        frames = self.query(
            "SELECT start, stored_start, stored_size FROM frames WHERE segment_no = ? ORDER BY start", segment_no
        )
        path = self.payloads() / name
        old = path.read_bytes()
        new = b""
        changes = []
        for start, at, size in frames:
            content = change(zstandard.ZstdDecompressor().decompress(old[at : at + size]))
            stored = zstandard.ZstdCompressor().compress(content)
            changes.append(
                f"UPDATE frames SET stored_start = {len(new)}, stored_size = {len(stored)} "
                f"WHERE segment_no = {segment_no} AND start = {start}"
            )
            new += stored
        self.tamper(*changes)
        path.write_bytes(new)


@pytest.fixture
def cold(small: SmallRun, tmp_path: Path) -> Cold:
    return Cold(small.project, tmp_path)


@contextmanager
def sealed(folder: Path) -> Iterator[None]:
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755)


def test_a_replay_needs_the_trail_alone_and_gives_the_same_bytes(cold: Cold, small: SmallRun) -> None:
    before = cold.hashes()
    done = cold()
    assert f"replayed 13 rows of run {small.project.run_id()}: 4 outputs identical byte for byte" in done.out
    assert cold.recorded == cold.outputs()
    assert [Path("out")] == [path.relative_to(cold.out) for path in cold.out.iterdir() if path.is_dir()]
    after = {name: digest for name, digest in cold.hashes().items() if not name.endswith(("-shm", "-wal"))}
    assert before == after


def test_a_replay_reads_a_copy_that_nobody_may_write_to(cold: Cold, small: SmallRun) -> None:
    cold.folder.chmod(0o777)
    cold.out.mkdir()
    cold.out.chmod(0o777)
    before = cold.hashes()
    with sealed(cold.trail):
        database = f"sqlite:///{cold.trail / 'audit.db'}"
        done = unprivileged(small.project, "replay", "latest", "--db", database, "--out", str(cold.out))
        assert 0 == done.code, done.err
        assert before == cold.hashes()
    assert cold.recorded == cold.outputs()


def test_a_second_replay_replaces_the_first_and_nothing_else(cold: Cold) -> None:
    cold()
    urgent = next(cold.out.rglob("urgent.jsonl"))
    urgent.write_text("spoilt")
    cold()
    assert cold.recorded == cold.outputs()
    (cold.out / "mine.txt").write_text("mine")
    assert "mine.txt" in cold(code=2).err
    assert "mine" == (cold.out / "mine.txt").read_text()


def test_a_replay_of_a_project_lies_in_its_state_and_is_not_a_run(small: SmallRun) -> None:
    runs = small.project("runs").out
    content = small.project("replay", "latest", "--json").json()
    assert content["is_identical"]
    run_id = small.project.run_id()
    assert small.project.path(f".elspeth/replays/{run_id}/out/triaged.csv").is_file()
    assert runs == small.project("runs").out
    assert {sink: True for sink in ("triaged", "urgent", "failed", "rejected")} == {
        output["sink"]: output["sha256"] == output["recorded_sha256"] for output in content["outputs"]
    }


def test_an_output_elsewhere_does_not_leave_the_folder(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "all.jsonl"
    project.write("tickets.csv", tickets(3))
    project.write(
        "pipeline.yaml",
        "name: copy\nsource: {plugin: csv, options: {path: tickets.csv}}\n"
        f"sinks:\n  all: {{plugin: jsonl, options: {{path: {elsewhere}}}}}\n",
    )
    project("run", "pipeline.yaml")
    before = elsewhere.stat()
    (output,) = project("replay", "latest", "--json").json()["outputs"]
    assert output["path"].endswith(f"/outside{elsewhere}")
    assert output["is_identical"]
    assert before.st_mtime_ns == elsewhere.stat().st_mtime_ns


def test_retries_failures_and_a_limit_replay(project: Project, simulate: Simulate, tmp_path: Path) -> None:
    faults = {
        "row-1-0": "429",
        "row-1-1": "500",
        "row-3-0": "500",
        "row-5-0": "429",
        "row-5-1": "429",
        "row-5-2": "429",
    }
    simulator = simulate(row_faults={**faults, "row-6-0": "content_filter"}, quirks=["shuffled_output"])
    project.write("tickets.csv", tickets(20))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml", "--limit", "9")
    assert [2] == [
        row["attempt"]
        for row in project.query("SELECT attempt FROM v_states WHERE row_index = 1 AND step = 'classify'")
    ]
    cold = Cold(project, tmp_path)
    assert "replayed 9 rows" in cold().out
    assert cold.recorded == cold.outputs()


def test_a_sample_replays(project: Project, simulate: Simulate, tmp_path: Path) -> None:
    project.write("tickets.csv", tickets(60))
    project.write_pipeline(simulate().url)
    project("run", "pipeline.yaml", "--sample", "11", "--seed", "4")
    cold = Cold(project, tmp_path)
    assert "replayed 11 rows" in cold().out
    assert cold.recorded == cold.outputs()


def test_a_run_that_was_killed_and_resumed_replays(project: Project, simulate: Simulate, tmp_path: Path) -> None:
    simulator = simulate(row_faults={"row-2-0": "429", "row-9-0": "content_filter"}, latency_s=0.4)
    project.write("tickets.csv", tickets(13).replace("\n5,", "\nfive,"))
    project.write_pipeline(simulator.url, max_requests=4, options="max_batches_in_flight: 2")
    with ended(project.start("run", "pipeline.yaml")) as process:
        deadline = time.monotonic() + 30
        while not any(entry["operation"] == "files.content" for entry in simulator.journal()):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "replay" not in project("replay", "latest", code=2).out
    assert "elspeth resume" in project("replay", "latest", code=2).err
    project("resume", "latest")
    cold = Cold(project, tmp_path)
    assert "4 outputs identical" in cold().out
    assert cold.recorded == cold.outputs()


def segment(cold: Cold, role: str) -> str:
    ((name,),) = cold.query(
        "SELECT name FROM segments WHERE name LIKE ? ORDER BY segment_no LIMIT 1", f"%b0001-a0-{role}.jsonl.zst"
    )
    return str(name)


def test_a_changed_reply_is_told_by_row_step_and_field(cold: Cold) -> None:
    name = segment(cold, "output")
    row = next(index for index, entry in answers(cold).items() if entry == "billing")
    line_id = f'"row-{row}-0"'.encode()

    def change(data: bytes) -> bytes:
        return b"\n".join(
            line.replace(b"billing", b"other  ").replace(b'other  \\"', b'other\\"  ') if line_id in line else line
            for line in data.split(b"\n")
        )

    cold.rewrite(name, change)
    content = cold.json()
    assert {"rows": 1, "field": 1, "reply": 1, "route": 1, "outcome": 3, "payload": 1} == content["differences"]
    found = {(entry["row"], entry["step"], entry["field"]): entry for entry in content["rows"]}
    category = found[row, "classify", "category"]
    assert ("billing", "other") == (category["recorded"], category["replayed"])
    assert ("true", "false") == (found[row, "risk", "route"]["recorded"], found[row, "risk", "route"]["replayed"])
    assert ("urgent", "triaged") == (found[row, None, "sink"]["recorded"], found[row, None, "sink"]["replayed"])
    assert any(name in entry["field"] for entry in content["rows"] if entry["sort"] == "payload")
    assert {"triaged": False, "urgent": False, "failed": True, "rejected": True} == {
        output["sink"]: output["is_identical"] for output in content["outputs"]
    }
    text = cold(code=1).out
    assert f'row {row}  classify  category: "billing" -> "other"' in text
    assert "2 of 4 outputs identical byte for byte · 1 row differs" in text.splitlines()[-1]


def answers(cold: Cold) -> dict[int, str]:
    """The category of each row that has one, from the recorded outputs."""
    urgent = [json.loads(line) for line in cold.recorded["urgent.jsonl"].splitlines()]
    ids = {entry["id"]: "billing" for entry in urgent}
    rows = [1, 2, 3, "four", 5, 6, 7, 8, 9, 10, 11, 12, 13]
    return {rows.index(ticket): category for ticket, category in ids.items() if rows.index(ticket) < 6}


def test_a_changed_source_row_is_told_with_what_follows_from_it(cold: Cold) -> None:
    cold.rewrite("rows.zst", lambda data: data.replace(b"Cannot log in", b"Cannot LOG IN"))
    content = cold.json()
    sorts = {(entry["sort"], entry["row"], entry["step"], entry["field"]) for entry in content["rows"]}
    assert ("payload", 2, "source", "(bytes)") in sorts
    assert any(sort == "request" and row == 2 and step == "classify" for sort, row, step, _ in sorts)
    assert {2} == {entry["row"] for entry in content["rows"]}
    assert "Cannot LOG IN" in json.dumps(cold.json()["rows"])


def test_an_edited_template_shows_what_would_be_asked_anew(cold: Cold, small: SmallRun) -> None:
    pipeline = small.project.text("pipeline.yaml")
    edited = cold.folder / "edited.yaml"
    edited.write_text(pipeline.replace("Body: {{ row.body }}", "Body: {{ row.body | upper }}"))
    content = cold.json("--with", edited)
    asked = {row for row in range(13) if row not in REJECTED}
    assert {"classify": {"rows": len(asked), "ranges": [[0, 2], [4, 6], [8, 10], [12, 12]]}} == content["asked_anew"]
    assert {"rejected"} == {output["sink"] for output in content["outputs"] if output["is_identical"]}
    assert "would be asked anew at classify: 0-2, 4-6, 8-10, 12" in cold("--with", edited, code=1).out


def test_an_edit_that_changes_no_request_takes_the_recorded_answers(cold: Cold, small: SmallRun) -> None:
    pipeline = small.project.text("pipeline.yaml")
    edited = cold.folder / "edited.yaml"
    edited.write_text(pipeline)
    assert cold.json("--with", edited, code=0)["is_identical"]
    edited.write_text(
        pipeline.replace("row['category'] == 'billing'", "row['category'] == 'bug'").replace(
            "\n  - name: risk",
            "\n  - name: mark\n    plugin: field_mapper\n    options: {rename: {body: text}}\n\n  - name: risk",
        )
    )
    content = cold.json("--with", edited)
    assert {} == content["asked_anew"]
    assert {"risk"} == {entry["step"] for entry in content["rows"] if entry["sort"] == "route"}
    ends = [entry for entry in content["rows"] if entry["step"] == "(end)"]
    assert {"body", "text"} == {entry["field"] for entry in ends}
    assert all("recorded" in entry and "replayed" not in entry for entry in ends if entry["field"] == "body")
    replayed = [json.loads(line) for path in cold.out.rglob("urgent.jsonl") for line in path.read_text().splitlines()]
    assert {"bug"} == {row["category"] for row in replayed}


def test_an_edited_file_that_could_not_run_is_refused(cold: Cold, small: SmallRun) -> None:
    edited = cold.folder / "edited.yaml"
    edited.write_text(small.project.text("pipeline.yaml").replace("row.title", "row.subject"))
    assert "FIELD_UNKNOWN" in cold("--with", edited, code=2).err
    assert not cold.out.exists()


def test_rows_whose_bytes_were_purged_are_counted_and_named(cold: Cold) -> None:
    (cold.payloads() / "rows.zst").unlink()
    content = cold.json()
    assert {"rows": {"rows": 10, "ranges": [[0, 2], [4, 6], [8, 10], [12, 12]]}} == content["unreplayable"]
    assert {"rows": 0} == content["differences"]
    assert {"rejected"} == {output["sink"] for output in content["outputs"] if output["is_identical"]}
    assert "10 rows cannot be replayed, the bytes of their rows are gone: 0-2, 4-6, 8-10, 12" in cold(code=1).out


def test_a_batch_whose_answers_were_purged_names_its_rows(cold: Cold) -> None:
    (cold.payloads() / segment(cold, "output")).unlink()
    content = cold.json()
    assert {"files": {"rows": 5, "ranges": [[0, 2], [4, 5]]}} == content["unreplayable"]
    assert {"rows": 0} == content["differences"]


def test_without_the_files_of_the_configuration_no_row_can_be_replayed(cold: Cold) -> None:
    for path in cold.payloads().glob("*.zst"):
        if path.name not in {"rows.zst", "rejected.zst", "calls.zst"}:
            path.unlink()
    content = cold.json()
    assert {"files": {"rows": 13, "ranges": [[0, 12]]}} == content["unreplayable"]
    assert [None] * 4 == [output["sha256"] for output in content["outputs"]]


JOURNEY = "(commit_no, journey_no) IN (SELECT commit_no, journey_no FROM {} WHERE {})"
TAMPERED = {
    f"UPDATE journeys SET route = 'true' WHERE route = 'false' AND {JOURNEY.format('passages', 'row_index = 2')}": (
        "route",
        2,
    ),
    "UPDATE passages SET output_hashes = zeroblob(32) WHERE row_index = 4 "
    f"AND {JOURNEY.format('journeys', 'node_no = 2')}": ("field", 4),
    f"DELETE FROM passages WHERE row_index = 10 AND {JOURNEY.format('journeys', 'node_no = 3')}": ("record", 10),
    "UPDATE outcomes SET reason = 'other' WHERE row_index = 9": ("outcome", 9),
    "DELETE FROM outcomes WHERE row_index = 8": ("record", 8),
    "DELETE FROM rows WHERE row_index = 5": ("record", 5),
    "DELETE FROM rows WHERE row_index = 12": ("record", 12),
    "UPDATE passages SET error_json = '{broken' WHERE row_index = 6": ("error", 6),
    "UPDATE row_keys SET row_index = 99 WHERE row_index = 1": ("key", 1),
    "UPDATE batch_members SET line_hash = zeroblob(32) WHERE row_index = 0 AND role = 1": ("request", 0),
    "UPDATE batch_members SET start = start + 1 WHERE row_index = 10 AND role = 2": ("reply", 10),
}


def test_records_that_say_otherwise_are_differences(cold: Cold) -> None:
    cold.tamper(*TAMPERED)
    found = {(entry["sort"], entry["row"]) for entry in cold.json()["rows"]}
    assert set() == set(TAMPERED.values()) - found


def test_a_line_of_an_output_that_is_recorded_otherwise_is_told_once(cold: Cold) -> None:
    cold.tamper("UPDATE outcomes SET sink_line = sink_line + 1 WHERE sink_no = 4")
    content = cold.json()
    assert [("outcome", "line")] == [(entry["sort"], entry["field"]) for entry in content["rows"]]


def test_the_limit_bounds_what_is_shown_and_not_what_is_counted(cold: Cold, small: SmallRun) -> None:
    edited = cold.folder / "edited.yaml"
    edited.write_text(
        small.project.text("pipeline.yaml").replace(
            "rename: {subject: title}", "rename: {subject: title, priority: urgency}"
        )
    )
    everything = cold.json("--with", edited, "--limit", "100")
    some = cold.json("--with", edited, "--limit", "2")
    assert everything["differences"] == some["differences"]
    assert everything["differences"]["field"] == sum(entry["sort"] == "field" for entry in everything["rows"])
    assert everything["rows"][:2] == some["rows"][:2]
    assert "(the first 2 of" in cold("--with", edited, "--limit", "2", code=1).out


def test_failed_rows_keep_their_reason(cold: Cold) -> None:
    cold()
    replayed = [json.loads(line) for line in cold.outputs()["failed.jsonl"].splitlines()]
    assert list(FAILED.values()) == [row["_error"]["code"] for row in replayed]


def test_the_help_of_a_replay_says_what_it_is_for(project: Project) -> None:
    assert "without a network" in project("replay", "--help").out


def test_the_example_replays_with_everything_gone_but_the_trail(project: Project, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, project.folder, dirs_exist_ok=True)
    project("run", "pipeline.yaml", "--limit", "300", timeout=120)
    cold = Cold(project, tmp_path)
    for path in project.folder.iterdir():
        if path.is_file():
            path.unlink()
    shutil.rmtree(project.path("out"))
    shutil.rmtree(project.path(".elspeth"))
    assert "replayed 300 rows" in cold().out
    assert cold.recorded == cold.outputs()
