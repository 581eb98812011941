"""What tells two runs apart, row by row: comparison.py and standings.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.contracts import RunStatus, TrailError
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.comparison import Aspect, AspectKind, Comparer, RowComparison, is_other
from elspeth.core.landscape.pairing import Pair

GATE = "- {name: size, gate: \"row['n'] > 1\", routes: {true: large, false: next}, on_error: failed}"


def run(bench: Project, rows: list[dict[str, Any]] | str) -> None:
    if isinstance(rows, str):
        bench.write("rows.jsonl", rows)
    else:
        bench.rows(rows)
    assert bench.run(new=True).status is RunStatus.COMPLETED


@contextmanager
def comparer(bench: Project) -> Iterator[Comparer]:
    with LandscapeReader(bench.database) as reader:
        yield Comparer(reader, reader.run_numbered(1), reader.run_numbered(2))


def compared(bench: Project, *, keep: int = 10) -> RowComparison:
    with comparer(bench) as one:
        return one.compare(keep=keep)


def aspects_of_row_0(bench: Project) -> list[Aspect]:
    with comparer(bench) as one:
        first, second = one.standings_of(Pair(None, 0, 0))
        assert first is not None
        assert second is not None
        return list(one.aspects(first, second))


def field(name: str) -> Aspect:
    return Aspect(AspectKind.FIELD, name)


def test_runs_of_the_same_rows_are_the_same_and_no_bytes_are_read_for_that(bench: Project) -> None:
    bench.pipeline()
    for _ in range(2):
        run(bench, [{"n": n} for n in range(300)])
    for segment in bench.folder.rglob("rows.zst"):
        segment.unlink()
    found = compared(bench)
    assert (300, 300, True) == (found.rows, found.same, found.is_same)


def test_counts_and_first_pairs(bench: Project) -> None:
    bench.pipeline(source="key: id")
    run(bench, [{"id": n, "n": 0} for n in range(2_500)])
    run(bench, [{"id": n, "n": n % 100 == 50} for n in range(10, 2_600)])
    with comparer(bench) as one:
        found = one.compare(keep=3)
    assert (2_600, 0, 2_490, 10, 100) == (found.rows, found.same, found.differ, found.only_a, found.only_b)
    assert {field("n"): 2_490} == found.aspects
    assert [Pair(str(n), n, n - 10) for n in (10, 11, 12)] == found.first_differing
    assert [Pair(str(n), n, None) for n in range(3)] == found.first_only_a
    assert [Pair(str(n), None, n - 10) for n in (2_500, 2_501, 2_502)] == found.first_only_b
    assert not found.is_same


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('{"n": 1, "m": 1}', '{"n": 2, "m": 1}', [field("n")]),
        ('{"n": 1}', '{"n": 1.0}', [field("n")]),
        ('{"n": 1}', '{"n": true}', [field("n")]),
        ('{"n": [1, 2]}', '{"n": [2, 1]}', [field("n")]),
        ('{"n": null}', "{}", [field("n")]),
        ('{"m": 1}', '{"n": 1}', [field("m"), field("n")]),
        ('{"n": 1, "m": 1}', '{"m": 1, "n": 1}', [Aspect(AspectKind.FIELD_ORDER)]),
        ("broken", "worse", [Aspect(AspectKind.RECORD)]),
        ("broken", "broken", []),
        ("broken", '{"n": 1}', [Aspect(AspectKind.RECORD), Aspect(AspectKind.OUTCOME), Aspect(AspectKind.SINK),
                                Aspect(AspectKind.FAILURE)]),
    ],
)  # fmt: skip
def test_in_what_two_records_differ(bench: Project, one: str, other: str, expected: list[Aspect]) -> None:
    bench.pipeline()
    for record in (one, other):
        run(bench, record + "\n")
    assert expected == aspects_of_row_0(bench)


def test_a_gate_and_what_follows_from_it(bench: Project) -> None:
    for threshold in (1, 0):
        bench.pipeline(GATE.replace("> 1", f"> {threshold}"), sinks=("done", "large", "failed"))
        run(bench, [{"n": 1}])
    assert [
        Aspect(AspectKind.ROUTE, "size"),
        Aspect(AspectKind.OUTCOME),
        Aspect(AspectKind.SINK),
    ] == aspects_of_row_0(bench)


def test_names_count_and_not_the_numbers_of_nodes(bench: Project) -> None:
    bench.pipeline(GATE, sinks=("done", "large", "failed"))
    run(bench, [{"n": 5}, {"n": 0}])
    bench.pipeline("- {name: same, plugin: passthrough}\n" + GATE, sinks=("failed", "large", "done"))
    run(bench, [{"n": 5}, {"n": 0}])
    assert compared(bench).is_same


def test_a_gate_that_one_run_does_not_have(bench: Project) -> None:
    bench.pipeline(GATE, sinks=("done", "large", "failed"))
    run(bench, [{"n": 0}])
    bench.pipeline(sinks=("done",))
    run(bench, [{"n": 0}])
    assert [Aspect(AspectKind.ROUTE, "size")] == aspects_of_row_0(bench)


def test_the_code_of_a_failure_and_the_step_it_happened_at(bench: Project, serve: Serve) -> None:
    for faults in ("content_filter", "not_json", "content_filter"):
        simulator = serve(row_faults={"row-0-0": faults})
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        schema["additionalProperties"] = False
        bench.pipeline(
            ask(simulator, poll_interval_seconds=0.05, response_schema=schema, row_attempts=1), sinks=("done", "failed")
        )
        run(bench, [{"text": "one"}])
    assert [Aspect(AspectKind.FAILURE)] == aspects_of_row_0(bench)
    with LandscapeReader(bench.database) as reader:
        assert Comparer(reader, reader.run_numbered(1), reader.run_numbered(3)).compare(keep=0).is_same


def test_the_same_failure_at_another_step_is_another_failure(bench: Project) -> None:
    gate = "- {name: %s, gate: \"row['n'] > 1\", routes: {true: done, false: next}, on_error: failed}"
    for name in ("one", "two", "two"):
        bench.pipeline(gate % name, sinks=("done", "failed"))
        run(bench, [{"n": "no number"}])
    assert [Aspect(AspectKind.FAILURE)] == aspects_of_row_0(bench)
    with LandscapeReader(bench.database) as reader:
        assert Comparer(reader, reader.run_numbered(2), reader.run_numbered(3)).compare(keep=0).is_same


def test_rows_that_have_not_ended_stand_without_an_outcome(bench: Project, serve: Serve) -> None:
    bench.rows([{"text": "one"}, {"text": "two"}])
    bench.pipeline(ask(serve(latency_s=60), max_requests=1), sinks=("done", "failed"))
    for _ in range(2):
        assert bench.run(new=True, submit_only=True).status is RunStatus.PENDING
    with comparer(bench) as one:
        standing, _ = one.standings_of(Pair(None, 0, 0))
        assert standing is not None
        assert (None, None, None, None) == standing.ending
        assert one.compare(keep=0).is_same


def test_a_row_that_no_pair_holds_stops_the_comparison(bench: Project) -> None:
    bench.pipeline(source="key: id")
    for _ in range(2):
        run(bench, [{"id": n} for n in range(3)])
    with closing(sqlite3.connect(bench.database)) as connection, connection:
        connection.execute("DROP TRIGGER row_keys_no_delete")
        connection.execute("DELETE FROM row_keys WHERE key = '1'")
    with pytest.raises(TrailError, match="has 3 rows, but 2"):
        compared(bench)


def test_a_row_whose_record_is_gone_stops_the_comparison(bench: Project) -> None:
    bench.pipeline(source="key: id")
    for _ in range(2):
        run(bench, [{"id": n} for n in range(3)])
    with closing(sqlite3.connect(bench.database)) as connection, connection:
        connection.execute("DROP TRIGGER rows_no_delete")
        connection.execute("DELETE FROM rows WHERE run_no = 2 AND row_index = 1")
    with pytest.raises(TrailError, match="1 of 3 rows are missing"):
        compared(bench)


def test_bytes_that_are_gone_stop_the_comparison_of_rows_that_differ(bench: Project) -> None:
    bench.pipeline()
    for n in range(2):
        run(bench, [{"n": n}])
    for segment in bench.folder.rglob("rows.zst"):
        segment.unlink()
    with pytest.raises(TrailError, match="is missing"):
        compared(bench)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), (1, 1.0), (1, True), (0.0, -0.0), ([1], [1.0]), (None, False)])
def test_values_of_other_bytes_are_other_values(one: object, other: object) -> None:
    assert is_other(one, other)
    assert not is_other(one, one)
