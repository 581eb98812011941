"""What a run costs: told before, kept below a limit, told afterwards; and the end of it at a person's wish."""

import signal
from typing import Any

from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, ended, tickets
from tests.e2e.test_pending import FOR_EVER, begun, check_complete, check_each_job_once, wait_for_jobs
from tests.e2e.wire import of

from elspeth.simulator import Simulator

PRICE = "price: {input_per_mtok: 1000, output_per_mtok: 2000}\n      max_completion_tokens: 20"
ROWS = 8


def prepare(project: Project, simulate: Simulate, *, price: str = PRICE, more: str = "", **settings: Any) -> Simulator:
    simulator = simulate(file_latency_s=0.0, **settings)
    project.write("tickets.csv", tickets(ROWS))
    project.write_pipeline(simulator.url, options=price, more=more)
    return simulator


def test_a_cost_is_told_before_and_after_and_the_same_everywhere(project: Project, simulate: Simulate) -> None:
    prepare(project, simulate, more="limits: {max_cost_usd: 5}")
    (step,) = project("plan", "pipeline.yaml", "--json").json()["steps"]
    plan = project("plan", "pipeline.yaml").out
    assert "classify: cost likely $" in plan
    assert "limit $5.00: enough for the ceiling" in plan
    done = project("run", "pipeline.yaml")
    (run,) = project("runs", "--json").json()["runs"]
    assert 0 < run["cost_usd"] <= step["cost_usd"]["ceiling"]
    shown = f"${run['cost_usd']:.4f}"
    assert f" · {shown} · models: " in done.out
    assert f"\n{shown}\n" in project("status").out
    script = "import elspeth; run = elspeth.resume('latest'); print(run.status, run.cost)"
    assert project.python(script).split() == ["completed", str(run["cost_usd"])]


def test_a_run_at_its_cost_limit_exits_5_and_goes_on_with_a_higher_one(project: Project, simulate: Simulate) -> None:
    """The limit leaves room for the ceiling of one of two equal batches, and not for that and the first one's cost."""
    simulator = prepare(project, simulate)
    path = project.write_pipeline(simulator.url, options=PRICE, max_requests=4)
    ceiling = project("plan", "pipeline.yaml", "--json").json()["steps"][0]["cost_usd"]["ceiling"]
    limit = round(ceiling / 2 + 0.02, 2)
    path.write_text(f"{path.read_text()}limits: {{max_cost_usd: {limit}}}\n")
    assert "the run will stop before its end" in project("plan", "pipeline.yaml").out
    stopped = project("run", "pipeline.yaml", code=5)
    assert "might cost" in stopped.err
    assert "--max-cost" in stopped.err
    assert "limit $" in stopped.out
    assert 1 == len(of(simulator.journal(), "batches.create"))
    assert "failed" == project("runs", "--json").json()["runs"][0]["status"]
    project("resume", "latest", code=5)
    assert 1 == len(of(simulator.journal(), "batches.create"))
    project("resume", "latest", "--max-cost", "9.50")
    check_each_job_once(simulator)
    check_complete(project)


def test_money_in_flight_is_told_while_a_run_is_pending(project: Project, simulate: Simulate) -> None:
    prepare(project, simulate, latency_s=FOR_EVER)
    done = project("run", "pipeline.yaml", "--no-wait", "--max-cost", "9", code=75)
    money = project("status", "latest", "--json").json()["money"]
    assert (0.0, 9.0) == (money["spent_usd"], money["limit_usd"])
    assert 0 < money["in_flight_at_most_usd"] < 9
    assert "spent $0.00 · in flight at most $" in done.out
    assert "limit $9.00" in done.out


def test_answers_at_an_unknown_price_are_not_free(project: Project, simulate: Simulate) -> None:
    prepare(project, simulate, price="max_completion_tokens: 20")
    assert "cost unknown: give the step a `price`" in project("plan", "pipeline.yaml").out
    assert "cost unknown: no price for classify" in project("run", "pipeline.yaml").out
    assert project("runs", "--json").json()["runs"][0]["cost_usd"] is None


def test_a_limit_without_a_price_is_an_error_with_its_place(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, price="max_completion_tokens: 20", more="limits: {max_cost_usd: 5}")
    told = project("validate", "pipeline.yaml", code=2).err
    assert "error[PRICE_UNKNOWN]" in told
    assert "max_cost_usd: 5" in told
    assert "price: {model: NAME}" in told
    prepare(project, simulate, price="price: {model: gpt-of-my-dreams}")
    told = project("run", "pipeline.yaml", code=2).err
    assert "error[PRICE_UNKNOWN]: the price list has no model 'gpt-of-my-dreams'" in told
    prepare(project, simulate, price="max_completion_tokens: 20")
    assert "nobody knows what the tokens" in project("run", "pipeline.yaml", "--max-cost", "5", code=2).err
    for amount in ("-1", "0", "much", "nan", "inf"):
        assert "no amount of US dollars" in project("run", "pipeline.yaml", f"--max-cost={amount}", code=2).err
    assert [] == simulator.journal()


def test_the_queue_and_the_canary_are_options_of_the_file(project: Project, simulate: Simulate) -> None:
    options = "canary: 3\n      max_enqueued_tokens: 100000"
    simulator = prepare(project, simulate, price=options, row_faults={f"row-{n}-0": "400" for n in range(3)})
    stopped = project("run", "pipeline.yaml", code=3)
    assert "3 of the first 3 rows failed at step 'classify', its canary" in stopped.err
    assert 1 == len(of(simulator.journal(), "batches.create"))


def test_jobs_are_cancelled_when_the_person_who_stops_a_run_says_so(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=FOR_EVER)
    process, run_id = begun(project, "run", "pipeline.yaml", "--cancel-remote")
    with ended(process):
        wait_for_jobs(simulator, 2)
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(timeout=20)
    assert 2 == len(of(simulator.journal(), "batches.cancel"))
    assert "cancelled by " in project("status", run_id).out


def test_jobs_of_a_suspended_run_are_cancelled_and_their_rows_go_out_again_later(
    project: Project, simulate: Simulate
) -> None:
    simulator = prepare(project, simulate, latency_s=8.0)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    cancelled = project("resume", "latest", "--cancel-remote", code=75)
    assert "A resume without it sends the rows that have no answer" in cancelled.err
    assert 2 == len(of(simulator.journal(), "batches.cancel")) == len(of(simulator.journal(), "batches.create"))
    project("resume", "latest")
    check_complete(project)


def test_a_run_whose_process_was_killed_says_so(project: Project, simulate: Simulate) -> None:
    simulator = prepare(project, simulate, latency_s=FOR_EVER)
    process, run_id = begun(project, "run", "pipeline.yaml")
    with ended(process):
        wait_for_jobs(simulator, 2)
        alive = project("status", run_id)
        process.kill()
        process.wait(timeout=20)
    assert "RUNNING  " in alive.out
    assert "elspeth resume" not in alive.out
    dead = project("status", run_id)
    assert "RUNNING when its process died" in dead.out
    assert f"Go on with: elspeth resume {run_id}" in dead.out
