from __future__ import annotations

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.contracts import RunError, RunStatus, UnrecordedCallError

LABELS = ["true", "false", "next", "default", "null", "on_error", "done"]


def routes_of(bench: Project) -> dict[int, str]:
    return dict(bench.query("SELECT row_index, route FROM v_states WHERE route IS NOT NULL"))


def test_a_gate_sends_rows_by_label_by_default_and_on(bench: Project) -> None:
    bench.rows([{"kind": kind} for kind in ("a", "b", "c", "a")])
    bench.pipeline(
        "- {name: sort, gate: \"row['kind']\", routes: {a: first, b: next, default: rest}}",
        source="schema: {kind: str}",
        sinks=["done", "first", "rest"],
    )
    assert bench.run().status is RunStatus.COMPLETED
    assert [bench.lines(sink) for sink in ("first", "done", "rest")] == [
        [{"kind": "a"}, {"kind": "a"}],
        [{"kind": "b"}],
        [{"kind": "c"}],
    ]
    assert bench.outcomes() == [
        (0, "routed", "sort", "first", 1, None),
        (1, "completed", None, "done", 1, None),
        (2, "routed", "sort", "rest", 1, None),
        (3, "routed", "sort", "first", 2, None),
    ]
    assert routes_of(bench) == {0: "a", 1: "b", 2: "default", 3: "a"}


def test_tokens_that_go_the_same_way_have_one_journey(bench: Project) -> None:
    bench.rows([{"kind": kind} for kind in ("a", "b", "a", "z", "a")])
    bench.pipeline(
        "- {name: label, plugin: field_mapper, options: {constants: {source: crm}}}\n"
        "- {name: sort, gate: \"row['kind']\", routes: {a: first, b: next}, on_error: failed}",
        source="schema: {kind: str}",
        sinks=["done", "first", "failed"],
    )
    assert bench.run().exit_code == 0
    rows = bench.query("SELECT group_concat(row_index) FROM passages GROUP BY journey_no ORDER BY min(row_index)")
    assert [("0,2,4",), ("1",), ("3",)] == rows
    steps = "SELECT route FROM journeys j JOIN passages p USING (commit_no, journey_no) WHERE row_index = {}"
    assert [(None,), ("a",)] == bench.query(f"{steps.format(0)} ORDER BY place")
    assert [(None,), (None,)] == bench.query(f"{steps.format(3)} ORDER BY place")


def test_a_value_without_a_route_and_a_gate_that_fails_go_to_on_error_with_the_reason(bench: Project) -> None:
    bench.rows([{"n": 1}, {"n": 0}, {"n": 5}])
    bench.pipeline(
        "- {name: sort, gate: \"10 // row['n']\", routes: {10: next}, on_error: failed}",
        source="schema: {n: int}",
        sinks=["done", "failed"],
    )
    assert bench.run().exit_code == 0
    failed = bench.lines("failed")
    assert [(row["n"], row["_error"]["step"], row["_error"]["code"]) for row in failed] == [
        (0, "sort", "gate"),
        (5, "sort", "gate"),
    ]
    assert "zero" in failed[0]["_error"]["message"]
    assert failed[1]["_error"]["message"] == "the value '2' has no route"


def test_two_routes_lead_to_one_sink(bench: Project) -> None:
    bench.rows([{"n": n} for n in (1, 2, 3)])
    bench.pipeline(
        "- {name: sort, gate: \"row['n']\", routes: {1: odd, 2: next, 3: odd}}",
        source="schema: {n: int}",
        sinks=["done", "odd"],
    )
    bench.run()
    assert bench.lines("odd") == [{"n": 1}, {"n": 3}]
    assert routes_of(bench) == {0: "1", 1: "2", 2: "3"}


def test_route_labels_may_look_like_keywords(bench: Project) -> None:
    bench.rows([{"kind": kind} for kind in LABELS])
    routes = ", ".join(f'"{label}": sink{n}' for n, label in enumerate(LABELS[:-1])) + ', "done": next'
    bench.pipeline(
        f"- {{name: sort, gate: \"row['kind']\", routes: {{{routes}}}}}",
        source="schema: {kind: str}",
        sinks=["done", *(f"sink{n}" for n in range(len(LABELS) - 1))],
    )
    bench.run()
    assert [bench.lines(f"sink{n}") for n in range(len(LABELS) - 1)] == [[{"kind": label}] for label in LABELS[:-1]]
    assert bench.lines("done") == [{"kind": "done"}]


