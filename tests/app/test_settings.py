"""In which settings and files two configurations differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.settings import MOST_TEXT_BYTES, file_differences, setting_differences, text_difference
from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader, RunHeader, Sample

Header = Callable[..., RunHeader]


def header(config: dict[str, Any], **values: Any) -> RunHeader:
    given: dict[str, Any] = {"row_limit": None, "sample": None, **values}
    return RunHeader(
        run_no=1,
        run_id="r",
        pipeline="p",
        mode="run",
        started_at=0,
        folder=Path("/"),
        config_json=json.dumps(config),
        payload_folder=Path("/"),
        **given,
    )


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    return list(setting_differences(header(a), header(b)))


def test_equal_settings_are_no_differences() -> None:
    config = {"steps": [{"name": "a", "options": {"x": [1, {"y": None}]}}], "source": {"schema": [["id", "int"]]}}
    assert [] == differing(config, json.loads(json.dumps(config)))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1}, {"x": 2}, [{"setting": "x", "a": 1, "b": 2}]),
        ({"x": 1}, {"x": 1.0}, [{"setting": "x", "a": 1, "b": 1.0}]),
        ({"x": {"y": None}}, {"x": {}}, [{"setting": "x.y", "a": None}]),
        ({"x": [1, 2]}, {"x": [2, 1]}, [{"setting": "x", "a": [1, 2], "b": [2, 1]}]),
        ({"p": 1, "q": 1}, {"q": 1, "p": 1}, [{"setting": "(order)", "a": ["p", "q"], "b": ["q", "p"]}]),
        ({"x": {"p": 1}}, {"x": 1}, [{"setting": "x", "a": {"p": 1}, "b": 1}]),
        ({"x": []}, {"x": [["a", 1]]}, [{"setting": "x", "a": [], "b": [["a", 1]]}]),
    ],
)  # fmt: skip
def test_each_difference_has_its_place_and_both_values(a: Any, b: Any, expected: Any) -> None:
    assert expected == differing(a, b)


def test_a_step_that_was_put_in_between_does_not_shift_the_others() -> None:
    a = {"steps": [{"name": "one", "plugin": "p"}, {"name": "two", "plugin": "p", "options": {"n": 1}}]}
    b = {"steps": [{"name": "two", "plugin": "p", "options": {"n": 2}}, {"name": "new", "gate": "x"}, a["steps"][0]]}
    assert [
        {"setting": "steps.two.options.n", "a": 1, "b": 2},
        {"setting": "steps.new", "b": {"gate": "x"}},
        {"setting": "steps.(order)", "a": ["one", "two"], "b": ["two", "new", "one"]},
    ] == differing(a, b)


def test_routes_and_schemas_are_compared_by_name() -> None:
    a, b = ({"routes": [["true", target], ["false", "next"]]} for target in ("urgent", "done"))
    assert [{"setting": "routes.true", "a": "urgent", "b": "done"}] == differing(a, b)


def test_what_the_command_line_said_of_the_rows_is_a_setting() -> None:
    a, b = header({}, row_limit=5), header({}, sample=Sample(rows=1, seed=2, of=3))
    assert [
        {"setting": "--limit", "a": 5},
        {"setting": "--sample", "b": {"rows": 1, "seed": 2, "of": 3}},
    ] == list(setting_differences(a, b))


def test_a_difference_of_line_ends_only_has_no_lines() -> None:
    assert [] == text_difference("a\nb\n", "a\r\nb")
    assert ["--- A", "+++ B", "@@ -1 +1 @@", "-a", "+b"] == text_difference("a\n", "b\n")


def test_large_texts_are_not_searched_for_their_differences() -> None:
    assert text_difference("x" * (MOST_TEXT_BYTES + 1), "y") is None
    assert text_difference("x" * MOST_TEXT_BYTES, "y") is not None


def test_files_are_paired_by_their_place_beside_the_pipeline(bench: Project, serve: Serve, tmp_path: Path) -> None:
    simulator = serve()
    bench.rows([{"text": "one"}])
    lookups = ({"a.yaml": b"x: 1\n"}, {"a.yaml": b"x: 2\n"})
    folders = [Project(tmp_path / name) for name in ("first", "second")]
    for folder, files in zip(folders, lookups, strict=True):
        folder.folder.mkdir()
        folder.state = bench.state
        folder.rows([{"text": "one"}])
        for name, data in files.items():
            folder.write(name, data)
        folder.write("same.txt", "Say {{ row.text }}")
        step = ask(simulator, poll_interval_seconds=0.05, lookup_file="a.yaml", template_file="same.txt")
        folder.pipeline(step.replace('"template": "Say {{ row.text }}", ', ""), sinks=("done", "failed"))
        assert folder.run(new=True).status is RunStatus.COMPLETED
    with LandscapeReader(bench.database) as reader:
        found = list(file_differences(reader, reader.run_numbered(1), reader.run_numbered(2)))
    assert ["a.yaml"] == [entry["file"] for entry in found]
    assert ["a.yaml", "a.yaml"] == [found[0][side]["name"] for side in "ab"]
    assert found[0]["diff"][-2:] == ["-x: 1", "+x: 2"]


@pytest.mark.parametrize(("tail", "has_lines"), [(b"", True), (b"\n# " + b"x" * MOST_TEXT_BYTES, False)])
def test_a_renamed_pipeline_file_is_still_the_pipeline_file(bench: Project, tail: bytes, has_lines: bool) -> None:
    bench.rows([{"n": 1}])
    first = bench.pipeline()
    assert bench.run().status is RunStatus.COMPLETED
    first.rename(bench.folder / "old.yaml")
    bench.write("pipeline.yaml", (bench.folder / "old.yaml").read_bytes().replace(b"name: test", b"name: best") + tail)
    assert bench.run(new=True).status is RunStatus.COMPLETED
    with LandscapeReader(bench.database) as reader:
        (entry,) = file_differences(reader, reader.run_numbered(1), reader.run_numbered(2))
    assert "pipeline file" == entry["file"]
    assert has_lines == ("-name: test" in (entry["diff"] or []))
    assert has_lines == (entry["diff"] is not None)
