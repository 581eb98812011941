"""A run whose outcomes are not those of its rows does not complete."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from tests.engine.workbench import Project

from elspeth.contracts import RunError, RunStatus
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.tally import recount_outcomes

Counted = tuple[int, dict[tuple[int, int | None, int | None, str | None], int]]


@pytest.mark.parametrize(
    ("lost", "moved", "message"),
    [
        (1, 0, "the rows do not balance: 2 read, 2 recorded, 1 ended"),
        (0, 1, "the last commit counts the outcomes otherwise than they are recorded"),
    ],
)
def test_a_run_that_does_not_balance_fails_and_gives_no_output_its_name(
    bench: Project, monkeypatch: pytest.MonkeyPatch, lost: int, moved: int, message: str
) -> None:
    def recounted(reader: LandscapeReader, run_no: int, kinds: Collection[tuple[int, None, int, None]]) -> Counted:
        ended, counted = recount_outcomes(reader, run_no, kinds)
        return ended - lost, {kind: rows - moved for kind, rows in counted.items()}

    monkeypatch.setattr("elspeth.engine.orchestrator.recount_outcomes", recounted)
    bench.rows([{"text": "a"}, {"text": "b"}])
    bench.pipeline("- {name: gate, gate: \"row['text'] == 'b'\", routes: {true: done, false: next}}")
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 3)
    assert isinstance(result.error, RunError)
    assert message == result.error.message
    assert not (bench.folder / "out" / "done.jsonl").exists()
    monkeypatch.undo()
    assert bench.resume().status is RunStatus.COMPLETED
