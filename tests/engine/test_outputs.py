"""Outputs and their part files, lost ones made again: outputs.py and rebuild.py."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.contracts import RunStatus, SinkError
from elspeth.simulator import Simulator

TABLE = "table: {plugin: csv, options: {path: out/table.csv, fields: [id, _error]}}"


def pending(
    bench: Project, simulator: Simulator, *, sink: str = "{plugin: jsonl, options: {path: out/early.jsonl}}"
) -> None:
    """A run whose early rows are written and whose last batch is still out; the source is read to its end."""
    bench.rows([{"id": n, "early": n < 3} for n in range(5)])
    bench.pipeline(
        "- {name: sort, gate: \"row['early']\", routes: {true: early, false: next}}\n"
        + ask(simulator, template="{{ row.id }}", poll_interval_seconds=0.2),
        source="schema: {id: int, early: bool}",
        sinks=["done", "failed"],
        csv=f"early: {sink}",
    )
    assert bench.run(submit_only=True).status is RunStatus.PENDING


def part(bench: Project, name: str) -> Path:
    (found,) = (bench.folder / "out").glob(f".{name}.*.part")
    return found


def test_every_declared_sink_yields_a_file_even_without_rows(bench: Project) -> None:
    bench.rows([])
    bench.pipeline(
        "- {name: sort, gate: \"row['id'] > 1\", routes: {true: table, false: next}, on_error: table}",
        source="schema: {id: int}",
        csv=TABLE,
    )
    result = bench.run()
    assert (result.status, result.summary["rows"]) == (RunStatus.COMPLETED, 0)
    assert bench.outputs() == {"done.jsonl": b"", "table.csv": b"id,_error\n"}


def test_a_csv_of_failed_rows_has_the_reason(bench: Project) -> None:
    bench.rows([{"id": 0}])
    bench.pipeline(
        "- {name: sort, gate: \"1 // row['id'] == 1\", routes: {true: next, false: next}, on_error: table}",
        source="schema: {id: int}",
        csv=TABLE,
    )
    bench.run()
    header, line = bench.outputs()["table.csv"].decode().splitlines()
    assert header == "id,_error"
    assert line.startswith('0,"{""step"":""sort"",""code"":""gate""')


def test_a_run_may_stop_at_a_row(bench: Project) -> None:
    bench.rows([{"id": n} for n in range(9)])
    bench.pipeline(source="schema: {id: int}")
    result = bench.run(limit=4)
    assert (result.status, result.summary["rows"]) == (RunStatus.COMPLETED, 4)
    assert [row["id"] for row in bench.lines("done")] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["done.jsonl", "early.jsonl", "failed.jsonl"])
def test_a_part_file_that_is_gone_is_made_again(bench: Project, serve: Serve, name: str) -> None:
    pending(bench, serve(latency_s=0.3))
    part(bench, name).unlink()
    assert bench.resume().error is None
    assert [row["id"] for row in bench.lines("early")] == [0, 1, 2]
    assert [row["id"] for row in bench.lines("done")] == [3, 4]
    assert bench.lines("failed") == []


@pytest.mark.parametrize("name", ["done.jsonl", "early.jsonl", "failed.jsonl"])
def test_what_no_commit_tells_of_is_cut_off_a_part_file(bench: Project, serve: Serve, name: str) -> None:
    """A process that died may have written more than it committed, and may never write to that sink again."""
    pending(bench, serve(latency_s=0.3))
    with part(bench, name).open("ab") as file:
        file.write(b'{"torn')
    assert bench.resume().error is None
    assert [row["id"] for row in bench.lines("early")] == [0, 1, 2]
    assert bench.lines("failed") == []


def test_an_output_that_must_not_be_replaced_is_refused_before_anything_is_sent(bench: Project, serve: Serve) -> None:
    bench.rows([{"id": 1}])
    bench.pipeline(
        csv="other: {plugin: jsonl, options: {path: out/other.jsonl, if_exists: error}}",
        steps="- {name: sort, gate: \"row['id'] > 1\", routes: {true: other, false: next}}",
        source="schema: {id: int}",
    )
    (bench.folder / "out").mkdir()
    existing = bench.write("out/other.jsonl", "mine\n")
    result = bench.run()
    assert isinstance(result.error, SinkError)
    assert existing.read_text() == "mine\n"
    existing.unlink()
    assert bench.resume().status is RunStatus.COMPLETED


def test_a_finished_output_is_recorded_with_its_size_and_hash(bench: Project) -> None:
    bench.rows([{"id": 1}])
    bench.pipeline(source="schema: {id: int}")
    bench.run()
    data = bench.outputs()["done.jsonl"]
    path = str(bench.folder / "out" / "done.jsonl")
    assert bench.query("SELECT path, size, hash, records FROM artifacts") == [
        (path, len(data), sha256(data).digest(), 1)
    ]


def test_a_part_file_that_somebody_changed_is_made_again(bench: Project, serve: Serve) -> None:
    simulator = serve(latency_s=600.0)
    bench.rows([{"text": "early", "skip": True}] * 3 + [{"text": "late", "skip": False}])
    gate = "- {name: gate, gate: \"row['skip']\", routes: {true: done, false: next}}\n"
    bench.pipeline(gate + ask(simulator, poll_interval_seconds=0.05), sinks=("done", "failed"))
    assert bench.run(wait_s=0.0).status is RunStatus.PENDING
    (part,) = (path for path in (bench.folder / "out").iterdir() if path.name.startswith(".done"))
    whole = part.read_bytes()
    part.write_bytes(whole.replace(b"early", b"EARLY"))
    bench.resume(wait_s=0.0)
    assert part.read_bytes() == whole


def test_an_output_that_is_a_folder_is_refused_before_anything_is_sent(bench: Project, serve: Serve) -> None:
    simulator = serve()
    bench.rows([{"text": "one"}])
    bench.pipeline(ask(simulator), sinks=("done", "failed"))
    (bench.folder / "out" / "done.jsonl").mkdir(parents=True)
    result = bench.run()
    assert isinstance(result.error, SinkError)
    assert result.error.hint
    assert simulator.journal() == []
