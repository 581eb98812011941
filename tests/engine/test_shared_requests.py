"""Rows of one run with equal requests: what is sent, who gets the answer, what becomes of those that come late."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, created

from elspeth.app.explanation import Explanation, explain_row
from elspeth.app.replay import ReplayRequest, replay_run
from elspeth.app.runs import RunResult
from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader
from elspeth.engine import harvest, orchestrator
from elspeth.engine.orchestrator import Progress
from elspeth.simulator import Simulator

pytestmark = pytest.mark.usefixtures("hurried")

PRICE = {"input_per_mtok": 1_000_000, "output_per_mtok": 0}
LATER = 3600
"""Nobody looks at a job before all rows are read."""
FILLING = [f"row of its own {n}" for n in range(30)]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches move between any two pairs of rows, so the last rows come when the first are home."""
    monkeypatch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", 2)
    monkeypatch.setattr(orchestrator, "_ROWS_A_COMMIT", 2)
    monkeypatch.setattr(harvest, "_ROWS_AT_ONCE", 3)


def prepared(bench: Project, simulator: Simulator, texts: Sequence[str], **options: Any) -> None:
    bench.rows([{"text": text} for text in texts])
    options = {"poll_interval_seconds": 1, "dedupe": True, "price": PRICE, **options}
    bench.pipeline(ask(simulator, **options), source="schema: {text: str}", sinks=["done", "failed"])


def ran(bench: Project, simulator: Simulator, texts: Sequence[str], **options: Any) -> RunResult:
    conditions = {name: options.pop(name) for name in ("on_progress",) if name in options}
    prepared(bench, simulator, texts, **options)
    result = bench.run(**conditions)
    assert result.error is None
    assert bench.lines("done") + bench.lines("failed") != []
    return result


def members(bench: Project, role: str = "= 1") -> dict[int, list[int]]:
    """The rows of each batch."""
    found: dict[int, list[int]] = {}
    for batch, row in bench.query(f"SELECT batch_no, row_index FROM batch_members WHERE role {role} ORDER BY 1, 2"):
        found.setdefault(batch, []).append(row)
    return found


def requests(bench: Project) -> int:
    return sum(n for (n,) in bench.query("SELECT requests FROM v_batches"))


def explained(bench: Project, row: int) -> Explanation:
    with LandscapeReader(bench.database) as reader:
        return explain_row(reader, reader.run("latest"), row=row)


def test_equal_requests_are_one_line_and_its_answer_is_everybodys(bench: Project, serve: Serve) -> None:
    simulator = serve()
    texts = ["a", "b", "a", "c", "b", "a"]
    ran(bench, simulator, texts)

    assert [(text, f"echo: Say {text}") for text in texts] == [
        (r["text"], r["llm_response"]) for r in bench.lines("done")
    ]
    assert (1, 3) == (len(created(simulator)), requests(bench))
    assert {1: [0, 1, 2, 3, 4, 5]} == members(bench) == members(bench, "= 2")
    slices = bench.query("SELECT row_index, position, start, length, line_hash FROM batch_members WHERE role = 1")
    places = {row: place for row, *place in slices}
    assert places[0] == places[2] == places[5]
    assert places[1] == places[4]


def test_outputs_are_the_same_with_and_without(bench: Project, serve: Serve) -> None:
    simulator = serve()
    texts = [f"text {n % 7}" for n in range(50)]
    ran(bench, simulator, texts)
    shared = bench.outputs()
    ran(bench, simulator, texts, dedupe=False)

    assert shared == bench.outputs()
    assert [7, 50] == [n for (n,) in bench.query("SELECT requests FROM v_batches ORDER BY run_id, batch")]


def test_usage_and_cost_count_once_and_the_rest_is_saved(bench: Project, serve: Serve) -> None:
    summary = ran(bench, serve(), ["a", "a", "a", "b"]).summary

    ((_, _, detail),) = bench.events("harvested")
    tokens = detail["usage"]["gpt-test"]["prompt_tokens"]
    assert summary["usage"]["gpt-test"]["rows"] == 2
    assert summary["money"]["spent_usd"] == tokens
    assert summary["money"]["saved_usd"] == tokens
    assert (0, 2) == (summary["money"]["answers_reused"], summary["money"]["requests_shared"])


