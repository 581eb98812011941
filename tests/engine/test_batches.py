from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask, count

from elspeth.contracts import RunStatus
from elspeth.engine import orchestrator
from elspeth.engine.batch import custom_id
from elspeth.engine.batches import Batches

pytestmark = pytest.mark.usefixtures("hurried")


def test_a_requests_name_comes_from_row_and_attempt_alone() -> None:
    assert custom_id(7, 2) == "row-7-2"


@pytest.mark.parametrize("limit", [{"max_requests": 3}, {"max_bytes": 700}])
def test_batches_are_filled_to_their_limits(bench: Project, serve: Serve, limit: dict[str, int]) -> None:
    simulator = serve()
    bench.rows([{"text": f"say {n}"} for n in range(10)])
    bench.pipeline(ask(simulator, **limit), source="schema: {text: str}", sinks=["done", "failed"])
    assert bench.run().status is RunStatus.COMPLETED
    batches = bench.query("SELECT requests, bytes FROM v_batches ORDER BY batch")
    assert sum(requests for requests, _ in batches) == len(bench.lines("done")) == 10
    assert all(requests <= limit.get("max_requests", 99) for requests, _ in batches)
    assert all(size <= limit.get("max_bytes", 99_999) for _, size in batches)
    assert len(batches) > 2


@pytest.mark.parametrize("rows_a_batch", [1, 4])
def test_a_batch_of_second_attempts_that_was_not_sealed_is_sealed_by_a_resume(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch, rows_a_batch: int
) -> None:
    """The process died between the last commit of the harvest and the sealing."""
    simulator = serve(row_faults={f"row-{n}-0": "429" for n in (1, 2, 3)})
    bench.rows([{"text": f"say {n}"} for n in range(4)])
    bench.pipeline(ask(simulator, max_requests=4), source="schema: {text: str}", sinks=["done", "failed"])
    seal = Batches.seal

    def die(self: Any, batch: Any) -> None:
        if batch.parent_no is not None:
            self._recorder.journal.commit_durably()
            raise KeyboardInterrupt
        seal(self, batch)

    monkeypatch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", rows_a_batch)
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "seal", die)
        with pytest.raises(KeyboardInterrupt):
            bench.run()
    assert bench.resume().status is RunStatus.COMPLETED
    assert [row["text"] for row in bench.lines("done")] == [f"say {n}" for n in range(4)]
    assert count(simulator, "batches.create") == 2
