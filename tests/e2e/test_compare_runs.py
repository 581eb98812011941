"""``diff`` and ``explain --all-runs`` say of two real runs what their outputs and their requests say."""

import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets

from elspeth.simulator import Settings, Simulator

COUNT = 12
NO_RUN = "01zzzzzzzzzzz"


class TwoRuns:
    """Two runs of one pipeline, the second with another server, a row less and a row more; outputs are kept."""

    def __init__(self, project: Project, simulate: Simulate) -> None:
        self.project = project
        project.write("tickets.csv", tickets(COUNT))
        self.a, self.rows_a = self._run(simulate(seed="1").url)
        lines = project.text("tickets.csv").splitlines(keepends=True)
        project.write("tickets.csv", "".join([lines[0], *lines[2:], f"{COUNT + 1},New,A new one,1\n"]))
        self.b, self.rows_b = self._run(simulate(seed="2", row_faults={"row-4-0": "content_filter"}).url)

    def _run(self, url: str) -> tuple[str, dict[str, dict[str, Any]]]:
        self.project.write_pipeline(url)
        self.project("run", "pipeline.yaml", "--new")
        return self.project.run_id(), rows_written(self.project)


def rows_written(project: Project) -> dict[str, dict[str, Any]]:
    """What stands in the outputs, by key: the fields as text, and the file."""
    found = {}
    for row in csv.DictReader(io.StringIO(project.text("out/triaged.csv"))):
        found[row["id"]] = {"category": row["category"], "sink": "triaged"}
    for name in ("urgent", "failed"):
        for row in project.lines(f"out/{name}.jsonl"):
            found[str(row["id"])] = {"category": row.get("category"), "sink": name}
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with ExitStack() as stack:

        def start(**settings: Any) -> Simulator:
            return stack.enter_context(Simulator(Settings(latency_s=0.0, **settings)))

        yield TwoRuns(Project(tmp_path_factory.mktemp("two")), start)


def test_the_comparison_agrees_with_the_files_that_were_written(two: TwoRuns) -> None:
    found = two.project("diff", two.a, two.b, "--json", "--limit", "100", code=1).json()
    both = two.rows_a.keys() & two.rows_b.keys()
    differing = {key for key in both if two.rows_a[key] != two.rows_b[key]}
    assert len(differing) > 3
    assert {row["key"] for row in found["differing"]} == differing
    for row in found["differing"]:
        one, other = two.rows_a[row["key"]], two.rows_b[row["key"]]
        assert (one["sink"], other["sink"]) == (row["a"]["sink"], row["b"]["sink"])
        if one["category"] != other["category"]:
            expected = {side: value for side, value in (("a", one["category"]), ("b", other["category"])) if value}
            assert expected == row["fields"]["category"]
            (answer,) = row["answers"]
            assert "identical_but_for_custom_id" == answer["request"], "every row has moved up by one"
        assert (one["sink"] != other["sink"]) == ({"what": "sink"} in row["differs"])
    assert ["1"] == [row["key"] for row in found["only_a"]]
    assert [str(COUNT + 1)] == [row["key"] for row in found["only_b"]]
    counts = found["rows"]
    assert ("key", COUNT + 1, len(both) - len(differing), len(differing), 1, 1) == tuple(
        counts[name] for name in ("by", "all", "same", "differ", "only_a", "only_b")
    )
    assert [False, 1] == [found["same"], found["schema_version"]]
    for output in found["outputs"]:
        assert output["same"] == (output["a"]["sha256"] == output["b"]["sha256"])


def test_a_failure_has_its_code_and_its_step(two: TwoRuns) -> None:
    found = two.project("diff", two.a, two.b, "--json", code=1).json()
    (failed,) = [row for row in found["differing"] if row["b"]["outcome"] == "failed"]
    assert ("classify", "content_filter") == (failed["b"]["step"], failed["b"]["reason"])
    assert failed["answers"][0]["b"] is None
    explained = two.project.explain(failed["a"]["row"], two.a)
    assert explained["outcomes"][0]["sink"] == failed["a"]["sink"]
    assert explained["row"]["key"] == failed["key"]


def test_the_words_say_the_same(two: TwoRuns) -> None:
    found = two.project("diff", two.a, two.b, "--json", code=1).json()
    done = two.project("diff", two.a, two.b, code=1)
    lines = done.out.splitlines()
    assert [f"A  run {two.a}", f"B  run {two.b}"] == [line.split("  tickets")[0] for line in lines[:2]]
    assert "SIMULATED ANSWERS in A and B" == lines[2]
    assert lines[3].startswith(f"{COUNT + 1} rows by key: {found['rows']['same']} same, ")
    assert lines[3].endswith(", 1 only in A, 1 only in B")
    for row in found["differing"]:
        assert f"key {row['key']}  (row {row['a']['row']} in A, row {row['b']['row']} in B)" in lines
    assert "rows only in A" in lines
    assert "key 1  (row 0)" in done.out
    assert "steps.classify.options.endpoint" in done.out
    assert "" == done.err


