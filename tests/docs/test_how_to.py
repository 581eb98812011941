"""The plugin of docs/how-to/write-a-plugin.md works, and the pages' YAML is what the loader takes."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from tests.docs.conftest import DOCS, elspeth
from tests.docs.console import matches, run_all, steps

from elspeth.core.config import OptionsContext, parse_options
from elspeth.plugins.registry import Registry
from elspeth.testing import FakeContext

PAGE = (DOCS / "how-to" / "write-a-plugin.md").read_text()
PLUGIN, SUITE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package, module = ModuleType("shout"), ModuleType("shout.plugin")
    monkeypatch.setitem(sys.modules, "shout", package)
    monkeypatch.setitem(sys.modules, "shout.plugin", module)
    exec(compile(PLUGIN, "shout/plugin.py", "exec"), module.__dict__)
    return module


def test_the_plugin_is_found_and_works(plugin: ModuleType) -> None:
    registry = Registry([EntryPoint("shout", "shout.plugin:ShoutTransform", "elspeth.plugins")])
    loaded = registry.find("transform", "shout").load()
    transform = loaded(parse_options(loaded.options_model, {"field": "title"}, OptionsContext()))

    assert list(transform.process({"title": "quiet"}, FakeContext()).rows) == [{"title": "QUIET"}]
    assert transform.process({"title": None}, FakeContext()).failure.code == "not_text"


def test_the_suite_of_the_page_passes(plugin: ModuleType) -> None:
    module = ModuleType("test_plugin")
    exec(compile(SUITE, "tests/test_plugin.py", "exec"), module.__dict__)
    suite = module.TestShout()
    tests = [name for name in dir(suite) if name.startswith("test_")]

    assert tests
    for name in tests:
        getattr(suite, name)()


def test_a_new_pipeline_goes_to_azure_by_the_lines_of_the_page(tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "use-your-azure-account.md").read_text()
    changed = re.findall(r"^     (endpoint|api_key|deployment_name): (\S+)", page, re.MULTILINE)
    assert elspeth("init", ".", folder=tmp_path).returncode == 0
    pipeline = tmp_path / "pipeline.yaml"
    lines = [line for line in pipeline.read_text().splitlines() if "poll_interval_seconds" not in line]
    for name, _ in changed:
        lines = [line for line in lines if not line.strip().startswith(f"{name}:")]
    at = next(i for i, line in enumerate(lines) if line.strip() == "options:")
    lines[at + 1 : at + 1] = [f"      {name}: {value}" for name, value in changed]
    pipeline.write_text("\n".join(lines) + "\n")
    (tmp_path / ".env").write_text(
        "AZURE_OPENAI_ENDPOINT=https://name.openai.azure.com\nAZURE_OPENAI_API_KEY=not-a-real-key\n"
    )

    done = elspeth("validate", "pipeline.yaml", folder=tmp_path)

    assert len(changed) == 3
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_runs_are_compared_as_shown(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "compare-two-runs.md"
    ((removed, added),) = re.findall(r"^-( .*)\n\+( .*)$", page.read_text(), re.MULTILINE)
    folder, first, count = tmp_path, "", 0
    for step in steps(page):
        if step.command == "cd labels":
            folder = tmp_path / "labels"
            continue
        words = [first if word == "RUN" else word for word in step.command.split()[1:]]
        done = elspeth(*words, folder=folder)
        assert done.returncode == (1 if words[0] == "diff" else 0), done.stderr
        assert matches(step.expected, done.stdout), f"{step.command}\n{done.stdout}"
        count += 1
        if words[0] == "run" and not first:
            first = elspeth("runs", folder=folder).stdout.split("\t")[0]
            pipeline = folder / "pipeline.yaml"
            assert removed in pipeline.read_text()
            pipeline.write_text(pipeline.read_text().replace(removed, added))
    assert count == 6


def test_a_run_is_replayed_as_shown(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "replay-a-run.md"
    ((removed, added),) = re.findall(r"^-( .*)\n\+( .*)$", page.read_text(), re.MULTILINE)
    folder, count = tmp_path, 0
    for step in steps(page):
        if step.command == "cd labels":
            folder = tmp_path / "labels"
            continue
        words = step.command.split()[1:]
        if "--with" in words:
            pipeline = folder / "pipeline.yaml"
            assert removed in pipeline.read_text()
            pipeline.write_text(pipeline.read_text().replace(removed, added))
        done = elspeth(*words, folder=folder)
        assert done.returncode == (1 if "--with" in words else 0), done.stderr
        assert matches(step.expected, done.stdout), f"{step.command}\n{done.stdout}"
        count += 1
    assert count == 4


def test_a_run_is_held_and_purged_as_shown(tmp_path: Path) -> None:
    assert run_all(DOCS / "how-to" / "purge-and-hold.md", tmp_path) == 11


def test_an_auditor_gets_a_bundle_as_shown(tmp_path: Path) -> None:
    assert 4 == run_all(DOCS / "how-to" / "give-an-auditor-a-bundle.md", tmp_path)


def test_an_answer_is_paid_for_once_as_shown(tmp_path: Path) -> None:
    assert run_all(DOCS / "how-to" / "reuse-answers.md", tmp_path) == 5