def test_a_route_may_skip_to_a_later_step_and_rows_meet_again_in_order(bench: Project) -> None:
    bench.rows([{"n": n} for n in range(6)])
    bench.pipeline(
        """
        - {name: sort, gate: "row['n'] % 2 == 0", routes: {true: last, false: next}}
        - {name: mark, plugin: field_mapper, options: {constants: {marked: true}}}
        - {name: last, plugin: field_mapper, options: {rename: {n: number}}}
        """,
        source="schema: {n: int}",
    )
    bench.run()
    assert [(row["number"], row.get("marked")) for row in bench.lines("done")] == [
        (n, True if n % 2 else None) for n in range(6)
    ]


@pytest.mark.usefixtures("odd_plugins")
def test_a_step_where_routes_meet_gets_the_rows_in_the_order_of_the_source(bench: Project) -> None:
    bench.rows([{"n": n, "mode": "same" if n % 5 else "fail"} for n in range(700)])
    bench.pipeline(
        """
        - {name: sort, gate: "row['n'] % 3", routes: {"0": meet, "1": early, "2": next}}
        - {name: late, plugin: vary, on_error: failed}
        - {name: early, plugin: field_mapper, options: {constants: {marked: true}}}
        - {name: meet, plugin: count}
        """,
        source="schema: {n: int, mode: str}",
        sinks=["done", "failed"],
    )
    bench.run()
    done = bench.lines("done")
    assert list(range(1, len(done) + 1)) == [row["count"] for row in done]
    assert [n for n in range(700) if n % 3 != 2 or n % 5] == [row["n"] for row in done]
    assert [n for n in range(700) if n % 3 == 2 and not n % 5] == [row["n"] for row in bench.lines("failed")]


@pytest.mark.usefixtures("odd_plugins")
def test_a_value_of_another_type_with_the_same_bytes_comes_back_from_the_trail_as_that_type(
    bench: Project, serve: Serve
) -> None:
    """A date made of its text; behind the batch the row is read again, and must be what it was."""
    bench.rows([{"due": "2024-02-29"}])
    bench.pipeline(
        "- {name: parse, plugin: to_date}\n" + ask(serve(), template="{{ row.due }}", poll_interval_seconds=0.01),
        source="schema: {due: str}",
        sinks=["done", "failed"],
    )

    assert bench.run().status is RunStatus.COMPLETED

    assert ["2024-02-29"] == [row["due"] for row in bench.lines("done")]


@pytest.mark.usefixtures("odd_plugins")
def test_a_date_that_is_moved_and_no_longer_declared_has_no_bytes(bench: Project) -> None:
    bench.rows([{"due": "2024-02-29"}])
    bench.pipeline(
        "- {name: pick, plugin: undeclare, on_error: failed}", source="schema: {due: date}", sinks=["done", "failed"]
    )

    bench.run()

    assert [(0, "failed", "pick", "failed", 1, "not_encodable")] == bench.outcomes()


@pytest.mark.usefixtures("odd_plugins")
def test_a_bulk_transform_that_loses_a_row_ends_the_run(bench: Project) -> None:
    bench.rows([{"n": n} for n in range(3)])
    bench.pipeline("- {name: lose, plugin: lose_one}", source="schema: {n: int}")
    result = bench.run()
    assert isinstance(result.error, RunError)
    assert result.error.message == "step 'lose' made 2 rows of 3"


@pytest.mark.usefixtures("odd_plugins")
def test_a_transform_that_changes_its_row_and_then_fails_hands_it_on_as_it_came(bench: Project) -> None:
    rows = [{"text": "one", "bad": True, "list": ["a"]}, {"text": "two", "bad": False, "list": ["b"]}]
    bench.rows(rows)
    bench.pipeline(
        "- {name: spoil, plugin: spoil_then_fail, on_error: failed}",
        source="schema: {text: str, bad: bool, list: json}",
        sinks=["done", "failed"],
    )
    bench.run()
    error = {"step": "spoil", "code": "spoilt", "message": "changed and failed"}
    assert bench.lines("failed") == [{**rows[0], "_error": error}]
    assert bench.lines("done") == [{"text": "spoilt", "bad": False, "list": ["b", "spoilt"]}]


