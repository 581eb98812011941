"""What a run costs: counted from what its batches say, in the engine and in the reports alike."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, count

from elspeth.app.reports import run_status, runs
from elspeth.app.runs import RunResult
from elspeth.contracts import BatchPhase, CostLimitError, Price, RunStatus, UsageError
from elspeth.core.landscape import LandscapeReader
from elspeth.engine.account import Account, account_of
from elspeth.engine.batch import Batch
from elspeth.simulator import Simulator

PRICE = {"input_per_mtok": 1000, "output_per_mtok": 2000}
PAID = Price(input_per_mtok=Decimal(1000), output_per_mtok=Decimal(2000), origin="test")
ESTIMATE = {"input": [1, 10, 100], "output": [2, 20, 200], "is_assumed": False}
CEILING = Decimal("0.5")


def batch(**facts: Any) -> Batch:
    return Batch(number=1, node_no=1, attempt=0, parent_no=None, tokens=ESTIMATE, **facts)


@pytest.mark.parametrize(
    ("facts", "account"),
    [
        ({"phase": BatchPhase.OPEN}, Account()),
        ({"phase": BatchPhase.SEALED}, Account()),
        ({"phase": BatchPhase.READY}, Account()),
        ({"phase": BatchPhase.READY, "unsure": "batches.create"}, Account(in_flight=CEILING)),
        ({"phase": BatchPhase.CREATED}, Account(in_flight=CEILING)),
        ({"phase": BatchPhase.ENDED}, Account(in_flight=CEILING)),
        ({"phase": BatchPhase.LOST}, Account(unknown=CEILING)),
        ({"phase": BatchPhase.HARVESTED, "lost_jobs": 2}, Account(unknown=2 * CEILING)),
        (
            {"phase": BatchPhase.HARVESTED, "usage": {"m": {"prompt_tokens": 30, "completion_tokens": 4}}},
            Account(spent=Decimal("0.038")),
        ),
        (
            {"phase": BatchPhase.HARVESTED, "usage": {"m": {"input_tokens": 30, "output_tokens": 4}}, "extra_of": 7},
            Account(spent=Decimal("0.038"), orphaned=Decimal("0.038")),
        ),
    ],
)
def test_a_batch_costs_what_it_used_or_at_most_its_ceiling(facts: dict[str, Any], account: Account) -> None:
    assert account_of([batch(**facts)], {1: PAID}) == account


def test_answers_without_a_price_are_never_reported_as_free() -> None:
    used = batch(phase=BatchPhase.HARVESTED, usage={"m": {"prompt_tokens": 1}})
    account = account_of([used, batch(phase=BatchPhase.SEALED)], {})
    assert account.as_json({1: "ask"})["spent_usd"] is None
    assert account.as_json({1: "ask"})["unpriced_steps"] == ["ask"]


def prepare(bench: Project, simulator: Simulator, *, rows: int = 6, more: str = "", **options: Any) -> None:
    bench.rows([{"text": f"say {n}"} for n in range(rows)])
    options = {"poll_interval_seconds": 10, "max_requests": 2, "max_completion_tokens": 50, "price": PRICE, **options}
    bench.pipeline(ask(simulator, **options), source="schema: {text: str}", sinks=["done", "failed"], more=more)


def money(bench: Project) -> dict[str, Any]:
    with LandscapeReader(bench.database) as reader:
        status = run_status(reader, reader.run("latest"))
        assert next(iter(runs(reader)))["cost_usd"] == status["money"]["spent_usd"]
    return dict(status["money"])


def used(bench: Project) -> Decimal:
    """What the answers in the provider's own files come to."""
    total = Decimal(0)
    for (reference,) in bench.query("SELECT response_hash FROM v_calls WHERE operation = 'files.content'"):
        with LandscapeReader(bench.database) as reader:
            from elspeth.app.reports import payload_chunks

            for line in b"".join(payload_chunks(reader, reference)).splitlines():
                usage = (json.loads(line)["response"] or {}).get("body", {}).get("usage", {})
                total += PAID.cost_usd(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
    return total


def ceilings(bench: Project) -> list[Decimal]:
    sealed = [detail["tokens"] for _, _, detail in bench.events("sealed")]
    return [PAID.cost_usd(tokens["input"][2], tokens["output"][2]) for tokens in sealed]


def test_what_is_spent_is_what_the_answers_say(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    prepare(bench, serve(row_faults={"row-1-0": "429", "row-3-0": "content_filter"}))
    assert bench.run().status is RunStatus.COMPLETED
    assert money(bench)["spent_usd"] == float(used(bench)) > 0
    assert money(bench)["in_flight_at_most_usd"] == 0


def test_what_is_in_flight_is_told_as_a_ceiling(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    prepare(bench, serve(latency_s=60.0), rows=2)
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    assert (money(bench)["spent_usd"], money(bench)["in_flight_at_most_usd"]) == (0.0, float(*ceilings(bench)))


def over_limit(bench: Project, result: RunResult) -> CostLimitError:
    assert isinstance(result.error, CostLimitError)
    assert (result.exit_code, result.status) == (5, RunStatus.FAILED)
    assert money(bench)["spent_usd"] + money(bench)["in_flight_at_most_usd"] <= money(bench)["limit_usd"]
    return result.error


def test_nothing_is_sent_that_might_cost_more_than_the_limit(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    prepare(bench, simulator, more="limits: {max_cost_usd: 0.01}\n")
    error = over_limit(bench, bench.run())
    assert "limit $0.0100" in error.message
    assert (count(simulator, "files.create"), count(simulator, "batches.create")) == (0, 0)
    again = over_limit(bench, bench.resume())
    assert again.message == error.message


def test_what_a_harvest_leaves_of_a_ceiling_is_free_for_the_next_batch(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    """The limit holds the ceiling of one batch and a half, and all three go one after the other."""
    simulator = serve(latency_s=0.3)
    prepare(bench, simulator, max_completion_tokens=1000)
    first = bench.run(max_cost_usd=Decimal(6))
    assert first.status is RunStatus.COMPLETED, first.error
    each = ceilings(bench)
    assert max(each) * 2 > 6
    journal = [e["operation"] for e in simulator.journal() if e["operation"] in {"batches.create", "files.content"}]
    assert journal == ["batches.create", "files.content"] * 3


def test_a_run_over_its_limit_goes_on_with_a_higher_one(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    prepare(bench, simulator)
    limit = Decimal("0.28")
    error = over_limit(bench, bench.run(max_cost_usd=limit))
    assert "--max-cost" in str(error.hint)
    made = count(simulator, "batches.create")
    assert 0 < made < 3
    over_limit(bench, bench.resume())  # the limit of the process before holds until another one is told
    assert count(simulator, "batches.create") == made
    assert bench.resume(max_cost_usd=Decimal(5)).status is RunStatus.COMPLETED
    assert count(simulator, "batches.create") == 3


def test_a_limit_that_cannot_be_kept_is_refused(bench: Project, serve: Serve) -> None:
    simulator = serve()
    bench.rows([{"text": "a"}])
    bench.pipeline(ask(simulator), source="schema: {text: str}", sinks=["done", "failed"])
    with pytest.raises(UsageError, match="nobody knows what the tokens of step 'ask' cost"):
        bench.run(max_cost_usd=Decimal(5))
    assert simulator.journal() == []


def test_the_price_of_the_beginning_holds_to_the_end(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, serve(latency_s=0.7), price={"model": "gpt-4o"})
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    monkeypatch.setattr("genai_prices.calc_price", None)
    assert bench.resume().status is RunStatus.COMPLETED
    ((recorded,),) = bench.query("SELECT price_json FROM nodes WHERE name = 'ask'")
    assert json.loads(recorded)["origin"].startswith("genai-prices ")
