"""Which runs `--reuse` names."""

from __future__ import annotations

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app.reusing import runs_to_reuse
from elspeth.contracts import MissingTrailError, UsageError
from elspeth.core.landscape import LandscapeReader

pytestmark = pytest.mark.usefixtures("hurried")


def test_names_stand_for_the_runs_that_have_answers(bench: Project, serve: Serve) -> None:
    bench.rows([{"text": "a"}])
    bench.pipeline(ask(serve()), source="schema: {text: str}", sinks=["done", "failed"])
    bench.run()
    bench.run()
    (old,), (new,) = bench.query("SELECT run_id FROM runs ORDER BY run_no")
    with LandscapeReader(bench.database) as reader:
        assert (new, old) == runs_to_reuse(reader, ["all"], pipeline="test")
        assert (new,) == runs_to_reuse(reader, ["latest", new], pipeline="test")
        assert (old, new) == runs_to_reuse(reader, [old, "all"], pipeline="test")
        with pytest.raises(UsageError, match="is complete, whose answers could be taken"):
            runs_to_reuse(reader, ["latest"], pipeline="other")
        with pytest.raises(MissingTrailError):
            runs_to_reuse(reader, ["nobody"], pipeline="test")
        (path,) = bench.state.folder.glob(f"payloads/{old}/*-output*")
        path.unlink()
        assert (new,) == runs_to_reuse(reader, ["all"], pipeline="test")
        with pytest.raises(UsageError, match="has no answers to take"):
            runs_to_reuse(reader, [old], pipeline="test")
