"""Answers whose cost is hard to know: never reported as nothing, and never outside the limit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.test_account import batch, ceilings, money, over_limit, prepare, used
from tests.engine.test_remote import fault
from tests.engine.workbench import HurriedClock, Project, count

from elspeth.app.runs import start_run
from elspeth.contracts import BatchPhase, RunStatus, UsageError
from elspeth.engine import batches
from elspeth.engine.account import account_of
from elspeth.simulator import Simulator

CHOICES = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "an answer"}}]


def answer_with(simulator: Simulator, usage: Any, *, rows: int) -> None:
    """One row a file, and each answer with that usage."""
    for row in range(rows):
        response = {"status_code": 200, "body": {"model": "m", "choices": CHOICES, "usage": usage}}
        line = {"custom_id": f"row-{row}-0", "response": response, "error": None}
        fault(simulator, "files.content", {"patch": line}, occurrence=row + 1)


@pytest.mark.parametrize(
    "usage", [None, {}, {"total_tokens": 9}, {"prompt_tokens": 9.5}, {"prompt_tokens": 10**40, "completion_tokens": 1}]
)
def test_answers_that_do_not_say_what_they_used_count_with_their_ceiling(
    bench: Project, serve: Serve, hurried: HurriedClock, usage: Any
) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=2, max_requests=1)
    answer_with(simulator, usage, rows=2)
    assert bench.run().status is RunStatus.COMPLETED
    assert money(bench)["lost_at_most_usd"] == float(sum(ceilings(bench))) > 0
    assert len(bench.lines("done")) == 2


def test_a_cost_of_which_nothing_is_known_is_not_nothing(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=1)
    answer_with(simulator, None, rows=1)
    assert bench.run().status is RunStatus.COMPLETED
    assert money(bench)["spent_usd"] is None


def test_without_a_price_uncounted_answers_are_not_free(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=1, price=None)
    answer_with(simulator, None, rows=1)
    assert bench.run().status is RunStatus.COMPLETED
    assert (money(bench)["spent_usd"], money(bench)["unpriced_steps"]) == (None, ["ask"])


def test_a_limit_holds_for_answers_that_do_not_say_what_they_used(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=9, max_requests=1, max_batches_in_flight=1)
    answer_with(simulator, None, rows=9)
    result = bench.run(max_cost_usd=Decimal("0.5"))
    assert result.exit_code == 5
    assert money(bench)["lost_at_most_usd"] <= 0.5
    assert 0 < count(simulator, "batches.create") < 9


def test_lines_that_go_to_no_row_are_paid_for(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "files.content", {"lines": {"duplicate_different": ["row-1-0"], "extra": ["row-9-0"]}})
    prepare(bench, simulator, rows=3, max_requests=3)
    assert bench.run().status is RunStatus.COMPLETED
    assert money(bench)["spent_usd"] == float(used(bench))


def test_a_lost_job_without_a_price_is_not_free() -> None:
    assert account_of([batch(phase=BatchPhase.LOST)], {}).unpriced_nodes == {1}


def test_the_limit_that_is_advised_is_enough(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    """Rounded up, whatever the next batch may cost."""
    simulator = serve()
    prepare(bench, simulator, rows=2, price={"input_per_mtok": "33.333333", "output_per_mtok": "66.666667"})
    error = over_limit(bench, bench.run(max_cost_usd=Decimal("0.001")))
    advised = re.search(r"a limit of \$([0-9.]+)", str(error.hint))
    assert advised is not None
    assert bench.resume(max_cost_usd=Decimal(advised[1])).status is RunStatus.COMPLETED


def test_what_the_run_has_cost_is_not_counted_anew_for_each_batch_that_waits(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, serve(), rows=40, max_requests=1)
    over_limit(bench, bench.run(max_cost_usd=Decimal("0.001")))
    entries: list[Any] = []

    def counted(live: Any, prices: Any) -> Any:
        entries.extend(live)
        return account_of(live, prices)

    monkeypatch.setattr(batches, "account_of", counted)
    over_limit(bench, bench.resume())
    assert len(entries) == 40


def test_an_error_rate_that_more_rows_bring_down_holds_nothing_back(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    """The first file fails as a whole while the source is still read; of all rows it is one in twenty."""
    simulator = serve(fail_rate=1.0, fail_kinds=["content_filter"], faulty_jobs=1)
    often = {"poll_interval_seconds": 0.001, "max_batches_in_flight": 1}
    prepare(bench, simulator, rows=5_120, max_requests=256, more="limits: {max_error_rate: 0.1}\n", **often)
    result = bench.run()
    assert (result.error, result.status) == (None, RunStatus.COMPLETED)
    assert len(bench.lines("failed")) == 256


@pytest.mark.parametrize("sample", [(2, 1 << 63), (2, -(1 << 63) - 1), (1 << 63, 0)])
def test_a_sample_that_the_trail_cannot_hold_is_refused(bench: Project, serve: Serve, sample: tuple[int, int]) -> None:
    prepare(bench, serve())
    with pytest.raises(UsageError, match="out of range"):
        start_run(bench.file, state=bench.state, conditions=bench._conditions({}), sample=sample)
