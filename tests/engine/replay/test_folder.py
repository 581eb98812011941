"""A replay writes into one folder, and replaces nothing there but what a replay has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.contracts import UsageError
from elspeth.engine.replay.folder import ReplayFolder


def test_outputs_lie_as_they_do_beside_the_pipeline_and_others_outside(tmp_path: Path) -> None:
    folder = ReplayFolder(tmp_path)
    beside = Path("/srv/project")
    assert tmp_path / "out/{run}/all.csv" == folder.place_of("/srv/project/out/{run}/all.csv", beside=beside)
    assert tmp_path / "outside/srv/all.csv" == folder.place_of("/srv/all.csv", beside=beside)


def test_what_an_earlier_replay_made_is_removed_and_anything_else_refused(tmp_path: Path) -> None:
    folder = ReplayFolder(tmp_path / "deep" / "replayed")
    file = folder.path / "out" / "all.csv"
    folder.clear("run", [file])
    file.parent.mkdir()
    file.write_text("rows")
    folder.clear("run", [file, folder.path / "more.csv"])
    assert not file.exists()
    file.with_name("mine.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.csv"):
        folder.clear("run", [])
    assert "mine" == file.with_name("mine.csv").read_text()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("data")
    with pytest.raises(UsageError, match=r"holds what no replay has made: data\.csv"):
        ReplayFolder(tmp_path).clear("run", [])
    (tmp_path / "data.csv").unlink()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="link"):
        ReplayFolder(tmp_path).clear("run", [])


@pytest.mark.parametrize("text", ["no json", "[]", '{"files": 3}', '{"files": ["../mine.csv"]}'])
def test_a_list_that_is_none_removes_nothing(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "replayed"
    folder.mkdir()
    (tmp_path / "mine.csv").write_text("mine")
    (folder / ".elspeth-replay.json").write_text(text)
    with pytest.raises(UsageError, match=r"list that a replay writes|not in its folder"):
        ReplayFolder(folder).clear("run", [])
    assert "mine" == (tmp_path / "mine.csv").read_text()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        ReplayFolder(tmp_path / "file" / "replayed").clear("run", [])
