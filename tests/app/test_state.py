from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.app.state import State, database_path
from elspeth.contracts import MissingTrailError, UsageError


def test_the_nearest_state_folder_at_or_above_is_used(tmp_path: Path) -> None:
    (tmp_path / ".elspeth").mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert State.find(below).folder == tmp_path / ".elspeth"


def test_the_search_stops_at_a_repository(tmp_path: Path) -> None:
    (tmp_path / ".elspeth").mkdir()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert State.find(tmp_path / "repo").folder == tmp_path / "repo" / ".elspeth"


def test_reading_never_makes_a_database(tmp_path: Path) -> None:
    with pytest.raises(MissingTrailError):
        State(tmp_path / ".elspeth").to_read(None, {})
    assert list(tmp_path.iterdir()) == []


def test_a_trail_elsewhere_is_remembered_once(tmp_path: Path) -> None:
    state = State(tmp_path / ".elspeth")
    state.create()
    other = tmp_path / "trail.db"
    other.touch()
    state.point_to(other)
    state.point_to(other)
    assert state.to_read(None, {}) == other
    assert (state.folder / "trails").read_text() == f"{other}\n"
    assert (state.folder / ".gitignore").read_text() == "*\n"


def test_a_database_named_by_hand_wins_over_the_environment(tmp_path: Path) -> None:
    state = State(tmp_path / ".elspeth")
    environ = {"ELSPETH_LANDSCAPE_URL": f"sqlite:///{tmp_path}/two.db"}
    assert state.to_read(str(tmp_path / "one.db"), environ) == tmp_path / "one.db"
    assert state.to_read(None, environ) == tmp_path / "two.db"


def test_other_databases_are_not_in_this_version() -> None:
    with pytest.raises(UsageError, match="postgresql"):
        database_path("postgresql://host/db")
