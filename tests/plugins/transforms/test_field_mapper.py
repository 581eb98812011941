"""What the field mapper does with fields, in the graph and in rows."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from elspeth.contracts import Diagnostic, Fields, FieldType, PipelineError, TransformResult
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.transforms import field_mapper
from elspeth.plugins.transforms.field_mapper import FieldMapperOptions, FieldMapperTransform
from elspeth.testing import FakeContext

ABC = Fields({"a": FieldType.INT, "b": FieldType.STR, "c": None})


def mapper(**options: Any) -> FieldMapperTransform:
    return FieldMapperTransform(parse_options(FieldMapperOptions, options, OptionsContext()))


def process(transform: FieldMapperTransform, row: dict[str, Any]) -> TransformResult:
    return transform.process(row, FakeContext())


def out(transform: FieldMapperTransform, row: dict[str, Any]) -> list[tuple[str, Any]]:
    (only,) = process(transform, row).rows
    return list(only.items())


def diagnostics(transform: FieldMapperTransform, fields: Fields) -> tuple[Diagnostic, ...]:
    with pytest.raises(PipelineError) as refusal:
        transform.output_fields(fields)
    return refusal.value.diagnostics


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("a", 1), ("b", 2), ("c", 3)]),
        ({"rename": {"b": "x"}}, [("a", 1), ("x", 2), ("c", 3)]),
        ({"rename": {"a": "b", "b": "a"}}, [("b", 1), ("a", 2), ("c", 3)]),
        ({"rename": {"a": "b", "b": "x"}}, [("b", 1), ("x", 2), ("c", 3)]),
        ({"rename": {"a": "a"}}, [("a", 1), ("b", 2), ("c", 3)]),
        ({"drop": ["b"]}, [("a", 1), ("c", 3)]),
        ({"drop": ["a", "b", "c"]}, []),
        ({"constants": {"k": "v", "n": None}}, [("a", 1), ("b", 2), ("c", 3), ("k", "v"), ("n", None)]),
        ({"select": ["c", "a"]}, [("c", 3), ("a", 1)]),
        ({"select": ["c"]}, [("c", 3)]),
        (
            {"rename": {"a": "x"}, "drop": ["b"], "constants": {"k": 7}, "select": ["k", "x"]},
            [("k", 7), ("x", 1)],
        ),
        ({"rename": {"a": "x"}, "constants": {"a": 0}}, [("x", 1), ("b", 2), ("c", 3), ("a", 0)]),
        ({"drop": ["a"], "constants": {"a": 0}}, [("b", 2), ("c", 3), ("a", 0)]),
        ({"rename": {"a": "b"}, "overwrite": True}, [("b", 1), ("c", 3)]),
        ({"rename": {"c": "a"}, "overwrite": True}, [("b", 2), ("a", 3)]),
        ({"constants": {"b": 0}, "overwrite": True}, [("a", 1), ("b", 0), ("c", 3)]),
    ],
)
def test_fields_are_renamed_dropped_added_and_selected_in_this_order(
    options: dict[str, Any], expected: list[tuple[str, Any]]
) -> None:
    transform = mapper(**options)

    assert out(transform, {"a": 1, "b": 2, "c": 3}) == expected
    assert list(transform.output_fields(ABC).names) == [name for name, _ in expected]


def test_types_follow_the_fields() -> None:
    fields = mapper(
        rename={"a": "b", "b": "a"},
        constants={"s": "x", "i": 1, "f": 1.5, "t": True, "l": [], "o": {}, "n": None},
    ).output_fields(ABC)

    assert fields == Fields(
        {
            "b": FieldType.INT, "a": FieldType.STR, "c": None, "s": FieldType.STR, "i": FieldType.INT,
            "f": FieldType.FLOAT, "t": FieldType.BOOL, "l": FieldType.JSON, "o": FieldType.JSON, "n": None,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "path", "code"),
    [
        ({"rename": {"subjct": "x"}}, ("rename", "subjct"), "FIELD_UNKNOWN"),
        ({"drop": ["body", "subjct"]}, ("drop", 1), "FIELD_UNKNOWN"),
        ({"select": ["subjct"]}, ("select", 0), "FIELD_UNKNOWN"),
        ({"rename": {"subject": "x"}, "drop": ["subject"]}, ("drop", 0), "FIELD_UNKNOWN"),
        ({"drop": ["subject"], "select": ["subject"]}, ("select", 0), "FIELD_UNKNOWN"),
        ({"rename": {"subject": "body"}}, ("rename", "subject"), "FIELD_EXISTS"),
        ({"constants": {"body": 1}}, ("constants", "body"), "FIELD_EXISTS"),
        ({"rename": {"subject": "k"}, "constants": {"k": 1}}, ("constants", "k"), "FIELD_EXISTS"),
    ],
)
def test_fields_that_cannot_be_are_errors_of_the_pipeline(
    options: dict[str, Any], path: tuple[str | int, ...], code: str
) -> None:
    (found,) = diagnostics(mapper(**options), Fields({"subject": None, "body": None}))

    assert (found.path, found.code) == (path, code)
    assert found.hint


def test_a_misspelt_field_gets_a_hint() -> None:
    (found,) = diagnostics(mapper(rename={"subjct": "x"}), Fields({"subject": None, "body": None}))

    assert (found.hint, found.on_key) == ("did you mean 'subject'?", True)


def test_all_faults_are_told_at_once() -> None:
    found = diagnostics(mapper(rename={"x": "y", "a": "b"}, drop=["z"], constants={"c": 1}), ABC)

    assert [fault.path for fault in found] == [("rename", "x"), ("rename", "a"), ("drop", 0), ("constants", "c")]


def test_an_open_row_may_have_any_field() -> None:
    fields = Fields({"a": FieldType.INT}, is_open=True)
    options = {"rename": {"x": "y"}, "drop": ["z"]}

    assert mapper(**options).output_fields(fields) == Fields({"a": FieldType.INT, "y": None}, is_open=True)
    assert mapper(select=["q", "a"]).output_fields(fields) == Fields({"q": None, "a": FieldType.INT})


@pytest.mark.parametrize("options", [{"rename": {"x": "y"}}, {"select": ["a", "x"]}])
def test_a_row_without_the_field_is_an_error_of_that_row(options: dict[str, Any]) -> None:
    failure = process(mapper(**options), {"a": 1}).failure

    assert failure is not None
    assert failure.code == "missing_field"
    assert "'x'" in failure.message
    assert failure.detail == {"field": "x", "option": next(iter(options))}


def test_a_row_without_a_field_to_drop_needs_nothing_done() -> None:
    assert out(mapper(drop=["x"]), {"a": 1}) == [("a", 1)]


def test_a_field_in_the_way_is_an_error_of_that_row() -> None:
    failure = process(mapper(rename={"x": "y"}), {"x": 1, "y": 2}).failure

    assert failure is not None
    assert failure.code == "field_exists"


def test_rows_of_different_fields_do_not_mix_up_their_plans() -> None:
    transform = mapper(rename={"x": "y"})

    assert out(transform, {"x": 1, "b": 2}) == [("y", 1), ("b", 2)]
    assert out(transform, {"b": 2, "x": 1}) == [("b", 2), ("y", 1)]
    assert process(transform, {"b": 2}).failure is not None
    assert out(transform, {"x": 3, "b": 4}) == [("y", 3), ("b", 4)]


def test_rows_of_ever_new_fields_need_no_ever_growing_memory() -> None:
    transform = mapper(drop=["x"])
    for number in range(2 * field_mapper._PLAN_LIMIT):
        assert out(transform, {f"f{number}": 1}) == [(f"f{number}", 1)]

    assert len(transform._plans) <= field_mapper._PLAN_LIMIT


def test_a_constant_that_can_change_is_each_rows_own() -> None:
    transform = mapper(constants={"tags": ["x"]})
    (first,), (second,) = process(transform, {}).rows, process(transform, {}).rows
    first["tags"].append("y")

    assert second == {"tags": ["x"]}


@pytest.mark.parametrize(
    "options",
    [
        {"rename": {"a": "x", "b": "x"}},
        {"select": []},
        {"select": ["a", "a"]},
        {"drop": ["a", "a"]},
        {"constants": {"a": "\ud800"}},
        {"renames": {}},
        {"rename": ["a"]},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mapper(**options)
