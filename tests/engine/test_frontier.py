from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask

from elspeth.contracts import RunStatus
from elspeth.engine import orchestrator
from elspeth.engine.frontier import Frontier
from elspeth.engine.tokens import Arrival

MODES = ["float", "big", "deep", "text", "fail", "same", "drop", "none", "lost", "broken", "early"]
STEPS = {
    "vary": "- {name: vary, plugin: vary, on_error: ERROR}",
    "keep": "- {name: keep, plugin: passthrough}",
    "name": "- {name: name, plugin: field_mapper, options: {constants: {extra: 1.0}}, on_error: ERROR}",
    "gate": "- {name: gate, gate: \"row['mode']\", routes: {fail: side, early: done, lost: side, default: next}}",
    "odd": "- {name: odd, gate: \"row['id'] % 3 > 1\", routes: {true: side, false: next}, on_error: ERROR}",
    "less": "- {name: less, gate: \"100 // row['id'] // 10\", routes: {10: next, 5: next, 3: next}, on_error: ERROR}",
}
SCHEMA = (
    "schema: {id: int, mode: str, when: 'date?', amount: 'decimal?', at: 'datetime?'}\nkey: id\non_invalid: INVALID"
)


class PatientFrontier(Frontier):
    """Lets every row wait in the trail, as if something before it were always outstanding."""

    is_releasing = False

    def write(self, arrivals: Any, *, released: int) -> None:
        if self.is_releasing:
            super().write(arrivals, released=released)

    def release(self, watermark: int, rows: Any) -> Iterator[int]:
        self.is_releasing = True
        yield from super().release(watermark, rows)


def record(index: int, mode: str) -> str:
    if mode == "broken":
        return "{broken"
    row = {"id": index if index % 9 else 0, "mode": mode, "when": "2024-02-29", "amount": "1.50"}
    if index % 2:
        row["at"] = "2024-02-29T12:00:00+02:00"
    return json.dumps(row)


def prepared(folder: Path, modes: list[str], steps: list[str], error: str, invalid: str) -> Project:
    folder.mkdir(parents=True)
    project = Project(folder)
    project.write("rows.jsonl", "".join(record(index, mode) + "\n" for index, mode in enumerate(modes)))
    text = "\n".join(STEPS[step] for step in steps)
    used = f"{text}{SCHEMA}".replace("ERROR", error).replace("INVALID", invalid)
    sinks = ["done", *(name for name in ("side", "failed") if name in used)]
    has_errors = error == "table" and "on_error: ERROR" in text
    fields = ["id", "mode", "when", "_error"] * has_errors + ["row", "message"] * (invalid == "table")
    table = f"table: {{plugin: csv, options: {{path: out/table.csv, fields: {json.dumps(fields)}}}}}"
    project.pipeline(
        text.replace("ERROR", error),
        source=SCHEMA.replace("INVALID", invalid),
        sinks=sinks,
        csv=table if "table" in used else "",
    )
    return project


@pytest.mark.usefixtures("odd_plugins")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    modes=st.lists(st.sampled_from(MODES), min_size=1, max_size=24),
    steps=st.lists(st.sampled_from(sorted(STEPS)), unique=True, max_size=4),
    error=st.sampled_from(["discard", "failed", "done", "table"]),
    invalid=st.sampled_from(["discard", "done", "table"]),
)
def test_rows_written_at_once_and_rows_released_from_the_trail_come_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, modes: list[str], steps: list[str], error: str, invalid: str
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    at_once = prepared(folder / "at_once", modes, steps, error, invalid)
    released = prepared(folder / "released", modes, steps, error, invalid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", 5)
        first = at_once.run()
        patch.setattr(orchestrator, "Frontier", PatientFrontier)
        second = released.run()
    assert first.status is RunStatus.COMPLETED
    assert (second.status, second.summary) == (first.status, first.summary)
    assert released.outputs() == at_once.outputs()
    assert released.outcomes() == at_once.outcomes()
    assert len(at_once.outcomes()) == first.summary["rows"] == len(modes)


def test_a_released_row_has_the_same_arrival_as_the_processor_gave_it(bench: Project) -> None:
    """The slots of an arrival are all that a sink and an outcome are made from."""
    assert set(Arrival.__slots__) == {"data", "error", "index", "outcome", "row", "sink_no", "step_no"}


@pytest.mark.parametrize("late", [[], [1], [1, 2, 4], list(range(1, 9))])
def test_every_sink_keeps_source_order_whatever_order_batches_finish_in(
    bench: Project, serve: Serve, hurried: HurriedClock, monkeypatch: pytest.MonkeyPatch, late: list[int]
) -> None:
    monkeypatch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", 7)
    simulator = serve(
        quirks=["shuffled_output"],
        row_faults={"row-5-0": "429", "row-8-0": "content_filter", "row-30-0": "500", "row-35-0": "refusal"},
    )
    if late:
        unfinished = {"status": "in_progress", "output_file_id": None, "error_file_id": None}
        simulator.add_faults([{"operation": "batches.retrieve", "occurrence": late, "action": {"patch": unfinished}}])
    kinds = ["ask", "early", "ask", "broken", "zero", "ask"]
    rows = [{"id": n, "kind": kinds[n % 6], "n": 0 if kinds[n % 6] == "zero" else 1} for n in range(42)]
    bench.write(
        "rows.jsonl", "".join("broken\n" if row["kind"] == "broken" else json.dumps(row) + "\n" for row in rows)
    )
    step = ask(simulator, max_requests=4, max_batches_in_flight=3, template="{{ row.id }}", poll_interval_seconds=1)
    bench.pipeline(
        "- {name: sort, gate: \"row['kind']\", routes: {early: early, default: next}}\n"
        "- {name: divide, gate: \"1 // row['n'] == 1\", routes: {true: next, false: next}, on_error: failed}\n"
        + step
        + "- {name: half, gate: \"row['id'] % 2 == 0\", routes: {true: even, false: next}}\n",
        source="schema: {id: int, kind: str, n: int}\non_invalid: rejected",
        sinks=["done", "early", "even", "failed", "rejected"],
    )
    assert bench.run().status is RunStatus.COMPLETED
    found = {
        name: [row.get("id", row.get("row")) for row in bench.lines(name)]
        for name in ("done", "early", "even", "failed", "rejected")
    }
    assert found == {name: sorted(ids) for name, ids in found.items()}
    assert sorted(n for ids in found.values() for n in ids) == list(range(42))
    assert found["early"] == [n for n in range(42) if kinds[n % 6] == "early"]
    assert found["failed"] == sorted([n for n in range(42) if kinds[n % 6] == "zero"] + [8, 35])
    codes = {row["id"]: row["_error"]["code"] for row in bench.lines("failed")}
    assert (codes[8], codes[35]) == ("content_filter", "refusal")
