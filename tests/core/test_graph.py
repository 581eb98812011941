"""The graph: numbers, edges, everything that can be wrong in it, and the fields that flow through it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from elspeth.contracts import Diagnostic, Fields, FieldType, NodeKind, PipelineError
from elspeth.core import graph as graph_module
from elspeth.core.expressions import Expression
from elspeth.core.graph import Edge, Graph, Node, SinkNode, StepNode, build_graph, route_label, trace_fields

INT, STR = FieldType.INT, FieldType.STR


def step(name: str, *, next: str = "next", on_error: str = "discard") -> StepNode:
    return StepNode(name=name, plugin="p", next=next, on_error=on_error)


def gate(name: str, routes: Mapping[str, str], *, is_boolean: bool = False, on_error: str = "discard") -> StepNode:
    return StepNode(name=name, plugin=None, kind=NodeKind.GATE, routes=routes, is_boolean=is_boolean, on_error=on_error)


def sinks(*names: str) -> list[SinkNode]:
    return [SinkNode(name=name, plugin="s") for name in names]


def build(
    steps: list[StepNode], sink_names: tuple[str, ...], output: str | None = None, on_invalid: str = "discard"
) -> Graph:
    return build_graph(source_plugin="csv", steps=steps, sinks=sinks(*sink_names), output=output, on_invalid=on_invalid)


def faults(
    steps: list[StepNode], sink_names: tuple[str, ...], output: str | None = None, on_invalid: str = "discard"
) -> list[Diagnostic]:
    with pytest.raises(PipelineError) as caught:
        build(steps, sink_names, output, on_invalid)
    return list(caught.value.diagnostics)


def short(diagnostics: list[Diagnostic]) -> list[tuple[str, tuple[str | int, ...], str, str | None]]:
    return [(d.code, d.path, d.message, d.hint) for d in diagnostics]


def test_public_names_are_sorted_and_complete() -> None:
    assert sorted(graph_module.__all__) == graph_module.__all__


def test_nodes_are_numbered_source_steps_sinks_in_file_order() -> None:
    graph = build([step("b"), gate("a", {"true": "z", "false": "next"})], ("z", "y"), "y")
    assert graph.nodes == (
        Node(0, "source", NodeKind.SOURCE, "csv"),
        Node(1, "b", NodeKind.TRANSFORM, "p"),
        Node(2, "a", NodeKind.GATE, None),
        Node(3, "z", NodeKind.SINK, "s"),
        Node(4, "y", NodeKind.SINK, "s"),
    )


def test_edges_follow_the_file_and_the_last_step_leads_to_the_output() -> None:
    graph = build(
        [step("tidy", on_error="failed"), gate("risk", {"true": "failed", "false": "next"})],
        ("done", "failed"),
        "done",
        on_invalid="failed",
    )
    assert graph.edges == (
        Edge(0, "next", 1),
        Edge(0, "on_invalid", 4),
        Edge(1, "next", 2),
        Edge(1, "on_error", 4),
        Edge(2, "route:true", 4),
        Edge(2, "route:false", 3),
        Edge(2, "on_error", None),
    )
    assert graph.successors(2) == {"route:true": 4, "route:false": 3, "on_error": None}
    assert graph.output == graph.node("done").number == 3
    assert frozenset(range(5)) == graph.reachable()


def test_a_pipeline_without_steps_leads_from_source_to_its_only_sink() -> None:
    graph = build([], ("out",))
    assert graph.edges == (Edge(0, "next", 1), Edge(0, "on_invalid", None))


def test_two_labels_may_lead_to_one_sink() -> None:
    graph = build([gate("g", {"a": "x", "b": "x", "default": "next"})], ("x", "out"), "out")
    assert graph.successors(1) == {"route:a": 2, "route:b": 2, "route:default": 3, "on_error": None}


def test_a_route_label_may_be_a_keyword_of_targets() -> None:
    graph = build([gate("g", {"next": "x", "discard": "next"})], ("x", "out"), "out")
    assert graph.successors(1) == {"route:next": 2, "route:discard": 3, "on_error": None}


def test_a_step_may_lead_past_the_steps_below() -> None:
    graph = build([gate("g", {"true": "b", "false": "next"}), step("a", next="out"), step("b")], ("out",))
    assert graph.successors(2)["next"] == graph.node("out").number


def test_an_unknown_node_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        build([], ("out",)).node("nowhere")


def test_a_name_has_one_meaning() -> None:
    found = faults([step("a"), step("a"), step("out")], ("out",))
    assert short(found) == [
        ("DUPLICATE_NAME", ("steps", 1, "name"), "'a' is already the name of step 1", None),
        ("DUPLICATE_NAME", ("sinks", "out"), "'out' is already the name of step 3", None),
    ]
    assert [d.on_key for d in found] == [False, True]


@pytest.mark.parametrize("name", ["next", "discard", "default", "source"])
def test_words_with_a_meaning_are_no_names(name: str) -> None:
    message = f"{name!r} has a meaning of its own and cannot be a name"
    assert ("RESERVED_NAME", ("steps", 0, "name"), message, None) in short(faults([step(name)], ("out",)))


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "ä", "a" * 64, "a\n"])
def test_a_name_fits_into_paths_and_tables(name: str) -> None:
    assert faults([step(name)], ("out",))[0].code == "BAD_NAME"


def test_targets_must_exist_and_be_later() -> None:
    steps = [
        step("first", next="fisrt_sink"),
        gate("second", {"a": "first", "b": "second", "c": "discard", "d": "thrid"}),
        step("third"),
    ]
    assert short(faults(steps, ("first_sink",))) == [
        ("UNKNOWN_TARGET", ("steps", 0, "next"), "there is no step or sink 'fisrt_sink'", "did you mean 'first_sink'?"),
        (
            "EARLIER_TARGET",
            ("steps", 1, "routes", "a"),
            "'first' is an earlier step; rows only go forward",
            None,
        ),
        ("EARLIER_TARGET", ("steps", 1, "routes", "b"), "'second' is this step itself; rows only go forward", None),
        (
            "UNKNOWN_TARGET",
            ("steps", 1, "routes", "c"),
            "there is no step or sink 'discard'",
            "rows that go on need a sink; add one for those you do not want",
        ),
        ("UNKNOWN_TARGET", ("steps", 1, "routes", "d"), "there is no step or sink 'thrid'", "did you mean 'third'?"),
    ]


def test_failed_rows_go_to_a_sink() -> None:
    found = faults([step("a", on_error="b"), step("b", on_error="flaied")], ("out", "failed"), "out", "a")
    assert short(found) == [
        (
            "UNKNOWN_TARGET",
            ("source", "on_invalid"),
            "'a' is a step; failed rows go to a sink",
            "a sink's name, or discard",
        ),
        (
            "UNKNOWN_TARGET",
            ("steps", 0, "on_error"),
            "'b' is a step; failed rows go to a sink",
            "a sink's name, or discard",
        ),
        ("UNKNOWN_TARGET", ("steps", 1, "on_error"), "'flaied' is no sink", "did you mean 'failed'?"),
    ]


def test_several_sinks_need_an_output() -> None:
    assert short(faults([], ("a", "b"))) == [
        (
            "MISSING_KEY",
            (),
            "with several sinks, 'output' must name the one after the last step",
            "add output: a",
        )
    ]


def test_the_output_is_a_sink() -> None:
    assert short(faults([step("tidy")], ("out",), "tidy")) == [
        ("UNKNOWN_TARGET", ("output",), "there is no sink 'tidy'", "the sinks are out")
    ]


def test_there_must_be_a_sink() -> None:
    assert faults([], ())[0].code == "MISSING_KEY"


def test_an_unreachable_step_and_an_unused_sink_are_errors() -> None:
    steps = [gate("g", {"true": "out", "false": "out"}, is_boolean=True), step("never", on_error="lost")]
    assert short(faults(steps, ("out", "lost"), "out")) == [
        ("UNREACHABLE_STEP", ("steps", 1, "name"), "no row can reach the step 'never'", None),
        (
            "UNUSED_SINK",
            ("sinks", "lost"),
            "no row can reach the sink 'lost'",
            "name it in output, next, routes, on_error or on_invalid, or remove it",
        ),
    ]


def test_a_boolean_gate_needs_both_routes_and_has_no_others() -> None:
    found = faults([gate("g", {"true": "next", "yes": "out"}, is_boolean=True)], ("out",))
    assert short(found) == [
        ("MISSING_ROUTE", ("steps", 0, "routes"), "the gate has no route for false", "add false: next"),
        (
            "IMPOSSIBLE_ROUTE",
            ("steps", 0, "routes", "yes"),
            "the gate is true or false, so the route 'yes' is never taken",
            "the labels are true and false",
        ),
    ]


def test_a_default_route_serves_the_missing_label() -> None:
    build([gate("g", {"true": "next", "default": "out"}, is_boolean=True)], ("out",))


def test_a_gate_with_other_values_needs_no_default() -> None:
    build([gate("g", {"urgent": "out"})], ("out",))


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (-7, "-7"),
        ("urgent", "urgent"),
        (1.0, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_value_names_a_route_by_its_text_so_true_is_not_1(value: object, label: str | None) -> None:
    assert label == route_label(value)


def test_a_huge_number_names_no_route() -> None:
    assert route_label(1 << 100_000) is None


def traced_graph() -> Graph:
    steps = [
        step("add", on_error="failed"),
        gate("g", {"a": "late", "b": "next"}),
        step("more"),
        step("late"),
    ]
    return build(steps, ("out", "failed"), "out")


def add_fields(number: int, fields: Fields) -> Fields:
    added = {1: {"x": INT}, 3: {"x": STR, "y": INT}, 4: {}}[number]
    return Fields({**fields.types, **added})


def test_fields_are_united_where_edges_meet() -> None:
    traced = trace_fields(traced_graph(), Fields({"id": INT}), add_fields, lambda _: Expression.parse("row['x']"))
    assert traced.diagnostics == ()
    assert traced.inputs[2] == Fields({"id": INT, "x": INT})
    assert traced.inputs[4] == Fields({"id": INT, "x": None, "y": INT})
    assert traced.inputs[5] == Fields({"id": INT, "x": None, "y": INT})
    assert traced.outputs[3] == Fields({"id": INT, "x": STR, "y": INT})


def test_a_failed_row_has_the_fields_with_which_it_arrived() -> None:
    traced = trace_fields(traced_graph(), Fields({"id": INT}), add_fields, lambda _: None)
    assert traced.inputs[6] == Fields({"id": INT})


def test_invalid_records_add_no_fields() -> None:
    graph = build([step("a", on_error="bad")], ("out", "bad"), "out", on_invalid="bad")
    traced = trace_fields(graph, Fields({"id": INT}), lambda _, __: Fields({"z": INT}), lambda _: None)
    assert traced.inputs[3] == Fields({"id": INT})


def test_open_fields_stay_open_downstream() -> None:
    traced = trace_fields(
        traced_graph(), Fields({}, is_open=True), lambda _, f: f, lambda _: Expression.parse("row['q']")
    )
    assert traced.diagnostics == ()
    assert traced.inputs[5].is_open


def test_a_gate_that_reads_what_nobody_produces_is_told_where() -> None:
    expression = Expression.parse("row['id'] > 1 and row.get('nmae') == row['zzz']")
    traced = trace_fields(traced_graph(), Fields({"id": INT, "name": STR}), lambda _, f: f, lambda _: expression)
    assert [(d.code, d.path, d.offset, d.message, d.hint) for d in traced.diagnostics] == [
        (
            "FIELD_UNKNOWN",
            ("steps", 1, "gate"),
            18,
            "no earlier step produces the field 'nmae'",
            "did you mean 'name'?",
        ),
        (
            "FIELD_UNKNOWN",
            ("steps", 1, "gate"),
            37,
            "no earlier step produces the field 'zzz'",
            "the fields are id, name",
        ),
    ]


def test_a_steps_own_complaint_gets_its_place_and_hides_what_follows_from_it() -> None:
    def refuse(number: int, fields: Fields) -> Fields:
        if number == 1:
            raise PipelineError([Diagnostic(path=("template",), code="FIELD_UNKNOWN", message="m", offset=3)])
        return fields

    traced = trace_fields(traced_graph(), Fields({"id": INT}), refuse, lambda _: Expression.parse("row['x']"))
    assert traced.diagnostics == (
        Diagnostic(path=("steps", 0, "options", "template"), code="FIELD_UNKNOWN", message="m", offset=3),
    )
    assert traced.inputs[2].is_open