@pytest.mark.usefixtures("odd_plugins")
def test_a_transform_that_returns_nan_fails_that_row_alone(bench: Project) -> None:
    bench.rows([{"bad": False}, {"bad": True}])
    bench.pipeline(
        "- {name: divide, plugin: return_nan, on_error: failed}",
        source="schema: {bad: bool}",
        sinks=["done", "failed"],
    )
    bench.run()
    assert bench.lines("done") == [{"bad": False, "ratio": 0.5}]
    (failed,) = bench.lines("failed")
    assert (failed["bad"], failed["_error"]["code"]) == (True, "not_encodable")
    assert "ratio" not in failed


@pytest.mark.usefixtures("odd_plugins")
def test_several_rows_of_one_are_an_error_that_says_so(bench: Project) -> None:
    bench.rows([{"text": "a"}])
    bench.pipeline("- {name: double, plugin: return_two}", source="schema: {text: str}")
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 3)
    assert isinstance(result.error, RunError)
    assert result.error.message == "step 'double' made 2 rows of row 0"
    assert result.error.hint is not None
    assert not (bench.folder / "out" / "done.jsonl").exists()


@pytest.mark.usefixtures("odd_plugins")
def test_a_row_that_would_hold_a_secret_fails_and_no_trace_of_it_stays(bench: Project) -> None:
    bench.rows([{"bad": False, "leak": True}, {"bad": True, "leak": False}, {"bad": False, "leak": False}])
    bench.environ["OTHER"] = "x"
    bench.pipeline(
        """
        - {name: echo, plugin: echo_secret, on_error: failed}
        - {name: note, plugin: tell_call}
        - {name: none, gate: "True", routes: {true: next, false: ask}}
        - {name: skip, gate: "True", routes: {true: done, false: next}}
        - name: ask
          plugin: openai_batch_llm
          options: {base_url: "http://127.0.0.1:9/v1", api_key: "${KEY}", model: m, template: "{{ row.bad }}"}
        """,
        source="schema: {bad: bool, leak: bool}",
        sinks=["done", "failed"],
    )
    assert bench.run().status is RunStatus.COMPLETED
    assert [row["_error"]["code"] for row in bench.lines("failed")] == ["secret", "leak"]
    assert "[REDACTED]" in bench.lines("failed")[1]["_error"]["message"]
    assert bench.environ["KEY"].encode() not in bench.everything()


@pytest.mark.usefixtures("odd_plugins")
def test_a_plugin_that_reaches_out_by_itself_fails_the_run_even_if_it_swallows_the_error(bench: Project) -> None:
    bench.rows([{"text": "a"}])
    bench.pipeline("- {name: sneak, plugin: reach_out}", source="schema: {text: str}")
    result = bench.run()
    assert isinstance(result.error, UnrecordedCallError)
    assert result.exit_code == 3
    assert bench.query("SELECT COUNT(*) FROM rows") == [(0,)]


@pytest.mark.usefixtures("odd_plugins")
def test_a_bug_in_a_plugin_is_raised_and_the_trail_says_that_the_run_failed(bench: Project) -> None:
    bench.rows([{"text": "a"}])
    bench.pipeline("- {name: buggy, plugin: break}", source="schema: {text: str}")
    with pytest.raises(ZeroDivisionError):
        bench.run()
    assert bench.query("SELECT status FROM v_runs") == [("failed",)]


@pytest.mark.usefixtures("odd_plugins")
def test_a_call_of_a_transform_is_recorded_on_behalf_of_its_step(bench: Project) -> None:
    bench.rows([{"text": "a"}, {"text": "b"}])
    bench.pipeline("- {name: note, plugin: tell_call}", source="schema: {text: str}")
    bench.run()
    assert bench.query("SELECT step, operation, status FROM v_calls") == [("note", "other", "success")] * 2
