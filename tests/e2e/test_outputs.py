"""What a run writes: the same bytes every time, every row accounted for, in the order of the source."""

import base64
import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets
from tests.e2e.small_run import COUNT, FAILED, REJECTED, SOURCE, SmallRun
from tests.e2e.wire import of


def outputs(project: Project) -> dict[str, bytes]:
    """Every output by its path below `out`, the run's id out of it."""
    folder = project.path("out")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = re.sub(r"^01[0-9a-z]{11}/", "RUN/", str(path.relative_to(folder)))
            found[name] = path.read_bytes()
    return found


def ids(project: Project, name: str) -> list[int]:
    if name.endswith(".csv"):
        records = csv.DictReader(io.StringIO(project.path(name).read_bytes().decode(), newline=""))
        return [int(record["id"]) for record in records]
    return [row["id"] for row in project.lines(name)]


def all_ids_in_order(project: Project) -> list[int]:
    """The ids of all rows that came through; each file by itself must be in the order of the source."""
    found = []
    for name in ("out/triaged.csv", "out/urgent.jsonl"):
        mine = ids(project, name)
        assert sorted(mine) == mine, name
        found += mine
    return sorted(found)


def test_two_runs_give_the_same_bytes(small: SmallRun, tmp_path: Path, simulate: Simulate) -> None:
    simulator = simulate(row_faults={"row-6-0": "content_filter", "row-9-0": "not_json"}, quirks=["shuffled_output"])
    project = Project(tmp_path / "another" / "place")
    project.write("tickets.csv", SOURCE)
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    assert ["RUN/rejected.jsonl", "failed.jsonl", "triaged.csv", "urgent.jsonl"] == list(outputs(project))
    assert outputs(small.project) == outputs(project)


def test_a_run_that_died_and_was_retried_gives_the_same_bytes(
    small: SmallRun, project: Project, simulate: Simulate
) -> None:
    simulator = simulate(
        row_faults={"row-6-0": "content_filter", "row-9-0": "not_json"},
        latency_s=4.0,
        file_latency_s=0.0,
        faults=[
            {"operation": "batches.create", "occurrence": 1, "action": "reset_after"},
            {"operation": "files.content", "occurrence": 1, "action": "truncate"},
        ],
    )
    project.write("tickets.csv", SOURCE)
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml", "--no-wait", code=75)
    project("resume", "latest", "--wait", "0.1s", code=75)
    project("resume", "latest")
    assert outputs(small.project) == outputs(project)


def test_the_closing_line_accounts_for_every_row(small: SmallRun) -> None:
    line = small.closing_line
    assert line.startswith("complete: 13 in = 5 triaged + 3 urgent + ")
    assert 1 == line.count("\n")
    total, terms = re.fullmatch(r"complete: ([\d,]+) in = (.*?) · .*\n", line).groups()  # type: ignore[union-attr]
    assert int(total.replace(",", "")) == sum(int(term.split()[0]) for term in terms.split(" + ")) == COUNT
    for reason in ("quarantined (type)", "quarantined (field_count)", "quarantined (encoding)"):
        assert f"1 {reason}" in terms
    for reason in FAILED.values():
        assert f"1 failed ({reason})" in terms
    counted = {record["outcome"]: record["n"] for record in small.project.query(
        "SELECT outcome, COUNT(*) AS n FROM v_outcomes GROUP BY outcome")}  # fmt: skip
    assert {"completed": 5, "routed": 3, "quarantined": 3, "failed": 2} == counted
    assert f"models: gpt-4o-batch ×{COUNT - len(REJECTED) - 1}" in line


def test_a_failed_row_is_the_row_with_its_reason(small: SmallRun) -> None:
    rows = small.project.lines("out/failed.jsonl")
    assert [7, 10] == [row["id"] for row in rows]
    for row, (index, code) in zip(rows, FAILED.items(), strict=True):
        assert ["id", "title", "body", "priority", "_error"] == list(row)
        assert {"step", "code", "message"} == set(row["_error"])
        assert ("classify", code) == (row["_error"]["step"], row["_error"]["code"])
        assert f"row-{index}" not in str(row)
    assert small.status["run"] not in str(rows)
    assert "req_" not in str(rows)


