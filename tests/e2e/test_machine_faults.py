"""The machine fails: full disks, folders that cannot be written to, locks, files that vanish or change.

Each time: the exit code and the message that a user can act on, nothing paid twice, and, once the cause is
mended, a resume that comes to the outputs of a run that nothing disturbed.
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import ELSPETH, Done, Project, ended, tickets
from tests.e2e.wire import jobs_by_file

from elspeth.simulator import Settings, Simulator

ROWS = 8
LATENCY_S = 0.4
LONG_LATENCY_S = 1.5
FAILED = 3

# Both replace themselves with the command that follows. Python ignores SIGXFSZ, and so does what it becomes.
WITH_FULL_DISK = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
libc = ctypes.CDLL(None, use_errno=True)
for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) if os.geteuid() == 0 else ():
    if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "mode bits cannot be made to count for this user")
os.execv(sys.argv[1], sys.argv[1:])
"""


def full_disk(project: Project, *arguments: str, limit: int) -> Done:
    """The command with no room for any file to grow beyond ``limit`` bytes."""
    return launched(project, WITH_FULL_DISK, str(limit), str(ELSPETH), *arguments)


def unprivileged(project: Project, *arguments: str) -> Done:
    """The command as a user for whom mode bits count, also when the tests are run by root."""
    return launched(project, WITHOUT_PRIVILEGE, str(ELSPETH), *arguments)


def launched(project: Project, launcher: str, *arguments: str) -> Done:
    command = [sys.executable, "-c", launcher, *arguments]
    process = subprocess.run(
        command, cwd=project.folder, env=project.environment(), capture_output=True, timeout=60, check=False
    )
    return Done(process.returncode, process.stdout, process.stderr)


def check_told(done: Done, *words: str, code: int = FAILED) -> None:
    """The exit code, and a message that names the place and says what to do."""
    assert "Traceback" not in done.err, done.err
    assert "Exception ignored" not in done.err, "no file is left open"
    assert code == done.code, (done.out, done.err)
    message, _, hint = done.err[done.err.index("elspeth: ") :].partition("\n  hint: ")
    assert hint.partition("(That could not be recorded")[0].strip(), done.err
    for word in words:
        assert word in message


def check_resumed(project: Project, simulator: Simulator, undisturbed: dict[str, bytes], *, jobs: int = 2) -> None:
    """With the cause mended, a resume completes the run as if nothing had happened."""
    assert project("resume", "latest").out.startswith("complete: ")
    check_whole(project, simulator, undisturbed, jobs=jobs)


def check_whole(project: Project, simulator: Simulator, undisturbed: dict[str, bytes], *, jobs: int = 2) -> None:
    assert undisturbed == outputs(project)
    assert [1] * jobs == list(jobs_by_file(simulator.journal()).values()), "nothing is paid for twice"


def outputs(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.path("out").rglob("*") if path.is_file()}


def expected(folder: Path, source: str, **values: object) -> dict[str, bytes]:
    """The outputs of a run that nothing disturbs."""
    with Simulator(Settings(latency_s=0.0)) as simulator:
        project = Project(folder)
        project.write("tickets.csv", source)
        project.write_pipeline(simulator.url, **values)
        project("run", "pipeline.yaml")
        return outputs(project)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return expected(tmp_path_factory.mktemp("undisturbed"), tickets(ROWS))


def prepare(project: Project, simulate: Simulate, *, latency_s: float = LATENCY_S, **settings: object) -> Simulator:
    simulator = simulate(latency_s=latency_s, file_latency_s=0.0, **settings)
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url)
    return simulator


