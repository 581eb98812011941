from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from tests.engine.workbench import KEY, Project

from elspeth.contracts import RunStatus
from elspeth.engine import orchestrator
from elspeth.engine.admission import key_text, rejected_row

KEYED = "schema: {id: 'str?', text: str}\nkey: id\non_invalid: rejected"


def many_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", 2)
    monkeypatch.setattr(orchestrator, "_ROWS_A_COMMIT", 2)


def codes(bench: Project) -> list[tuple[int, str]]:
    return [(row["row"], row["code"]) for row in bench.lines("rejected")]


def test_a_key_that_was_read_before_is_rejected_however_many_commits_lie_between(
    bench: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_commits(monkeypatch)
    keys = ["a", "a", "b", "c", "d", "e", "f", "a", "g", "b", "", None, "x\x00y", "x\x00z", "x\x00y"]
    bench.rows([{"id": key, "text": "t"} for key in keys])
    bench.pipeline(source=KEYED, sinks=["done", "rejected"])
    assert bench.run().status is RunStatus.COMPLETED
    assert codes(bench) == [
        (1, "duplicate_key"),
        (7, "duplicate_key"),
        (9, "duplicate_key"),
        (10, "empty_key"),
        (11, "empty_key"),
        (14, "duplicate_key"),
    ]
    assert [row["id"] for row in bench.lines("done")] == ["a", "b", "c", "d", "e", "f", "g", "x\x00y", "x\x00z"]


@pytest.mark.parametrize("commits", [True, False])
def test_the_key_of_a_row_that_was_refused_is_still_free(
    bench: Project, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    """Whether the refused row's commit is durable yet must not matter."""
    if commits:
        many_commits(monkeypatch)
    bench.rows([{"id": "a", "text": KEY}, *({"id": str(n), "text": "t"} for n in range(8)), {"id": "a", "text": "t"}])
    bench.pipeline(
        """
        - {name: skip, gate: "True", routes: {true: done, false: next}}
        - name: ask
          plugin: openai_batch_llm
          options: {base_url: "http://127.0.0.1:9/v1", api_key: "${KEY}", model: m, template: "{{ row.text }}"}
        """,
        source=KEYED,
        sinks=["done", "rejected"],
    )
    bench.run()
    assert codes(bench) == [(0, "secret")]
    assert bench.lines("done")[-1] == {"id": "a", "text": "t"}
    assert KEY.encode() not in bench.everything().replace((bench.folder / "rows.jsonl").read_bytes(), b"")


def test_rejected_records_keep_source_order_and_their_bytes(bench: Project) -> None:
    bench.write("rows.jsonl", b'{"id": "1", "text": "a"}\nnot json\n[1]\n{"id": "2", "text": "\xff"}\n{"id": "2"}\n')
    bench.pipeline(source="schema: {id: str, text: str}\non_invalid: rejected", sinks=["done", "rejected"])
    bench.run()
    rejected = bench.lines("rejected")
    assert [row["row"] for row in rejected] == [1, 2, 3, 4]
    assert rejected[0]["raw"].strip() == "not json"
    assert "raw" not in rejected[2]
    assert rejected[2]["raw_base64"].startswith("eyJpZCI6")
    assert [outcome[:4] for outcome in bench.outcomes()] == [
        (0, "completed", None, "done"),
        *((row, "quarantined", "source", "rejected") for row in (1, 2, 3, 4)),
    ]


def test_discarded_records_are_recorded_all_the_same(bench: Project) -> None:
    bench.write("rows.jsonl", b"not json\n")
    bench.pipeline(source="schema: {id: str}")
    result = bench.run()
    assert result.summary["rows"] == result.summary["bad_rows"] == 1
    assert [outcome[:4] for outcome in bench.outcomes()] == [(0, "quarantined", "source", None)]
    assert bench.outputs() == {"done.jsonl": b""}


def test_a_key_as_text() -> None:
    assert [key_text(value) for value in ("a", 1, 1.5, True, None, [1])] == ["a", "1", "1.5", "true", "null", "[1]"]


def test_a_key_that_is_a_date_is_iso_8601() -> None:
    assert key_text(date(2024, 2, 29)) == "2024-02-29"
    assert key_text(datetime(2024, 2, 29, 12, tzinfo=UTC)) == "2024-02-29T12:00:00+00:00"


def test_bytes_that_are_no_text_go_into_a_rejected_row_as_base64() -> None:
    error = {"code": "c", "message": "m"}
    assert rejected_row(3, error, b"ok") == {"row": 3, "code": "c", "message": "m", "raw": "ok"}
    assert rejected_row(3, error, b"\xff") == {"row": 3, "code": "c", "message": "m", "raw_base64": "/w=="}
