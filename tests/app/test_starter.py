"""The project that `init` writes and the example that `demo` copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.app.composition import build_plan, needs_simulator
from elspeth.app.starter import copy_example, schema_text, write_starter
from elspeth.contracts import UsageError
from elspeth.core.config import load_pipeline
from elspeth.plugins.registry import Registry

FILES = [".elspeth", ".env.example", "README.md", "elspeth.schema.json", "pipeline.yaml", "tickets.csv"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_starting_project_is_a_sound_pipeline_that_sends_nothing_anywhere(tmp_path: Path) -> None:
    written = write_starter(tmp_path / "new" / "project")

    registry = Registry()
    pipeline = load_pipeline(tmp_path / "new" / "project" / "pipeline.yaml", registry, environ={})
    build_plan(pipeline, registry)
    assert needs_simulator(pipeline)
    assert names(tmp_path / "new" / "project") == FILES
    assert sorted(path.name for path in written) == FILES[1:]


def test_the_schema_is_the_one_that_the_pipeline_file_names(tmp_path: Path) -> None:
    write_starter(tmp_path)

    first = (tmp_path / "pipeline.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./elspeth.schema.json"
    assert (tmp_path / "elspeth.schema.json").read_text() == schema_text()
    assert "azure_batch_llm" in json.dumps(json.loads(schema_text()))


def test_the_state_folder_is_kept_out_of_version_control(tmp_path: Path) -> None:
    write_starter(tmp_path)

    assert (tmp_path / ".elspeth" / ".gitignore").read_text() == "*\n"


def test_the_readme_is_short(tmp_path: Path) -> None:
    write_starter(tmp_path)

    assert len((tmp_path / "README.md").read_text().splitlines()) <= 10


@pytest.mark.parametrize("name", FILES[1:])
def test_no_file_is_replaced_and_then_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")

    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        write_starter(tmp_path)

    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").symlink_to(tmp_path / "elsewhere.yaml")

    with pytest.raises(UsageError):
        write_starter(tmp_path)

    assert names(tmp_path) == ["pipeline.yaml"]


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="cannot be written"):
        write_starter(tmp_path / "file" / "project")


def test_the_example_is_sound_and_asks_only_the_simulator(tmp_path: Path) -> None:
    path = copy_example(tmp_path / "demo")

    registry = Registry()
    pipeline = load_pipeline(path, registry, environ={})
    (step,) = build_plan(pipeline, registry).batch_steps
    assert needs_simulator(pipeline)
    assert step.batch is not None
    assert step.batch.limits.poll_interval_s <= 1


def test_a_copy_of_the_example_is_refreshed(tmp_path: Path) -> None:
    copy_example(tmp_path / "demo")
    (tmp_path / "demo" / "packages.csv").write_text("")

    copy_example(tmp_path / "demo")

    assert (tmp_path / "demo" / "packages.csv").stat().st_size > 0


def test_an_edited_copy_and_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    pipeline = copy_example(tmp_path / "demo")
    pipeline.write_text(pipeline.read_text() + "# mine\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()

    with pytest.raises(UsageError, match="edited"):
        copy_example(tmp_path / "demo")
    with pytest.raises(UsageError, match="not the example's"):
        copy_example(tmp_path / "other")

    assert pipeline.read_text().endswith("# mine\n")
    assert names(tmp_path / "other") == ["notes.txt"]
