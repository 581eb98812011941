"""What ``diff`` says in words."""

from __future__ import annotations

from typing import Any

import pytest

from elspeth.cli.comparison import head_lines, lone_row_line, row_lines

A_FILE = {"name": "p.txt", "sha256": "aa"}
B_FILE = {"name": "p.txt", "sha256": "bb"}


def side(**values: Any) -> dict[str, Any]:
    return {
        "run": "01a",
        "pipeline": "p",
        "status": "completed",
        "started_at": "2026-01-01T00:00:00.000000Z",
        "simulated": False,
        "code_versions": ["1.0"],
        "money": {"spent_usd": 1.5},
        "usage": {},
        **values,
    }


def content(**values: Any) -> dict[str, Any]:
    rows = {"by": "key", "all": 2, "same": 2, "differ": 0, "only_a": 0, "only_b": 0, "differ_in": []}
    return {
        "a": side(),
        "b": side(run="01b"),
        "rows": {**rows, **values.pop("rows", {})},
        "outputs": [],
        "configuration": {"settings": [], "files": []},
        **values,
    }


def head(**values: Any) -> list[str]:
    return list(head_lines(content(**values)))


def test_the_summary_comes_first() -> None:
    assert [
        "A  run 01a  p  completed  2026-01-01T00:00:00.000000Z",
        "B  run 01b  p  completed  2026-01-01T00:00:00.000000Z",
        "2 rows by key: 2 same",
        "",
        "outputs: neither run has finished one",
        "configuration: the same settings and files",
        "code: elspeth 1.0 in both",
        "cost: no model was asked",
    ] == head()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            {"all": 1_000, "same": 985, "differ": 10, "only_a": 3, "only_b": 2,
             "differ_in": [{"what": "field", "name": "category", "rows": 10}]},
            "1,000 rows by key: 985 same, 10 differ in `category`, 3 only in A, 2 only in B",
        ),
        (
            {"by": "index", "all": 9, "same": 0, "differ": 9, "differ_in": [
                {"what": "route", "name": "risk", "rows": 8}, {"what": "outcome", "rows": 7},
                {"what": "sink", "rows": 6}, {"what": "failure", "rows": 5}, {"what": "record", "rows": 4},
                {"what": "field_order", "rows": 3}]},
            "9 rows by index: 0 same, 9 differ (8 in the route of risk, 7 in the outcome, 6 in the sink, "
            "5 in the failure, 4 in the source record, 3 in the order of fields)",
        ),
    ],
)  # fmt: skip
def test_rows_are_counted_by_what_they_differ_in(rows: dict[str, Any], expected: str) -> None:
    assert expected == head(rows=rows)[2]


@pytest.mark.parametrize(("a", "b", "expected"), [(True, True, "A and B"), (True, False, "A"), (False, True, "B")])
def test_simulated_answers_are_named(a: bool, b: bool, expected: str) -> None:
    assert f"SIMULATED ANSWERS in {expected}" == head(a=side(simulated=a), b=side(simulated=b))[2]


def test_outputs_that_differ_are_listed() -> None:
    outputs = [
        {"sink": "one", "same": True, "a": {}, "b": {}},
        {"sink": "two", "same": False, "a": {"records": 1_000, "sha256": "aa"}, "b": None},
    ]
    same_rows = "  every row is the same: their order, the format or the words of an error are not"
    listed = ["outputs: 1 of 2 have the same bytes", "  two: 1,000 rows, sha256 aa -> none"]
    assert [*listed, same_rows] == head(outputs=outputs)[4:7]
    assert same_rows not in head(outputs=outputs, rows={"same": 1, "differ": 1})


def test_settings_and_files_that_differ_are_shown() -> None:
    configuration = {
        "settings": [
            {"setting": "limits.max_cost_usd", "a": None, "b": 5},
            {"setting": "steps.new", "b": {"gate": "x"}},
            {"setting": "template", "a": "one\ntwo\n", "b": "one\n2\n"},
        ],
        "files": [
            {"file": "p.txt", "a": A_FILE, "b": B_FILE, "diff": ["--- A", "+++ B", "-x", "+y"]},
            {"file": "q.txt", "a": A_FILE, "b": B_FILE, "diff": []},
            {"file": "pipeline file", "a": {"name": "a.yaml", "sha256": "cc"}, "b": B_FILE, "diff": None},
            {"file": "p.txt", "b": B_FILE, "diff": None},
        ],
    }
    assert [
        "configuration: 3 settings and 4 files differ",
        "  limits.max_cost_usd: null -> 5",
        '  steps.new: (absent) -> {"gate": "x"}',
        "  template:",
        "    --- A",
        "    +++ B",
        "    @@ -1,2 +1,2 @@",
        "     one",
        "    -two",
        "    +2",
        "  p.txt: sha256 aa -> bb",
        "    --- A",
        "    +++ B",
        "    -x",
        "    +y",
        "  q.txt p.txt: sha256 aa -> bb, in line ends only",
        "  pipeline file a.yaml -> p.txt: sha256 cc -> bb",
        "  p.txt: only in B",
    ] == head(configuration=configuration)[5:-2]


def test_code_and_money() -> None:
    b = side(code_versions=["1.0", "1.1"], usage={"m": {"rows": 1_000}}, money={"spent_usd": None})
    assert ["code: elspeth 1.0 -> 1.0, 1.1", "cost: $1.50 -> unknown", "  m: rows 0 -> 1,000"] == head(b=b)[-3:]


def test_a_row_that_differs() -> None:
    a = {"row": 1, "hash": "aa", "routes": {"risk": "true"}, "outcome": "routed", "sink": "urgent", "step": "risk",
         "reason": None}  # fmt: skip
    b = {"row": 2, "hash": "bb", "routes": {}, "outcome": "failed", "sink": None, "step": "ask", "reason": "schema"}
    words = ("field", "route", "outcome", "sink", "failure", "field_order", "record")
    row = {
        "key": "K",
        "a": a,
        "b": b,
        "differs": [{"what": word, **({"name": "risk"} if word in {"field", "route"} else {})} for word in words],
        "fields": {"risk": {"a": "x", "b": ["é"]}},
        "answers": [{"step": "ask", "request": "identical", "a": {"c": 1}, "b": None}],
    }
    assert [
        "key K  (row 1 in A, row 2 in B)",
        '  risk: "x" -> ["é"]',
        "  route of risk: true -> -",
        "  outcome: routed -> failed",
        "  sink: urgent -> -",
        "  failure: - -> ask (schema)",
        "  the order of fields: sha256 aa -> bb",
        "  the source record: sha256 aa -> bb",
        '  answer of ask: {"c": 1} -> null  (the same request, byte for byte)',
    ] == list(row_lines(row))
    assert "row 1  (row 1 in A, row 2 in B)" == next(row_lines({**row, "key": None}))
    assert "key K  (row 1)  routed, sink urgent" == lone_row_line({"key": "K", **a})
    assert "row 2  failed (schema)" == lone_row_line({"key": None, **b})
    assert "row 2  no outcome yet" == lone_row_line({"key": None, **b, "outcome": None, "reason": None})
