"""The words of a replay."""

from __future__ import annotations

from typing import Any

from elspeth.cli.replay_commands import _lines

OUTPUT = {"sink": "out", "sha256": "aa", "recorded_sha256": "aa", "rows": 1, "recorded_rows": 1, "is_identical": True}
CONTENT: dict[str, Any] = {
    "run": "01k9x",
    "simulated": False,
    "rows_replayed": 1_000,
    "outputs": [OUTPUT, {**OUTPUT, "sink": "more"}],
    "differences": {"rows": 0},
    "rows": [],
    "unreplayable": {},
    "asked_anew": {},
    "not_recomputed": {},
}


def lines(**content: Any) -> list[str]:
    return list(_lines({**CONTENT, **content}))


def test_one_line_says_that_all_is_as_it_was() -> None:
    assert ["replayed 1,000 rows of run 01k9x: 2 outputs identical byte for byte"] == lines()


def test_differences_stand_by_sort_with_both_sides() -> None:
    place = {"sort": "field", "row": 4, "step": "ask", "field": "text"}
    assert [
        "field: recorded -> replayed (the first 2 of 3; --limit shows more)",
        '  row 4  ask  text: "a" -> null',
        '  row 4  ask  text: (absent) -> "ü"',
        "payload: recorded -> replayed",
        '  ask  batch 1: 000004-x.zst (sha256): "aa" -> "bb"',
        "output out: 1 row, sha256 aa -> none",
        "replayed 1,000 rows of run 01k9x: 1 of 2 outputs identical byte for byte · "
        "1 row differs (3 fields, 1 payload, 2 replies)",
    ] == lines(
        differences={"rows": 1, "field": 3, "payload": 1, "reply": 2},
        rows=[
            {**place, "recorded": "a", "replayed": None},
            {**place, "replayed": "ü"},
            {
                "sort": "payload", "row": None, "step": "ask", "field": "batch 1: 000004-x.zst (sha256)",
                "recorded": "aa", "replayed": "bb",
            },
        ],
        outputs=[{**OUTPUT, "rows": None, "sha256": None, "is_identical": False}, OUTPUT],
    )  # fmt: skip


def test_rows_that_cannot_go_on_are_counted_and_named() -> None:
    many = [[n * 2, n * 2] for n in range(11)]
    assert [
        "2 rows cannot be replayed, the bytes of their rows are gone: 1-2",
        "11 rows would be asked anew at ask: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, ...",
        "taken from the record, not recomputed: 3 rows that would have held a secret",
        "replayed 1,000 rows of run 01k9x: 2 outputs identical byte for byte · 2 rows not replayable · "
        "11 rows to be asked anew · SIMULATED ANSWERS",
    ] == lines(
        simulated=True,
        unreplayable={"rows": {"rows": 2, "ranges": [[1, 2]]}},
        asked_anew={"ask": {"rows": 11, "ranges": many}},
        not_recomputed={"rows that would have held a secret": 3},
    )


def test_a_long_value_is_cut_with_its_length() -> None:
    difference = {"sort": "request", "row": 0, "step": "ask", "field": "request", "recorded": "x" * 3_000}
    _, line, *_ = lines(differences={"rows": 1, "request": 1}, rows=[difference])
    assert line.endswith("xxx... (3,002 characters) -> (absent)")
