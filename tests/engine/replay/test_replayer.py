"""A run gone through again, in this process.

For replayer.py, comparer.py, asking.py, requests.py, answers.py, rows.py and stretch.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.replay.desk import found, replay
from tests.engine.replay.test_calls import forget
from tests.engine.workbench import Project, ask

from elspeth.contracts import MissingTrailError, NodeKind, RunStatus, UnrecordedCallError, UsageError
from elspeth.engine.replay.pairing import Pairing
from elspeth.simulator import Simulator

SOURCE, TRANSFORM, GATE, BATCH_TRANSFORM, SINK = NodeKind
SINKS = ["done", "failed", "rejected"]


def prepare(bench: Project, simulator: Simulator, *, rows: int = 12, **options: Any) -> None:
    bench.rows([{"id": n, "text": f"text {n}"} for n in range(rows)])
    pipeline(bench, ask(simulator, poll_interval_seconds=0.05, **options))


def pipeline(bench: Project, steps: str) -> None:
    bench.pipeline(steps, source="schema: {id: int, text: str}\nkey: id\non_invalid: rejected", sinks=SINKS)


def test_steps_of_every_kind_and_rows_of_every_value_replay(bench: Project, serve: Serve) -> None:
    bench.rows([{"id": n, "text": "x" * (n % 7) or "é\n"} for n in range(700)])
    simulator = serve(row_faults={"row-600-0": "refusal", "row-3-0": "429"}, quirks=["shuffled_output"])
    first = ask(simulator, poll_interval_seconds=0.05, max_requests=100)
    second = ask(
        simulator, name="again", template="And {{ row.llm_response }}", response_field="more", max_requests=90,
        poll_interval_seconds=0.05, metadata=True,
    )  # fmt: skip
    pipeline(bench, f"{first}- {{name: some, gate: \"row['id'] % 3\", routes: {{'1': done, default: next}}}}\n{second}")
    assert bench.run().status is RunStatus.COMPLETED
    content = replay(bench)
    assert [] == found(content)
    assert content["is_identical"]
    assert 700 == content["rows_replayed"]


@pytest.mark.usefixtures("odd_plugins")
def test_values_that_text_does_not_hold_by_itself_replay(bench: Project) -> None:
    modes = ["float", "big", "deep", "text", "same", "drop", "fail", "none"]
    bench.rows([{"id": n, "mode": mode, "day": "2026-01-02", "sum": "1.50"} for n, mode in enumerate(modes * 40)])
    bench.pipeline(
        "- {name: vary, plugin: vary, on_error: failed}\n- {name: spoil, plugin: spoil_then_fail, on_error: failed}",
        source="schema: {id: int, mode: str, day: date, sum: decimal}",
        sinks=["done", "failed"],
    )
    assert bench.run().status is RunStatus.COMPLETED
    assert replay(bench)["is_identical"]


EDITS = {
    "duplicate": ["row-1-0"],
    "duplicate_different": ["row-2-0"],
    "missing": ["row-3-0"],
    "extra": ["row-99-0"],
    "bad_json": ["row-4-0"],
    "in_both_files": ["row-5-0"],
}


def careless(serve: Serve) -> Simulator:
    simulator = serve()
    simulator.add_faults([{"operation": "batches.create", "occurrence": 1, "action": {"lines": EDITS}}])
    return simulator


def test_careless_result_files_are_read_as_the_harvest_read_them(bench: Project, serve: Serve) -> None:
    prepare(bench, careless(serve))
    assert bench.run().status is RunStatus.COMPLETED
    assert 5 == len(bench.events("line_set_aside"))
    assert replay(bench)["is_identical"]


def test_a_line_that_was_set_aside_and_is_not_noted_is_a_difference(bench: Project, serve: Serve) -> None:
    prepare(bench, careless(serve))
    bench.run()
    forget(bench, "DELETE FROM batch_events WHERE event = 'line_set_aside' AND detail_json LIKE '%\"alarm\"%'")
    (entry,) = replay(bench)["rows"]
    assert ("reply", "alarm") == (entry["sort"], entry["replayed"])
    assert "set aside" in entry["field"]


@pytest.mark.parametrize("options", [{"expire_after": 0.5}, {"expire_after": 0.5, "undone_rows": "missing"}])
def test_batches_that_expired_and_rows_that_were_never_answered_replay(
    bench: Project, serve: Serve, options: dict[str, Any]
) -> None:
    prepare(bench, serve(**options), row_attempts=2)
    assert bench.run().status is RunStatus.COMPLETED
    assert {1} <= {attempt for (attempt,) in bench.query("SELECT attempt FROM v_states WHERE step = 'ask'")}
    assert replay(bench)["is_identical"]


def test_a_reply_that_no_longer_calls_for_another_attempt_is_told(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(row_faults={"row-2-0": "429", "row-3-0": "429"}))
    bench.run()
    forget(bench, "DELETE FROM batch_members WHERE row_index = 2 AND batch_no = 2")
    content = replay(bench)
    assert ("attempt", 2, "ask", "attempt") in found(content)
    assert {2, None} == {entry["row"] for entry in content["rows"]}, "and its second answer is nobody's"


def test_a_broken_frame_of_answers_ends_the_rows_of_its_batch(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(), max_requests=6)
    bench.run()
    path = next(bench.folder.rglob("*b0001-a0-output.jsonl.zst"))
    path.write_bytes(b"x" * path.stat().st_size)
    content = replay(bench)
    assert {"damaged": {"rows": 6, "ranges": [[0, 5]]}} == content["unreplayable"]
    assert ["payload"] == [entry["sort"] for entry in content["rows"]]


def test_a_broken_frame_of_rows_ends_its_rows(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(), rows=3)
    bench.run()
    path = next(bench.folder.rglob("rows.zst"))
    path.write_bytes(b"x" * path.stat().st_size)
    content = replay(bench)
    assert {"damaged": {"rows": 3, "ranges": [[0, 2]]}} == content["unreplayable"]


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_the_size_of_a_stretch_decides_nothing(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr("elspeth.engine.replay.stretch._ROWS_AT_ONCE", rows_at_once)
    prepare(bench, careless(serve), max_requests=5)
    bench.run()
    assert replay(bench)["is_identical"]


def test_a_row_that_was_asked_by_the_line_of_another_one_takes_its_answer(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-0-0": "content_filter"})
    prepare(bench, simulator, rows=2, template="The same for all")
    bench.run()
    assert ["completed", "failed"] == sorted(outcome for _, outcome, *_ in bench.outcomes())
    for role, other in ((1, 1), (3, 2)):
        forget(bench, f"DELETE FROM batch_members WHERE row_index = 1 AND role = {other}")
        columns = [name for _, name, *_ in bench.query("PRAGMA table_info(batch_members)")]
        taken = ", ".join("1" if name == "row_index" else name for name in columns)
        forget(
            bench, f"INSERT INTO batch_members SELECT {taken} FROM batch_members WHERE row_index = 0 AND role = {role}"
        )
    content = replay(bench)
    assert {("error", 1, "ask", "error")} == {entry for entry in found(content) if entry[0] != "outcome"}
    (error,) = [entry for entry in content["rows"] if entry["sort"] == "error"]
    assert "content_filter" == error["replayed"]["code"]


def test_an_edited_answer_schema_shows_who_would_be_asked_again(bench: Project, serve: Serve) -> None:
    simulator = serve()
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    prepare(bench, simulator, rows=4, response_schema=schema, strict=False)
    bench.run()
    other = {**schema, "properties": {"n": {"type": "string"}}}
    content = replay(bench, edited=edit(bench, ask(simulator, response_schema=other, strict=False)))
    assert {"ask": {"rows": 4, "ranges": [[0, 3]]}} == content["asked_anew"], "the schema is part of the request"


def test_an_edited_field_for_the_answer_takes_the_recorded_ones(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "429", "row-2-0": "content_filter"})
    prepare(bench, simulator, rows=4, row_attempts=3)
    bench.run()
    edited = edit(bench, ask(simulator, response_field="said", row_attempts=3))
    content = replay(bench, edited=edited)
    assert {} == content["asked_anew"]
    fields = {(row, field) for sort, row, step, field in found(content) if step == "ask"}
    assert {(row, field) for row in (0, 1, 3) for field in ("said", "llm_response")} == fields
    assert {"failed", "rejected"} == {output["sink"] for output in content["outputs"] if output["is_identical"]}


def test_fewer_attempts_in_an_edited_pipeline_end_a_row_where_it_would_have_been_asked_again(
    bench: Project, serve: Serve
) -> None:
    simulator = serve(row_faults={"row-1-0": "429"})
    prepare(bench, simulator, rows=3, row_attempts=3)
    bench.run()
    content = replay(bench, edited=edit(bench, ask(simulator, row_attempts=1)))
    assert ("error", 1, "ask", "error") in found(content)
    assert {1} == {entry["row"] for entry in content["rows"]}


def test_more_attempts_in_an_edited_pipeline_would_ask_anew(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "429"})
    prepare(bench, simulator, rows=3, row_attempts=1)
    bench.run()
    content = replay(bench, edited=edit(bench, ask(simulator, row_attempts=2)))
    assert {"ask": {"rows": 1, "ranges": [[1, 1]]}} == content["asked_anew"]


def test_a_renamed_step_takes_the_answers_to_the_same_requests(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepare(bench, simulator, rows=4)
    bench.run()
    content = replay(bench, edited=edit(bench, ask(simulator, name="other")))
    assert {} == content["asked_anew"]
    assert content["is_identical"]


@pytest.mark.usefixtures("odd_plugins")
def test_a_step_that_reaches_out_by_itself_ends_the_replay(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(), rows=2)
    bench.run()
    with pytest.raises(UnrecordedCallError):
        replay(bench, edited=edit(bench, "- {name: sneak, plugin: reach_out, on_error: failed}"))


def edit(bench: Project, steps: str) -> Path:
    """An edited pipeline beside the first one."""
    text = bench.file.read_text()
    pipeline(bench, steps)
    edited = bench.file.rename(bench.folder / "edited.yaml")
    bench.write("pipeline.yaml", text)
    return edited


def test_only_a_completed_run_that_is_there_is_replayed(bench: Project, serve: Serve) -> None:
    with pytest.raises(MissingTrailError):
        replay(bench)
    prepare(bench, serve(latency_s=60.0))
    bench.run(submit_only=True)
    with pytest.raises(UsageError, match="is pending") as caught:
        replay(bench)
    assert "elspeth resume" in str(caught.value.hint)
    assert not (bench.folder / "replayed").exists()


def test_steps_sinks_and_the_source_are_paired_with_their_like_by_name() -> None:
    recorded = [(0, "old", SOURCE), (1, "a", GATE), (2, "b", BATCH_TRANSFORM), (3, "out", SINK), (4, "x", SINK)]
    edited = [(0, "new", SOURCE), (1, "b", TRANSFORM), (2, "x", GATE), (3, "out", SINK), (4, "a", SINK)]
    paired = Pairing.by_name(edited, recorded, is_edited=True)
    assert {0: 0, 1: 2, 3: 3} == paired.recorded
    assert paired.is_edited
