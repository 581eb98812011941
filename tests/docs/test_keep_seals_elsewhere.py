"""The commands of docs/how-to/keep-seals-elsewhere.md do what it shows, in a shell and with a real authority."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.conftest import COMMAND, DOCS
from tests.docs.console import matches, steps
from tests.e2e.authority import Authority, AuthorityServer

PAGE = DOCS / "how-to" / "keep-seals-elsewhere.md"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder in which the page's commands were run by a shell as shown, and how many they were."""
    home = tmp_path_factory.mktemp("sealed")
    (home / "elsewhere").mkdir()
    authority, folder, count = Authority(), home, 0
    with AuthorityServer(authority.answer) as server:
        for step in steps(PAGE):
            if step.command == "cd labels":
                folder = home / "labels"
                (folder / "tsa-root.pem").write_bytes(authority.root_pem)
                continue
            run = next((path.stem for path in (home / "elsewhere").glob("*.seals")), "RUN")
            command = step.command.replace("https://tsa.example/stamp", server.url).replace("RUN", run)
            done = shell(command.replace("/mnt/elsewhere", f"{home}/elsewhere"), folder, home)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert matches(step.expected, done.stdout), f"{command}\n{done.stdout}"
            count += 1
    return folder, count


def shell(command: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environ = {"HOME": str(home), "PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_seals_are_kept_elsewhere_as_shown(sealed: tuple[Path, int]) -> None:
    folder, count = sealed

    assert 11 == count
    assert 1 == len(list((folder / ".elspeth" / "seals").glob("*.tsr")))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_takes_the_timestamp_as_shown(sealed: tuple[Path, int]) -> None:
    folder, _ = sealed
    (block,) = re.findall(r"<!-- tested with openssl -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    *commands, expected = block.replace("$ ", "").splitlines()
    (stamp,) = (folder / ".elspeth" / "seals").glob("*.tsr")
    run, size, _ = stamp.name.split(".")
    done = shell("\n".join(commands).replace("RUN", run).replace("SIZE", size), folder, folder)

    assert (0, f"{expected}\n") == (done.returncode, done.stdout), done.stderr
