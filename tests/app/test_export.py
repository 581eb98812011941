"""A file gets its name when it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.engine.workbench import Project

from elspeth.app.export import export_file, export_lines
from elspeth.contracts import RunError, RunStatus, TrailError, UsageError
from elspeth.core.landscape import LandscapeReader


@pytest.fixture
def done(bench: Project) -> Project:
    bench.rows([{"n": 1}])
    bench.pipeline()
    assert bench.run().status is RunStatus.COMPLETED
    return bench


def export(bench: Project, path: Path, *, with_payloads: bool = False) -> int:
    with LandscapeReader(bench.database) as reader:
        return export_file(reader, reader.run("latest"), path, with_payloads=with_payloads)


@pytest.mark.parametrize("with_payloads", [False, True])
def test_a_header_and_a_last_line_stand_around_the_records(done: Project, with_payloads: bool) -> None:
    path = done.folder / "trail.jsonl"
    count = export(done, path, with_payloads=with_payloads)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert count == len(lines)
    head, end = lines[0], lines[-1]
    assert (1, "completed", False, with_payloads) == (
        head["schema_version"], head["status"], head["simulated"], head["has_payloads"],
    )  # fmt: skip
    assert "note" not in head
    kinds = ["record" if "table" in line else "payload" for line in lines[1:-1]]
    assert sorted(kinds, reverse=True) == kinds
    assert {"what": "end", "records": kinds.count("record"), "payloads": kinds.count("payload")} == end
    assert with_payloads == (end["payloads"] > 0)


def test_an_export_that_fails_leaves_nothing_and_keeps_what_was_there(done: Project) -> None:
    target = done.folder / "exports" / "trail.jsonl"
    target.parent.mkdir()
    target.write_text("old")
    for segment in done.folder.rglob("rows.zst"):
        segment.unlink()
    with pytest.raises(TrailError):
        export(done, target, with_payloads=True)
    assert ["old"] == [path.read_text() for path in target.parent.iterdir()]
    export(done, target)
    assert [target] == list(target.parent.iterdir())
    assert target.read_text().startswith('{"schema_version":1,')


def test_a_place_that_cannot_be_written_is_named(done: Project) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        export(done, done.folder)
    with pytest.raises(UsageError, match="there is no folder"):
        export(done, done.folder / "missing" / "trail.jsonl")
    for characters in (250, 300):
        with pytest.raises(RunError, match="cannot be written"):
            export(done, done.folder / ("x" * characters))


def test_what_is_recorded_meanwhile_is_left_out(done: Project) -> None:
    with LandscapeReader(done.database) as reader:
        run = reader.run("latest")
        with reader.snapshot():
            lines = export_lines(reader, run, with_payloads=False)
            first = [next(lines)]
            done.rows([{"n": 2}])
            assert done.run(new=True).status is RunStatus.COMPLETED
            assert 1 == len(reader.query("SELECT run_no FROM runs"))
            first += lines
        assert 2 == len(reader.query("SELECT run_no FROM runs"))
        assert first == list(export_lines(reader, run, with_payloads=False))
