"""A bundle, made by the installed command, and checked by somebody who has Python, `cryptography`, and nothing else."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sysconfig
import venv
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets
from tests.e2e.small_run import SmallRun

NO_NETWORK = """\
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"the network was asked for: {event}")
sys.addaudithook(refuse)
"""
NEEDED = re.compile(r"(_cffi_backend.*|cffi|cryptography|pycparser)$")


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has `cryptography` and what that needs, and lets nothing near a socket."""
    folder = tmp_path_factory.mktemp("auditor")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    packages = folder / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if NEEDED.fullmatch(path.name):
            (packages / path.name).symlink_to(path)
    (packages / "no_network.py").write_text(NO_NETWORK)  # Debian's Python has a sitecustomize of its own
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "packages.pth").write_text(f"{packages}\nimport no_network\n")
    return folder / "venv" / "bin" / "python"


def audit(python: Path, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python as the auditor does: isolated from everything that this environment has."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONWARNINGS": "error", "LANG": "C.UTF-8"}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def exported(project: Project, *options: str, to: str = "rows.zip") -> Path:
    project("export", "latest", "--format", "bundle", *options, "--to", to)
    return project.path(to)


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as found:
        found.extractall(folder)
    return folder


def test_the_auditor_has_cryptography_and_neither_us_nor_a_network(auditor: Path, tmp_path: Path) -> None:
    for module in ("elspeth", "pydantic", "httpx2", "zstandard", "pytest"):
        done = audit(auditor, "-c", f"import {module}", folder=tmp_path)
        assert f"No module named '{module}'" in done.stderr
    assert 0 == audit(auditor, "-c", "import cryptography", folder=tmp_path).returncode
    done = audit(auditor, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))", folder=tmp_path)
    assert "the network was asked for" in done.stderr


def test_the_commands_of_the_readme_do_what_it_says(small: SmallRun, auditor: Path, tmp_path: Path) -> None:
    """All of them, in the unpacked folder; the key and the checkpoint came another way."""
    folder = unpacked(exported(small.project, "--rows", "0,3,6-7,11"), tmp_path / "bundle")
    readme = (folder / "README.md").read_text()
    commands = [line.removeprefix("$ ") for line in readme.splitlines() if line.startswith("$ ")]
    assert "python3 -m pip install cryptography" == commands.pop(0), "that is what the environment has"
    assert 3 == len(commands)
    key, seals = tmp_path / "key", tmp_path / "seals"
    key.write_text(small.project("keys", "show").out)
    shutil.copy(small.project.path(f".elspeth/seals/{small.status['run']}.seals"), seals)
    strengths = []
    for command in commands:
        words = command.replace("CHECKPOINTFILE", str(seals)).replace("KEYFILE", str(key)).split()
        assert "python3" == words.pop(0)
        done = audit(auditor, *words, folder=folder)
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        strengths.append(done.stdout.splitlines()[-1].split(":")[0])
    assert [
        "verified, consistent only",
        "verified, and sealed by the key that you brought",
        "verified, and anchored",
    ] == strengths
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "checkpoint.txt", "key.txt", "payloads", "records.json", "verify.py",
    ]  # fmt: skip


