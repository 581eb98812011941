"""The README's commands do what it says, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.conftest import DOCS, ROOT, elspeth
from tests.docs.console import matches, run_all

PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def by_place(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_a_first_pipeline_runs_as_shown(tmp_path: Path) -> None:
    assert run_all(ROOT / "README.md", tmp_path) == 10


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    shown = re.search(r"^1\. copying.*?^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert shown is not None
    lines = [line for line in shown.group(0).splitlines() if line.strip() not in {"...", "```"}]
    done = elspeth("demo", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    printed = {constant(line, tmp_path) for line in (done.stdout + done.stderr).splitlines()}
    assert [line for line in lines if constant(line, tmp_path) not in printed] == []


def constant(line: str, folder: Path) -> str:
    line = line.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    return re.sub(r"\b01[0-9a-z]{11}\b", "RUN", re.sub(r"\b[0-9a-f]{64}\b", "HASH", line.strip()))


@pytest.mark.parametrize("page", PAGES, ids=by_place)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}"


def test_every_command_that_a_page_names_exists() -> None:
    known = set(re.findall(r"^  ([a-z]+) ", elspeth("--help", folder=ROOT).stdout, re.MULTILINE))
    blocks = "\n".join(
        block for page in PAGES for block in re.findall(r"^ *\$ (elspeth .*)$", page.read_text(), re.MULTILINE)
    )

    assert set(re.findall(r"^elspeth ([a-z]+)", blocks, re.MULTILINE)) <= known


def test_dots_stand_for_any_lines_and_ids_for_any_id() -> None:
    assert matches("run 01m846nrtnbbm\n...\nend\n", "run 01zzzzzzzzzzz\none\ntwo\nend\n")
    assert not matches("run\nend\n", "run\nmore\nend\n")
