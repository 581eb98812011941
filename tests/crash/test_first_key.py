"""A first run makes the key that signs its trail, and may die on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.conftest import Unkilled
from tests.crash.invariants import Aftermath, check_outputs
from tests.crash.runner import Kind
from tests.crash.scene import ROWS, Moment, prepare, served, started_runner

from elspeth.app.keys import KeyPlace


@pytest.mark.parametrize("kind", [Kind.UNSYNCED, Kind.SYNCED, Kind.UNNAMED, Kind.NAMED], ids=str)
def test_a_run_killed_while_it_makes_its_key_comes_to_the_same_end(
    kind: Kind, tmp_path: Path, unkilled: Unkilled
) -> None:
    """The second moment of each kind is one of the key or of the list of known keys."""
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    place = KeyPlace.of(home)
    with served() as simulator, started_runner(**home) as runner:
        project = prepare(tmp_path / "project", simulator)
        runner.kill(project, "run", Moment(kind, 2))
        assert place.folder.is_dir()
        assert [] == simulator.journal()
        runner.go_on(project)
        check_outputs(project.folder / "out", unkilled.outputs)
        Aftermath(project.database, simulator, environ=home).check(rows=ROWS, deaths=0)
    key = place.current()
    assert key is not None
    assert [key.verifier] == [known.verifier for known in place.known()]
