"""Answers that are paid for once: runs that take those of other runs, and rows that share a request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets

from elspeth.simulator import Settings, Simulator

ROWS = 12
EDITED = 4
FILTERED = 7
PRICE = "price: {input_per_mtok: 10000, output_per_mtok: 0}"
FAULTS = {f"row-{FILTERED}-0": "content_filter"}


def edited(text: str) -> str:
    return text.replace(f"Body number {EDITED},", "Another body,")


def outputs(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.folder / "out").iterdir() if path.is_file()}


def sent(project: Project, run: str = "latest") -> int:
    """How many requests a run sent, by its trail."""
    batches = project("status", run, "--json").json()["batches"]
    return sum(batch["requests"] for batch in batches)


def money(project: Project, run: str = "latest") -> dict[str, Any]:
    found: dict[str, Any] = project("status", run, "--json").json()["money"]
    return found


@dataclass(frozen=True)
class Reused:
    """A run, another one that takes its answers with one row edited, and one that asks for all of that itself."""

    project: Project
    asked: str
    taker: str
    closing_line: str
    taken_outputs: dict[str, bytes]
    fresh_outputs: dict[str, bytes]
    calls_of_taker: list[str]


@pytest.fixture(scope="module")
def reused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reused]:
    with Simulator(Settings(latency_s=0.0, row_faults=FAULTS)) as simulator:
        project = Project(tmp_path_factory.mktemp("reuse"))
        project.write("tickets.csv", tickets(ROWS))
        project.write_pipeline(simulator.url, options=PRICE)
        project("run", "pipeline.yaml")
        asked = project.run_id()
        project.write("tickets.csv", edited(tickets(ROWS)))
        before = len(simulator.journal())
        done = project("run", "pipeline.yaml", "--reuse", asked)
        calls = [str(entry["operation"]) for entry in simulator.journal()[before:]]
        taken_outputs = outputs(project)
        taker = project.run_id()
        project("run", "pipeline.yaml")
        yield Reused(project, asked, taker, done.out, taken_outputs, outputs(project), calls)


def test_only_rows_that_are_new_or_failed_before_are_asked(reused: Reused) -> None:
    asked = reused.project.query(
        "SELECT DISTINCT row_index FROM batch_members m JOIN runs USING (run_no) WHERE run_id = ? ORDER BY 1",
        reused.taker,
    )
    taken = reused.project.query("SELECT row_index FROM v_reuses WHERE run_id = ? ORDER BY 1", reused.taker)

    assert [EDITED, FILTERED] == [record["row_index"] for record in asked]
    assert [n for n in range(ROWS) if n not in {EDITED, FILTERED}] == [record["row_index"] for record in taken]
    assert 1 == reused.calls_of_taker.count("batches.create")


def test_the_outputs_are_those_of_a_run_that_asks_for_everything(reused: Reused) -> None:
    assert reused.fresh_outputs == reused.taken_outputs


def test_what_was_saved_is_told(reused: Reused) -> None:
    project = reused.project
    saved = money(project, reused.taker)
    ((tokens,),) = (
        record.values()
        for record in project.query("SELECT SUM(input_tokens) FROM v_reuses WHERE run_id = ?", reused.taker)
    )
    (listed,) = (run for run in project("runs", "--json").json()["runs"] if run["id"] == reused.taker)

    assert ROWS - 2 == saved["answers_reused"]
    assert 0 == saved["requests_shared"]
    assert tokens / 100 == saved["saved_usd"] == listed["saved_usd"]
    assert f"saved ${tokens / 100:.2f} ({ROWS - 2} answers reused)" in reused.closing_line
    assert {"saved_usd": 0.0, "answers_reused": 0} == {
        name: money(project, reused.asked)[name] for name in ("saved_usd", "answers_reused")
    }


def test_a_row_that_took_an_answer_is_explained_by_who_asked(reused: Reused) -> None:
    before = reused.project.explain(0, reused.asked)["steps"][1]["attempts"][0]
    (attempt,) = reused.project.explain(0, reused.taker)["steps"][1]["attempts"]

    assert {"run": reused.asked, "row": 0, "batch": 1, "attempt": 0} == attempt["reused_from"]
    assert (None, []) == (attempt["batch"], attempt["call_ids"])
    assert [before[name][part] for name in ("request", "reply") for part in ("sha256", "line")] == [
        attempt[name][part] for name in ("request", "reply") for part in ("sha256", "line")
    ]
    text = reused.project("explain", reused.taker, "--row", "0").out
    assert f"answer of run {reused.asked}, row 0, batch 1, reused" in text


def test_it_says_simulated_although_it_called_nobody_for_most_rows(reused: Reused) -> None:
    assert reused.project("status", reused.taker, "--json").json()["simulated"]


def test_an_answer_that_was_taken_is_not_asked_again(reused: Reused) -> None:
    found = reused.project("explain", "--all-runs", "--key", "1", "--json").json()

    assert 2 == found["asked"]
    assert [None, reused.asked, None] == [
        None if one["reused_from"] is None else one["reused_from"]["run"]
        for run in found["runs"]
        for one in run["asked"]
    ]
    assert 0.0 == found["runs"][1]["asked"][0]["cost_usd"]
    text = reused.project("explain", "--all-runs", "--key", "1").out
    assert f"not asked again: answer of run {reused.asked}, row 0, batch 1, reused" in text


def test_every_run_is_verified(reused: Reused) -> None:
    assert "verified" in reused.project("verify", "--all").out


def test_it_is_replayed_from_its_own_trail(reused: Reused) -> None:
    assert "identical byte for byte" in reused.project("replay", reused.taker).out


def test_the_configuration_is_the_same_with_and_without(reused: Reused) -> None:
    found = reused.project.query("SELECT COUNT(DISTINCT config_hash) AS n FROM runs")

    assert [{"n": 1}] == found


def test_a_plan_counts_what_would_be_taken(reused: Reused) -> None:
    step = reused.project("plan", "pipeline.yaml", "--reuse", reused.asked, "--json").json()["steps"][0]

    assert (2, ROWS - 2) == (step["requests"], step["answers_reused"])
    text = reused.project("plan", "pipeline.yaml", "--reuse", "all").out
    assert f"{ROWS - 1} answers reused" in text, "the edited row has been asked since, the failed one has no answer"


def test_latest_and_all_name_runs(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(6))
    project.write_pipeline(simulator.url)
    refused = project("run", "pipeline.yaml", "--reuse", "latest", code=2)
    assert "no run of the pipeline 'tickets' is complete" in refused.err
    project("run", "pipeline.yaml", "--reuse", "all")
    first = project.run_id()
    project.write("tickets.csv", tickets(9))
    project("run", "pipeline.yaml", "--reuse", "latest")
    assert 3 == sent(project)
    project.write("tickets.csv", tickets(11))
    project("run", "pipeline.yaml", "--reuse", "all")

    assert 2 == sent(project)
    assert first in {record["from_run"] for record in project.query("SELECT from_run FROM v_reuses")}
    assert [{"from_run": first, "n": 6}] == project.query(
        "SELECT from_run, COUNT(*) AS n FROM v_reuses WHERE run_id = ? AND row_index < 6 GROUP BY 1", project.run_id()
    ), "the run that asked is named, not the one that took it in its turn"


def test_another_deployment_or_a_step_that_says_no_asks_for_itself(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(5))
    path = project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    path.write_text(path.read_text().replace("gpt-4o-batch", "gpt-4o-other"))
    project("run", "pipeline.yaml", "--reuse", "all")
    assert 5 == sent(project)
    project.write_pipeline(simulator.url, options="reuse: false")
    project("run", "pipeline.yaml", "--reuse", "all")
    assert 5 == sent(project)


def test_a_run_needs_nothing_of_the_one_whose_answers_it_took(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(5))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    first = project.run_id()
    project("run", "pipeline.yaml", "--reuse", "latest")
    second = project.run_id()
    shutil.rmtree(project.folder / ".elspeth" / "payloads" / first)
    refused = project("run", "pipeline.yaml", "--reuse", first, code=2)

    assert f"run {first} has no answers to take: its payload segment" in refused.err
    assert first == project.explain(3, second)["steps"][1]["attempts"][0]["reused_from"]["run"]
    project("verify", second)
    project("replay", second)
    project("run", "pipeline.yaml", "--reuse", "all")
    assert 0 == sent(project)
    assert [{"from_run": first}] == project.query(
        "SELECT DISTINCT from_run FROM v_reuses WHERE run_id = ?", project.run_id()
    )


def test_a_resume_goes_on_with_the_runs_that_were_named(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(5))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    project.write("tickets.csv", edited(tickets(8)))
    project("run", "pipeline.yaml", "--reuse", "latest", "--no-wait", code=75)
    before = outputs(project)
    project("resume", "latest")

    assert 4 == sent(project)
    assert before != outputs(project)
    assert 8 == project("status", "--json").json()["rows"]["out"]


def repeated(rows: int, texts: int) -> str:
    lines = [f"{n + 1},Subject {n % texts},Body number {n % texts},1" for n in range(rows)]
    return "\n".join(["id,subject,body,priority", *lines]) + "\n"


def test_a_thousand_rows_of_ten_texts_are_ten_requests(project: Project, simulate: Simulate) -> None:
    everywhere = {f"row-{n}-0": "content_filter" for n in range(2, 1_000, 10)}
    simulator = simulate(row_faults={"row-1-0": "429", **everywhere}, latency_s=1.5)
    project.write("tickets.csv", repeated(1_000, 10))
    project.write_pipeline(simulator.url, options=f"dedupe: true\n      {PRICE}")
    done = project("run", "pipeline.yaml")
    shared, status = outputs(project), project("status", "--json").json()
    lines = [record["line"] for record in first_lines(project)]

    assert 10 == sum(batch["requests"] for batch in status["batches"] if batch["attempt"] == 0)
    assert [1] == [batch["requests"] for batch in status["batches"] if batch["attempt"] == 1]
    assert 10 == len(lines) == len(set(lines))
    assert 990 <= status["money"]["requests_shared"]
    assert "requests shared" in done.out
    assert 100 == len(project.lines("out/failed.jsonl"))
    assert {2} == {(row["id"] - 1) % 10 for row in project.lines("out/failed.jsonl")}
    assert "shares the request of row 3" in project("explain", "latest", "--row", "13").out
    project("verify", "latest")
    project("replay", "latest")
    project.write_pipeline(simulate(row_faults=everywhere).url, max_requests=1_000)
    project("run", "pipeline.yaml")
    assert shared == outputs(project)


def first_lines(project: Project) -> list[dict[str, Any]]:
    """The request files of the first attempts, as they were sent."""
    return project.query(
        "SELECT DISTINCT hex(line_hash) AS line FROM batch_members m JOIN batches b USING (run_no, batch_no) "
        "WHERE role = 1 AND b.attempt = 0"
    )