def submit(project: Project) -> None:
    """A run that leaves its batches with the provider."""
    project("run", "pipeline.yaml", "--no-wait", code=75)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def running(project: Project, simulator: Simulator, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A run that has its jobs, and its outputs begun."""
    with ended(project.start("run", "pipeline.yaml", env=env)) as process:
        wait_for(lambda: len(jobs_by_file(simulator.journal())) == 2)
        wait_for(lambda: all(part.stat().st_size for part in project.path("out").glob(".triaged.csv.*")))
        yield process


def end_of(process: "subprocess.Popen[bytes]") -> Done:
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


# Full disks


def text(_random: random.Random, number: int) -> str:
    return f"Body number {number}"


def long_text(_random: random.Random, _number: int) -> str:
    """Takes much room in an output and next to none in a payload segment, which is compressed."""
    return "word " * 25_000


def noise(chance: random.Random, _number: int) -> str:
    return chance.randbytes(60_000).hex()


# What runs out of room: (bodies of the tickets, the limit in bytes when it is run, when it is resumed).
# The database is the only file that grows when bodies are short; its log alone counts in a resume.
DISKS = {
    "out/.triaged.csv": (long_text, 5_000_000, 5_000_000),
    "rows.zst": (noise, 3_000_000, 3_000_000),
    "audit.db": (text, 500_000, 300_000),
}
LARGE_ROWS = 60


def large_source(body: Callable[[random.Random, int], str]) -> str:
    chance = random.Random(1)
    lines = [f"{n + 1},Subject {n},{body(chance, n)},1" for n in range(LARGE_ROWS)]
    return "\n".join(["id,subject,body,priority", *lines]) + "\n"


@pytest.mark.parametrize("file", DISKS)
def test_a_full_disk_stops_a_run_and_its_resume_which_then_goes_on(
    project: Project, simulate: Simulate, tmp_path: Path, file: str
) -> None:
    body, limit, limit_of_resume = DISKS[file]
    source = large_source(body)
    whole = expected(tmp_path / "undisturbed", source, max_requests=20)
    simulator = simulate(latency_s=0.0)
    project.write("tickets.csv", source)
    project.write_pipeline(simulator.url, max_requests=20)
    check_told(full_disk(project, "run", "pipeline.yaml", limit=limit), file)
    check_told(full_disk(project, "resume", "latest", limit=limit_of_resume), file)
    check_resumed(project, simulator, whole, jobs=3)


def test_a_disk_that_is_full_from_the_beginning(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes]
) -> None:
    simulator = prepare(project, simulate)
    check_told(full_disk(project, "run", "pipeline.yaml", limit=20_000), "audit.db")
    assert [".gitignore"] == [path.name for path in project.path(".elspeth").iterdir()], "nothing half-made is left"
    assert [] == simulator.journal()
    project("run", "pipeline.yaml")
    check_whole(project, simulator, undisturbed)


# Folders and files that are not what they should be


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize("folder", ["out", ".elspeth"])
def test_a_folder_that_cannot_be_written_to(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], folder: str
) -> None:
    simulator = prepare(project, simulate)
    project.path(folder).mkdir()
    with read_only(project.path(folder)):
        check_told(unprivileged(project, "run", "pipeline.yaml"), f"/{folder}")
    assert [] == simulator.journal(), "refused before anything is sent"
    if project.database.exists():
        project("resume", "latest", "--no-wait", code=75)
    else:
        submit(project)
    with read_only(project.path(folder)):
        check_told(unprivileged(project, "resume", "latest"), f"/{folder}")
    check_resumed(project, simulator, undisturbed)


@pytest.mark.parametrize("place", [".elspeth", ".elspeth/locks", ".elspeth/payloads", "out"])
def test_a_file_where_a_folder_must_be(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], place: str
) -> None:
    simulator = prepare(project, simulate)
    path = project.write(place, "in the way")
    done = project("run", "pipeline.yaml", code=None)
    check_told(done, place)
    assert [] == simulator.journal(), "refused before anything is sent"
    path.unlink()
    if project.database.exists():
        project("resume", "latest", "--no-wait", code=75)
    else:
        submit(project)
    aside = path.rename(project.path("aside"))
    path.write_text("in the way")
    done = project("resume", "latest", code=None)
    check_told(done, place, code=2 if place == ".elspeth" else FAILED)
    path.unlink()
    aside.rename(path)
    check_resumed(project, simulator, undisturbed)


def test_a_folder_where_the_database_must_be(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate)
    project.database.mkdir(parents=True)
    check_told(project("run", "pipeline.yaml", code=None), "audit.db")
    assert [] == simulator.journal()


# A database that somebody else locks


@pytest.fixture
def impatient(tmp_path: Path) -> dict[str, str]:
    """An environment in which the command waits for a lock for a moment only, instead of a minute."""
    site = tmp_path / "site"
    site.mkdir()
    setting = "import elspeth.core.landscape.database as database\ndatabase._BUSY_TIMEOUT_S\n"
    (site / "sitecustomize.py").write_text(setting + "database._BUSY_TIMEOUT_S = 0.2\n")
    return {"PYTHONPATH": str(site)}


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_database_stops_a_resume_and_a_new_run(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], impatient: dict[str, str]
) -> None:
    simulator = prepare(project, simulate)
    submit(project)
    with locked(project.database):
        check_told(project("resume", "latest", code=None, env=impatient), "audit.db", "locked")
        refused = project("run", "pipeline.yaml", "--new", code=None, env=impatient)
        check_told(refused, "audit.db", "locked")
        assert "lock" in refused.err.partition("hint: ")[2]
    check_resumed(project, simulator, undisturbed)
    assert 1 == len(project("runs").out.splitlines())


def test_a_database_that_is_locked_in_the_middle_of_a_run(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], impatient: dict[str, str]
) -> None:
    simulator = prepare(project, simulate, latency_s=LONG_LATENCY_S)
    with running(project, simulator, **impatient) as process:
        with locked(project.database):
            check_told(end_of(process), "audit.db", "locked")
    check_resumed(project, simulator, undisturbed)


# Sources


def test_a_source_that_is_gone_before_it_was_read_to_its_end(
    project: Project, simulate: Simulate, tmp_path: Path
) -> None:
    whole = expected(tmp_path / "undisturbed", tickets(600), max_requests=100)
    simulator = simulate(faults=[{"operation": "files.create", "action": {"status": 401}}])
    source = project.write("tickets.csv", tickets(600))
    project.write_pipeline(simulator.url, max_requests=100)
    project("run", "pipeline.yaml", code=4)
    assert not project("status", "--json").json()["rows"]["is_source_done"]
    aside = source.rename(project.path("aside.csv"))
    check_told(project("resume", "latest", code=None), "tickets.csv")
    source.mkdir()
    check_told(project("resume", "latest", code=None), "tickets.csv")
    source.rmdir()
    aside.rename(source)
    check_resumed(project, simulator, whole, jobs=6)


@pytest.mark.parametrize(
    "change", [Path.unlink, partial(Path.write_text, data=tickets(2 * ROWS))], ids=["removed", "grown"]
)
def test_a_source_that_was_read_to_its_end_is_not_needed_again(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], change: Callable[[Path], object]
) -> None:
    simulator = prepare(project, simulate)
    submit(project)
    change(project.path("tickets.csv"))
    check_resumed(project, simulator, undisturbed)


# Payloads


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("rows.zst", Path.unlink),
        ("rows.zst", cut),
        ("calls.zst", Path.unlink),
        ("calls.zst", cut),
        ("files.zst", cut),
        ("000003-classify-b0001-a0-request.jsonl.zst", Path.unlink),
    ],
)
def test_a_payload_segment_that_is_missing_or_cut_is_named_and_may_be_put_back(
    project: Project,
    simulate: Simulate,
    undisturbed: dict[str, bytes],
    name: str,
    spoil: Callable[[Path], object],
) -> None:
    faults = [{"operation": "files.create", "occurrence": 1, "action": {"status": 401}}]
    simulator = prepare(project, simulate, latency_s=0.0, faults=faults)
    project("run", "pipeline.yaml", code=4)
    (segment,) = project.path(".elspeth/payloads").glob(f"*/{name}")
    copy = shutil.copy(segment, project.path("copy"))
    spoil(segment)
    left = segment.stat().st_size if segment.exists() else None
    check_told(project("resume", "latest", code=None), name)
    assert left == (segment.stat().st_size if segment.exists() else None), "nothing is made up in its place"
    shutil.copy(copy, segment)
    check_resumed(project, simulator, undisturbed)


# Outputs and the trail, in the middle of a run


def overwrite(part: Path) -> None:
    part.write_bytes(part.read_bytes().replace(b"category", b"CATEGORY"))


@pytest.mark.parametrize(
    "spoil", [overwrite, Path.unlink, partial(os.truncate, length=3)], ids=["overwritten", "removed", "cut"]
)
def test_an_output_that_is_changed_while_a_run_waits_comes_out_whole(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], spoil: Callable[[Path], object]
) -> None:
    simulator = prepare(project, simulate, latency_s=LONG_LATENCY_S)
    with running(project, simulator) as process:
        (part,) = project.path("out").glob(".triaged.csv.*")
        spoil(part)
        done = end_of(process)
    if done.code:
        check_told(done, "triaged.csv")
        project("resume", "latest")
    check_whole(project, simulator, undisturbed)


@pytest.mark.parametrize(("folder", "file"), [(".elspeth", "audit.db"), (".elspeth/payloads", ".zst")])
def test_a_trail_that_is_moved_away_in_the_middle_of_a_run(
    project: Project, simulate: Simulate, undisturbed: dict[str, bytes], folder: str, file: str
) -> None:
    simulator = prepare(project, simulate, latency_s=LONG_LATENCY_S)
    with running(project, simulator) as process:
        project.path(folder).rename(project.path("moved"))
        check_told(end_of(process), file)
    assert not project.path("out/triaged.csv").exists(), "no output without a trail"
    shutil.rmtree(project.path(folder), ignore_errors=True)
    project.path("moved").rename(project.path(folder))
    check_resumed(project, simulator, undisturbed)


def test_a_trail_that_is_removed_in_the_middle_of_a_run(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=LONG_LATENCY_S)
    with running(project, simulator) as process:
        shutil.rmtree(project.path(".elspeth").rename(project.path("gone")))  # at once, while files are made in it
        check_told(end_of(process), "audit.db")
    assert not project.path("out/triaged.csv").exists(), "no output without a trail"
    assert [1, 1] == list(jobs_by_file(simulator.journal()).values())
    check_told(project("resume", "latest", code=None), "audit.db", code=2)