def test_a_row_joins_a_batch_that_is_full_or_on_its_way(bench: Project, serve: Serve, small_steps: None) -> None:
    texts = ["a", "b", "c", *("a", "b", "c") * 6]
    ran(bench, serve(), texts, max_requests=2, poll_interval_seconds=LATER)

    assert [2, 1] == [n for (n,) in bench.query("SELECT requests FROM v_batches ORDER BY batch")]
    rows = range(len(texts))
    assert {1: [n for n in rows if n % 3 < 2], 2: [n for n in rows if n % 3 == 2]} == members(bench)
    assert texts == [row["text"] for row in bench.lines("done")]
    assert [] == bench.query("SELECT * FROM reuses")


def test_a_row_whose_answer_is_home_takes_it_at_once(
    bench: Project, serve: Serve, small_steps: None, hurried: HurriedClock
) -> None:
    simulator = serve()
    ran(bench, simulator, ["a", *FILLING, "a"], max_requests=2, on_progress=lambda _: hurried.sleep_s(5))

    last = len(FILLING) + 1
    ((run_id,),) = bench.query("SELECT run_id FROM runs")
    assert [(last, run_id, 0, 1, 0)] == bench.query(
        "SELECT row_index, from_run, from_row, from_batch, from_attempt FROM v_reuses"
    )
    assert bench.lines("done")[last] == bench.lines("done")[0]
    assert "\n  answer of row 0, batch 1, reused\n" in str(explained(bench, last))
    assert last == requests(bench)
    ((request,), (reply,)) = (
        bench.query(
            f"SELECT {name}_ref = segment_no || ':' || start || ':' || length FROM reuses, batch_members m "
            f"WHERE m.row_index = 0 AND m.role = {role}"
        )
        for name, role in (("request", 1), ("reply", 2))
    )
    assert (1,) == request == reply, "the lines are where they were: nothing is copied within a run"


def test_a_row_is_asked_anew_whose_forerunner_failed(
    bench: Project, serve: Serve, small_steps: None, hurried: HurriedClock
) -> None:
    simulator = serve(row_faults={"row-0-0": "content_filter"})
    texts = ["a", "a", *FILLING, "a", "a"]
    ran(bench, simulator, texts, max_requests=2, on_progress=lambda _: hurried.sleep_s(5))

    late = len(FILLING) + 2
    assert ["a", "a"] == [row["text"] for row in bench.lines("failed")]
    assert ["a", "a"] == [row["text"] for row in bench.lines("done")][-2:]
    assert [(late, 1), (late + 1, 1)] == bench.query(
        "SELECT row_index, COUNT(*) FROM batch_members WHERE row_index >= ? AND role = 1 GROUP BY 1", late
    )
    assert 1 + len(FILLING) + 1 == requests(bench)


def test_rows_that_share_a_line_share_the_one_of_the_next_attempt(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-0-0": "429", "row-1-0": "429", "row-1-1": "500"})
    ran(bench, simulator, ["a", "b", "a", "c", "b", "a"])

    assert {1: [0, 1, 2, 3, 4, 5], 2: [0, 1, 2, 4, 5], 3: [1, 4]} == members(bench)
    assert [3, 2, 1] == [n for (n,) in bench.query("SELECT requests FROM v_batches ORDER BY batch")]
    assert 6 == len(bench.lines("done"))
    assert [5, 2, 0] == [detail["retried"] for _, _, detail in bench.events("harvested")]


def test_rows_that_share_a_line_fail_with_it(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "content_filter"})
    result = ran(bench, simulator, ["a", "b", "a", "b", "b"])

    assert ["b", "b", "b"] == [row["text"] for row in bench.lines("failed")]
    ((_, _, detail),) = bench.events("harvested")
    assert (3, 1) == (detail["failed_rows"], detail["failed_requests"])
    assert 3 == result.summary["bad_rows"]