def test_the_script_checks_the_archive_from_elsewhere(small: SmallRun, auditor: Path, tmp_path: Path) -> None:
    archive = exported(small.project, "--keys", "1,7")
    shutil.copy(unpacked(archive, tmp_path / "bundle") / "verify.py", tmp_path / "check.py")
    done = audit(auditor, "check.py", archive, folder=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "\nrow 0\n" in done.stdout
    assert "\nrow 6\n" in done.stdout
    assert "SIMULATED ANSWERS" in done.stdout
    for row in (0, 6):
        attempt = next(step for step in small.explain(row)["steps"] if "attempts" in step)["attempts"][0]
        for part in ("request", "reply"):
            assert attempt[part]["sha256"] in done.stdout
            assert attempt[part]["line"].strip() in done.stdout


def test_a_changed_byte_is_an_exit_code_and_no_traceback(small: SmallRun, auditor: Path, tmp_path: Path) -> None:
    archive = exported(small.project, "--rows", "1")
    folder = unpacked(archive, tmp_path / "bundle")
    payload = next((folder / "payloads").iterdir())
    payload.write_bytes(payload.read_bytes()[:-1] + b"#")
    done = audit(auditor, "verify.py", folder=folder)
    assert (1, "") == (done.returncode, done.stderr)
    assert f"NOT verified: payloads: payloads/{payload.name}" in done.stdout
    found = small.project("verify", "--bundle", folder, code=1)
    assert f"payloads payloads/{payload.name}: its bytes have another SHA-256" in found.out
    archive.write_bytes(archive.read_bytes()[:-1])
    done = audit(auditor, folder / "verify.py", archive, folder=tmp_path)
    assert (1, "") == (done.returncode, done.stderr)
    assert "NOT verified" in small.project("verify", "--bundle", archive, code=1).out


def test_our_own_verifier_checks_it_with_what_is_brought(small: SmallRun, tmp_path: Path) -> None:
    archive = exported(small.project, "--rows", "0-12")
    key, checkpoint = tmp_path / "key", tmp_path / "checkpoint"
    key.write_text(small.project("keys", "show").out)
    with zipfile.ZipFile(archive) as found:
        checkpoint.write_bytes(found.read("checkpoint.txt"))
    plain = small.project("verify", "--bundle", archive)
    assert f"run {small.status['run']}  tickets  bundle" in plain.out
    assert "6. agreement" in plain.out
    assert "verified, consistent only" in plain.out
    anchored = small.project(
        "verify", "--bundle", archive, "--key", key, "--checkpoint", checkpoint, "--json", cwd=tmp_path
    ).json()
    assert (True, "anchored", 6) == (anchored["is_verified"], anchored["strength"], len(anchored["runs"][0]["steps"]))


def test_stdout_gets_the_archive_and_a_file_what_is_worth_knowing(small: SmallRun) -> None:
    archive = exported(small.project, "--rows", "2")
    done = small.project("export", "--format", "bundle", "--rows", "2", "--to", "-")
    assert archive.read_bytes() == done.stdout
    assert b"" == done.stderr
    done = small.project("export", "--format", "bundle", "--keys", "3", "--to", "rows.zip")
    assert f"run {small.status['run']}: 1 row in rows.zip\n" in done.out
    assert "SIMULATED ANSWERS" in done.out


def test_what_cannot_be_done_is_said_and_leaves_no_file(small: SmallRun) -> None:
    for arguments, word in (
        (["--format", "bundle", "--rows", "1", "--keys", "1"], "--rows or --keys"),
        (["--format", "bundle", "--rows", "1", "--payloads"], "--rows or --keys"),
        (["--format", "bundle", "--rows", "13"], "no row 13"),
        (["--format", "bundle", "--keys", "nobody"], "no row with the key 'nobody'"),
        (["--rows", "1"], "--format bundle"),
    ):
        done = small.project("export", "latest", *arguments, "--to", "x.zip", code=2)
        assert "" == done.out
        assert word in done.err
        assert not small.project.path("x.zip").exists()
    assert "one of them" in small.project("verify", "--all", "--bundle", "x", code=2).err
    assert "cannot be read" in small.project("verify", "--bundle", "x.zip", code=2).err


def test_a_trail_that_was_changed_gives_no_bundle(small: SmallRun, tmp_path: Path) -> None:
    shutil.copytree(small.project.path(".elspeth"), tmp_path / "trail")
    database = tmp_path / "trail" / "audit.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DROP TRIGGER passages_no_update")
        connection.execute("UPDATE passages SET output_hashes = zeroblob(32) WHERE row_index = 4")
    done = small.project(
        "export", "--db", database, "--format", "bundle", "--rows", "4", "--to", tmp_path / "rows.zip", code=1
    )
    assert re.search(r"commits 1/\d+: its records are not those", done.err)
    assert "elspeth verify" in done.err
    assert not (tmp_path / "rows.zip").exists()


def test_a_run_that_waits_gives_what_is_sealed(
    project: Project, simulate: Simulate, auditor: Path, tmp_path: Path
) -> None:
    project.write("tickets.csv", tickets(6))
    project.write_pipeline(simulate(latency_s=3600.0, file_latency_s=0.0).url)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    archive = exported(project, "--rows", "0,5")
    done = audit(auditor, unpacked(archive, tmp_path / "bundle") / "verify.py", folder=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "role=request" in done.stdout
    assert "role=output" not in done.stdout
    assert "outcomes:" not in done.stdout
    records = json.loads((tmp_path / "bundle" / "records.json").read_text())
    assert [0, 5] == records["rows"]


def test_a_purge_leaves_old_bundles_whole_and_new_ones_say_what_is_gone(
    project: Project, simulate: Simulate, auditor: Path, tmp_path: Path
) -> None:
    project.write("tickets.csv", tickets(6))
    project.write_pipeline(simulate().url)
    project("run", "pipeline.yaml")
    old = exported(project, "--rows", "0", to="old.zip")
    project("purge", "latest", "--class", "rows", "--why", "kept long enough", "--yes")
    new = exported(project, "--rows", "0", to="new.zip")
    for archive, is_purged in ((old, False), (new, True)):
        folder = unpacked(archive, tmp_path / archive.stem)
        done = audit(auditor, "verify.py", folder=folder)
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        assert is_purged == ("(purged)" in done.stdout)
        assert is_purged == ("kept long enough" in (folder / "README.md").read_text())
        assert "verified, consistent only" in project("verify", "--bundle", archive).out
    assert "action=purging" in done.stdout
    checkpoint = tmp_path / "old" / "checkpoint.txt"
    done = audit(auditor, "verify.py", "--checkpoint", checkpoint, folder=tmp_path / "new")
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert "verified, and anchored" in done.stdout, "the checkpoint from before the purge tells of the same tree"