def test_the_limit_is_a_limit_on_what_is_shown(two: TwoRuns) -> None:
    whole = two.project("diff", two.a, two.b, "--json", code=1).json()
    cut = two.project("diff", two.a, two.b, "--json", "--limit", "2", code=1).json()
    assert whole["differing"][:2] == cut["differing"]
    assert whole["rows"] == cut["rows"]
    text = two.project("diff", two.a, two.b, "--limit", "2", code=1).out
    assert f"(the first 2 of {whole['rows']['differ']}; --limit shows more)" in text
    none = two.project("diff", two.a, two.b, "--limit", "0", "--json", code=1).json()
    assert [] == none["differing"] + none["only_a"] + none["only_b"]


def test_equal_outputs_end_with_0_however_they_came_about(project: Project, simulate: Simulate) -> None:
    project.write("tickets.csv", tickets(3))
    project.write_pipeline(simulate().url)
    project("run", "pipeline.yaml")
    project.write_pipeline(simulate().url, max_requests=1)
    project("run", "pipeline.yaml", "--new")
    newest, older = (line.split("\t")[0] for line in project("runs").out.splitlines())
    done = project("diff", older, "latest")
    assert "3 rows by key: 3 same\n" in done.out
    assert "outputs: 4 of 4 have the same bytes\n" in done.out
    assert "  steps.classify.options.max_requests: 5 -> 1\n" in done.out
    assert "   -      max_requests: 5\n" in done.out
    assert project("diff", newest, newest, "--json").json()["same"]


def test_bad_usage_ends_with_2(two: TwoRuns) -> None:
    for arguments in ([two.a], [two.a, NO_RUN], [two.a, two.b, "--limit", "-1"], []):
        assert "" == two.project("diff", *arguments, code=2).out
    assert "there is no database" in two.project("diff", two.a, two.b, "--db", "nowhere.db", code=2).err
    assert not two.project.path("nowhere.db").exists()


def test_another_database_can_be_named(two: TwoRuns, tmp_path: Path) -> None:
    other = Project(tmp_path / "elsewhere")
    assert 1 == other("diff", two.a, two.b, "--db", two.project.database, code=1).code
    found = other("explain", "--key", "3", "--all-runs", "--db", two.project.database, "--json").json()
    assert [two.a, two.b] == [run["run"] for run in found["runs"]]


def test_a_key_in_all_runs(two: TwoRuns) -> None:
    found = two.project("explain", "--key", "3", "--all-runs", "--json").json()
    assert (1, "3", True, 2, 1) == tuple(
        found[name] for name in ("schema_version", "key", "simulated", "asked", "asked_before")
    )
    for run, rows in zip(found["runs"], (two.rows_a, two.rows_b), strict=True):
        explained = two.project("explain", run["run"], "--key", "3", "--json").json()
        (attempt,) = next(step for step in explained["steps"] if step["name"] == "classify")["attempts"]
        (request,) = run["asked"]
        assert attempt["request"]["sha256"] == request["request_sha256"]
        assert attempt["reply"]["sha256"] == request["reply_sha256"]
        assert {"category": rows["3"]["category"]} == request["answer"]
        assert rows["3"]["sink"] == run["outcomes"][0]["sink"]
        usage = json.loads(attempt["reply"]["line"])["response"]["body"]["usage"]
        assert usage["prompt_tokens"] > 0
    again = found["runs"][1]["asked"][0]["asked_before"]
    assert {"run": two.a, "batch": 1, "attempt": 0, "likeness": "identical_but_for_custom_id"} == again
    text = two.project("explain", "--key", "3", "--all-runs").out
    assert text.startswith("key 3  in 2 runs  asked 2 times  1 of them asked before")
    assert f"asked before: the same but for its custom id as in run {two.a}, batch 1" in text
    assert "SIMULATED ANSWERS" in text


def test_all_runs_needs_a_key_and_no_run(two: TwoRuns) -> None:
    for arguments in (["--all-runs"], ["--all-runs", "--row", "1"], [two.a, "--all-runs", "--key", "3"]):
        assert "" == two.project("explain", *arguments, code=2).out
    assert "no run in" in two.project("explain", "--all-runs", "--key", "none", code=2).err