def test_a_rejected_row_is_its_bytes_and_the_reason(small: SmallRun) -> None:
    rows = small.project.lines(f"out/{small.status['run']}/rejected.jsonl")
    assert list(REJECTED.items()) == [(row["row"], row["code"]) for row in rows]
    for row in rows:
        raw = "raw_base64" if row["row"] == 11 else "raw"
        assert {"row", "code", "message", raw} == set(row)
        data = base64.b64decode(row[raw]) if raw == "raw_base64" else row[raw].encode()
        assert data in SOURCE
        assert small.status["run"] not in row["message"]


def test_an_output_that_may_not_be_replaced_is_left_alone(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulator.url, sink=", if_exists: error")
    project.write("out/triaged.csv", "precious\n")
    done = project("run", "pipeline.yaml", code=None)
    assert done.code in (2, 3)
    assert "triaged.csv exists" in done.err
    assert "hint:" in done.err
    assert [] == simulator.journal(), "refused before anything is sent"
    assert "precious\n" == project.text("out/triaged.csv")
    project.path("out/triaged.csv").unlink()
    project("run", "pipeline.yaml")
    assert [1, 2, 3] == all_ids_in_order(project)


def test_an_existing_output_is_replaced_at_completion(project: Project, simulate: Simulate) -> None:
    simulator = simulate(latency_s=0.5)
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulator.url)
    project.write("out/triaged.csv", "old\n")
    project("run", "pipeline.yaml", "--no-wait", code=75)
    assert "old\n" == project.text("out/triaged.csv")
    project("resume", "latest")
    assert project.text("out/triaged.csv").startswith("id,title,body,priority,category\n")
    assert [] == list(project.path("out").glob(".*")), "no part files stay behind"


def test_the_run_stands_in_a_path(small: SmallRun) -> None:
    assert small.project.path(f"out/{small.status['run']}/rejected.jsonl").is_file()


@pytest.mark.parametrize(
    "source", ["id,subject,body,priority\n", "id,subject,body,priority", "id,subject,body,priority\n\n\n"]
)
def test_an_empty_source_gives_empty_outputs(project: Project, simulate: Simulate, source: str) -> None:
    simulator = simulate()
    project.write("tickets.csv", source)
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml")
    assert "complete: 0 in = 0" in done.out
    assert [] == simulator.journal()
    assert {"RUN/rejected.jsonl": b"", "failed.jsonl": b"", "urgent.jsonl": b""} == {
        name: data for name, data in outputs(project).items() if name != "triaged.csv"
    }
    assert "id,title,body,priority,category\n" == project.text("out/triaged.csv")


def test_what_is_discarded_is_still_recorded(project: Project, simulate: Simulate) -> None:
    simulator = simulate(row_faults={"row-0-0": "content_filter"})
    project.write("tickets.csv", tickets(3) + "x,bad,row,1\n")
    project.write_pipeline(simulator.url, on_invalid="discard", on_error="discard")
    text = project.path("pipeline.yaml").read_text()
    text = re.sub(r"  (failed|rejected): .*\n", "", text)
    project.path("pipeline.yaml").write_text(text)
    done = project("run", "pipeline.yaml")
    assert "1 quarantined (type)" in done.out
    assert "1 failed (content_filter)" in done.out
    assert [2, 3] == all_ids_in_order(project)
    for row, outcome in ((0, "failed"), (3, "quarantined")):
        (found,) = project.explain(row)["outcomes"]
        assert (outcome, None, None) == (found["outcome"], found["sink"], found["path"])
    assert "discarded" in project("explain", "--row", "3").out