def test_one_failed_line_of_a_canary_is_one_however_many_rows_share_it(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-0-0": "content_filter"})
    prepared(bench, simulator, ["a", "a", "a", "a", "b", "c", "d", "e", "f"], canary=4)

    assert RunStatus.COMPLETED is bench.run().status
    assert Counter(a=4) == Counter(row["text"] for row in bench.lines("failed"))


def test_a_request_that_comes_home_first_is_shared_by_a_row_before_it(
    bench: Project, serve: Serve, small_steps: None
) -> None:
    """A later row can be at a step before an earlier one: the line then names the later row."""
    simulator = serve(row_faults={"row-0-0": "429"})
    bench.rows([{"text": "slow"}, {"text": "quick"}])
    second = ask(simulator, name="second", dedupe=True, template="Say the same", response_field="same")
    bench.pipeline(ask(simulator) + second, source="schema: {text: str}", sinks=["done", "failed"])
    assert bench.run().error is None

    assert ["echo: Say the same"] * 2 == [row["same"] for row in bench.lines("done")]
    shared = "SELECT m.row_index FROM batch_members m JOIN batches USING (batch_no) WHERE node_no = 2 AND role = 1"
    taken = "SELECT row_index FROM reuses WHERE node_no = 2"
    assert [(0,), (1,)] == sorted(bench.query(shared) + bench.query(taken))
    lines = "SELECT SUM(requests) FROM v_batches WHERE step = 'second'"
    assert [(1,)] == bench.query(lines)


def test_a_resume_finds_the_requests_that_are_on_their_way(bench: Project, serve: Serve, small_steps: None) -> None:
    """The process ends while its source is half read; the index is made again from the trail."""
    texts = [f"text {n % 4}" for n in range(30)]
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.rows_read >= 12:
            stop.set()

    prepared(bench, serve(), texts, max_requests=2, poll_interval_seconds=LATER)
    assert RunStatus.INTERRUPTED is bench.run(stop=stop, on_progress=watch).status
    before = {row for rows in members(bench).values() for row in rows}
    assert max(before) < 29
    assert bench.resume().error is None

    assert texts == [row["text"] for row in bench.lines("done")]
    assert [2, 2] == [n for (n,) in bench.query("SELECT requests FROM v_batches ORDER BY batch")]
    assert 30 == sum(map(len, members(bench).values()))


def test_rows_that_came_at_different_times_are_replayed(
    bench: Project, serve: Serve, small_steps: None, hurried: HurriedClock
) -> None:
    """Some share the first attempt, some the second, some take the answer when it is home."""
    simulator = serve(row_faults={"row-0-0": "429"})
    texts = [text for n, text in enumerate(FILLING) for text in (("a", text) if n % 2 == 0 else (text,))]
    ran(bench, simulator, texts, max_requests=4, on_progress=lambda _: hurried.sleep_s(5))

    attempts = {
        attempt
        for (attempt,) in bench.query(
            "SELECT MIN(attempt) FROM batch_members m JOIN batches b USING (batch_no) JOIN rows r USING (row_index) "
            "WHERE m.role = 1 GROUP BY m.row_index"
        )
    }
    assert {0, 1} == attempts
    assert bench.query("SELECT 1 FROM reuses")
    result = replay_run(ReplayRequest(reference="latest", out=bench.folder / "again"), state=bench.state)
    assert result.is_identical, result.content


def test_a_pipeline_without_the_option_shares_nothing(bench: Project, serve: Serve) -> None:
    ran(bench, serve(), ["a", "a", "b"], dedupe=False)

    assert 3 == requests(bench)


def test_a_shared_request_is_explained_by_the_row_whose_it_is(bench: Project, serve: Serve) -> None:
    ran(bench, serve(), ["a", "b", "a"])
    owner, sharer = explained(bench, 0), explained(bench, 2)
    (owned,), (shared,) = (one.to_dict()["steps"][0]["attempts"] for one in (owner, sharer))
    assert (None, {"row": 0}) == (owned["shared_with"], shared["shared_with"])
    assert owned["request"] == shared["request"]
    assert owned["reply"] == shared["reply"]
    assert json.loads(shared["request"]["line"])["custom_id"] == "row-0-0"
    assert "shares the request of row 0" in str(sharer)
    assert "shares" not in str(owner)
