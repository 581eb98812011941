"""Samples: drawn by a seed, the same for everybody, and no row outside of them is read into the run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask

from elspeth.app.runs import Conditions, start_run
from elspeth.contracts import RejectedRow, RowError, RunStatus, SourceBatch, SourcePosition
from elspeth.core.landscape import RunHeader, Sample
from elspeth.engine import orchestrator
from elspeth.engine.selection import Selection, draw


def header(**changes: Any) -> RunHeader:
    given: dict[str, Any] = {
        "run_no": 1,
        "run_id": "r",
        "pipeline": "p",
        "mode": "run",
        "started_at": 0,
        "folder": Path(),
        "config_json": "{}",
        "payload_folder": Path(),
        "row_limit": None,
        "sample": None,
        **changes,
    }
    return RunHeader(**given)


def stretch(start: int, stop: int, rejected: tuple[int, ...] = ()) -> SourceBatch:
    indexes = [index for index in range(start, stop) if index not in rejected]
    error = RowError(code="type", message="x")
    return SourceBatch(
        indexes=indexes,
        lines=[index + 2 for index in indexes],
        rows=[{"n": index} for index in indexes],
        rejected=[RejectedRow(index=index, line=index + 2, raw=b"x", error=error) for index in rejected],
        end=SourcePosition(next_row=stop, cursor={"at": stop}),
    )


def test_a_sample_is_what_anybody_can_draw_again() -> None:
    """Golden: the four of ten whose SHA-256 of ``7:index`` is smallest."""
    ranks = {index: hashlib.sha256(f"7:{index}".encode()).hexdigest() for index in range(10)}
    assert draw(Sample(rows=4, seed=7, of=10)) == sorted(sorted(ranks, key=ranks.__getitem__)[:4]) == [3, 4, 7, 8]


def test_another_seed_draws_another_sample() -> None:
    samples = {tuple(draw(Sample(rows=20, seed=seed, of=1_000))) for seed in range(20)}
    assert len(samples) == 20


def test_every_record_is_drawn_about_equally_often() -> None:
    counts = [0] * 10
    for seed in range(1_000):
        for index in draw(Sample(rows=3, seed=seed, of=10)):
            counts[index] += 1
    assert all(230 <= count <= 370 for count in counts)


@pytest.mark.parametrize(
    ("changes", "taken", "rejected", "end"),
    [
        ({}, [0, 1, 2, 4, 5], [3], 6),
        ({"row_limit": 6}, [0, 1, 2, 4, 5], [3], 6),
        ({"row_limit": 4}, [0, 1, 2], [3], 4),
        ({"row_limit": 2}, [0, 1], [], 2),
        ({"sample": Sample(rows=6, seed=0, of=6)}, [0, 1, 2, 4, 5], [3], 6),
        ({"sample": Sample(rows=0, seed=0, of=6)}, [], [], 0),
    ],
)
def test_a_stretch_of_records_is_cut(changes: Any, taken: list[int], rejected: list[int], end: int) -> None:
    cut = Selection(header(**changes)).cut(stretch(0, 6, rejected=(3,)))
    assert (cut.indexes, [row.index for row in cut.rejected], cut.end.next_row) == (taken, rejected, end)
    assert [row["n"] for row in cut.rows] == [line - 2 for line in cut.lines] == taken


def test_counting_and_cutting_agree() -> None:
    selection = Selection(header(sample=Sample(rows=30, seed=3, of=100)))
    cuts = [selection.cut(stretch(start, start + 7)) for start in range(0, 98, 7)]
    drawn = [index for cut in cuts for index in cut.indexes]
    assert drawn == list(selection.between(0, 98))
    assert [selection.below(cut.end.next_row) for cut in cuts][-1] == len(drawn)


def test_a_run_of_a_sample_is_suspended_resumed_and_balanced(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(latency_s=0.5, row_faults={"row-3-0": "429"})
    bench.rows([{"text": f"say {n}"} for n in range(40)])
    gate = "- {name: skip, gate: \"row['text'] == 'say 8'\", routes: {true: failed, false: next}}\n"
    step = ask(simulator, max_requests=3, poll_interval_seconds=1)
    bench.pipeline(gate + step, source="schema: {text: str}", sinks=["done", "failed"])
    conditions = Conditions(environ=bench.environ, submit_only=True)
    result = start_run(bench.file, state=bench.state, conditions=conditions, sample=(12, 7))
    assert result.status is RunStatus.PENDING
    for part in (bench.folder / "out").glob(".*.part"):
        part.unlink()
    assert bench.resume().status is RunStatus.COMPLETED
    drawn = draw(Sample(rows=12, seed=7, of=40))
    assert [row for (row,) in bench.query("SELECT row_index FROM rows ORDER BY row_index")] == drawn
    texts = [row["text"] for row in bench.lines("done") + bench.lines("failed")]
    assert sorted(texts) == sorted(f"say {index}" for index in drawn)
    assert [row["text"] for row in bench.lines("done")] == [f"say {n}" for n in drawn if n != 8]
    assert bench.query("SELECT sample_rows, sample_seed, sample_of FROM runs") == [(12, 7, 40)]


def test_a_sample_larger_than_the_source_is_the_source(bench: Project) -> None:
    bench.rows([{"text": f"say {n}"} for n in range(5)])
    bench.pipeline(source="schema: {text: str}")
    result = start_run(bench.file, state=bench.state, conditions=Conditions(environ={}), sample=(99, 1))
    assert result.status is RunStatus.COMPLETED
    assert len(bench.lines("done")) == 5


def test_the_progress_of_a_sample_counts_its_rows(bench: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ROWS_A_MICRO_BATCH", "_ROWS_A_COMMIT"):
        monkeypatch.setattr(orchestrator, name, 2)
    bench.rows([{"id": n} for n in range(100)])
    bench.pipeline(source="schema: {id: int}")
    seen: list[tuple[int, int]] = []

    conditions = bench._conditions({"on_progress": lambda now: seen.append((now.rows_read, now.rows_out))})
    start_run(bench.file, state=bench.state, conditions=conditions, sample=(12, 7))

    assert 1 < len(seen)
    assert all(read == out <= 12 for read, out in seen)