def test_rows_keep_the_order_of_the_source_when_batches_end_out_of_order(project: Project, simulate: Simulate) -> None:
    faults = [{"operation": "batches.retrieve", "occurrence": [1, 2, 5, 8], "action": {"status": 503}}]
    simulator = simulate(quirks=["shuffled_output"], faults=faults)
    project.write("tickets.csv", tickets(40))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    assert list(range(1, 41)) == all_ids_in_order(project)
    paths = [entry["path"] for entry in of(simulator.journal(), "files.content")]
    assert 8 == len(paths)
    ended = [r["batch"] for r in project.query("SELECT batch FROM v_batches ORDER BY ended_at")]
    assert sorted(ended) != ended, "the batches did end out of order"


def test_retried_rows_keep_the_order_of_the_source(project: Project, simulate: Simulate) -> None:
    simulator = simulate(fail_rate=0.4, fail_kinds=("429", "500", "timeout"), faulty_jobs=4)
    project.write("tickets.csv", tickets(20))
    project.write_pipeline(simulator.url)
    done = project("run", "pipeline.yaml")
    assert list(range(1, 21)) == all_ids_in_order(project)
    assert "failed" not in done.out
    assert len(of(simulator.journal(), "batches.create")) > 4
    sent = project.query("SELECT SUM(requests) AS n FROM v_batches WHERE attempt > 0")[0]["n"]
    assert 0 < sent < 20, "only unanswered rows are sent again"


def test_rows_that_never_succeed_end_as_failed(project: Project, simulate: Simulate) -> None:
    simulator = simulate(row_faults={f"row-1-{attempt}": "429" for attempt in range(5)})
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    assert [1, 3] == all_ids_in_order(project)
    (row,) = project.lines("out/failed.jsonl")
    assert (2, "classify") == (row["id"], row["_error"]["step"])
    assert "429" in row["_error"]["message"]
    assert 3 == len(of(simulator.journal(), "batches.create")), "row_attempts is 3"


@pytest.mark.parametrize(("rate", "code"), [(0.5, 0), (0.2, 1)])
def test_too_many_errors_show_in_the_exit_code(project: Project, simulate: Simulate, rate: float, code: int) -> None:
    simulator = simulate(row_faults={"row-1-0": "content_filter"})
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulator.url, more=f"limits: {{max_error_rate: {rate}}}")
    done = project("run", "pipeline.yaml", code=code)
    assert "1 failed (content_filter)" in done.out
    assert ("error_rate" in done.err) == (code == 1)
    assert [1, 3] == all_ids_in_order(project)


def test_a_limit_reads_only_so_many_rows(project: Project, simulate: Simulate) -> None:
    simulator = simulate()
    project.write("tickets.csv", tickets(300))
    project.write_pipeline(simulator.url, max_requests=100)
    done = project("run", "pipeline.yaml", "--limit", "7")
    assert "complete: 7 in = " in done.out
    assert list(range(1, 8)) == all_ids_in_order(project)


def lines_fault(**edits: Any) -> list[dict[str, Any]]:
    return [{"operation": "batches.create", "action": {"lines": edits}}]


@pytest.mark.parametrize(("edits", "failed"), [
    ({"duplicate": ["row-1-0"]}, []),
    ({"duplicate_different": ["row-1-0"]}, [2]),
    ({"extra": ["row-99-0"]}, []),
    ({"missing": ["row-1-0"]}, []),
    ({"bad_json": ["row-1-0"]}, []),
    ({"in_both_files": ["row-1-0"]}, [2]),
])  # fmt: skip
def test_a_careless_result_file_never_drops_a_row(
    project: Project, simulate: Simulate, edits: dict[str, Any], failed: list[int]
) -> None:
    simulator = simulate(faults=lines_fault(**edits))
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulator.url)
    project("run", "pipeline.yaml")
    assert failed == [row["id"] for row in project.lines("out/failed.jsonl")]
    assert [n for n in (1, 2, 3) if n not in failed] == all_ids_in_order(project)
    project("explain", "--row", "1")
