from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies
from tests.plugins.llm.conftest import load

from elspeth.contracts import BatchFault, BatchState, FileState, TransientError
from elspeth.plugins.llm.batch_objects import decoded, parse_batch, parse_file, parse_page

P, C, F = BatchState.PENDING, BatchState.COMPLETED, BatchState.FAILED
EXPECTED: dict[str, tuple[BatchState, str | None, str | None, tuple[BatchFault, ...]]] = {
    "openai_in_progress": (P, None, None, ()),
    "azure_validating": (P, None, None, ()),
    "completed": (C, "file-2", None, ()),
    "completed_azure_empty_error": (C, "file-2", None, ()),
    "completed_all_failed": (C, None, "file-3", ()),
    "completed_files_late": (C, None, None, ()),
    "expired_partial": (BatchState.EXPIRED, "file-2", "file-3", ()),
    "cancelled_partial": (BatchState.CANCELLED, "file-2", None, ()),
    "failed_line_int": (F, None, None, (BatchFault(code="invalid_json_line", message="m", line=3),)),
    "failed_line_str": (F, None, None, (BatchFault(code="url_mismatch", message="m", line=3),)),
    "failed_quota": (
        F,
        None,
        None,
        (BatchFault(code="token_limit_exceeded", message="Enqueued token limit reached"),),
    ),
    "failed_with_files": (F, "file-2", None, (BatchFault(code="internal", message="m"),)),
    "unknown_status": (P, None, None, ()),
}


@pytest.mark.parametrize("case", load("batch_objects.json"), ids=lambda case: case["case"])
def test_a_job_of_the_wire_comes_to_its_facts(case: dict[str, Any]) -> None:
    facts = parse_batch(case["object"])
    assert (facts.state, facts.output_file_id, facts.error_file_id, facts.faults) == EXPECTED[case["case"]]
    assert (facts.id, facts.input_file_id) == ("batch_1", "file-1")
    assert facts.raw_status == case["object"]["status"]
    assert facts.is_over_quota == (case["case"] == "failed_quota")
    assert facts.created_at == (1795420800 if case["case"] == "azure_validating" else 1711402400)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Completed", C),
        ("CANCELLED", BatchState.CANCELLED),
        ("canceled", BatchState.CANCELLED),
        ("cancelling", P),
        ("finalizing", P),
        ("In Progress", P),
        (None, P),
        (7, P),
    ],
)
def test_a_status_counts_however_it_is_spelt(status: Any, state: BatchState) -> None:
    assert parse_batch({"id": "b", "status": status}).state is state


@pytest.mark.parametrize(
    ("errors", "faults"),
    [
        ([{"code": "x", "message": "m"}], [("x", "m", None)]),
        ({"code": "x", "message": None}, [("x", "", None)]),
        ({"data": ["text", 7, None]}, [("unknown", "text", None)]),
        ({"data": [{"line": "x", "code": 5}]}, [("5", "", None)]),
        ({"data": None}, []),
        ("text", []),
        ({}, []),
    ],
)
def test_error_lists_of_any_shape_are_data(errors: Any, faults: Any) -> None:
    facts = parse_batch({"id": "b", "status": "failed", "errors": errors})
    assert [(fault.code, fault.message, fault.line) for fault in facts.faults] == faults


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1711402400, 1711402400),
        (1711402400.9, 1711402400),
        ("1711402400", 1711402400),
        ("2024-03-25T21:33:20Z", 1711402400),
        ("2024-03-25T21:33:20", 1711402400),
        ("2024-03-25T22:33:20.5+01:00", 1711402400),
        ("yesterday", None),
        ("", None),
        (None, None),
        (-5, None),
        (True, None),
        (1e300, None),
        ([], None),
    ],
)
def test_times_are_seconds_or_unknown(value: Any, expected: int | None) -> None:
    assert parse_batch({"id": "b", "created_at": value}).created_at == expected


@pytest.mark.parametrize(
    ("status", "on_azure", "at_openai"),
    [
        ("uploaded", FileState.PREPARING, FileState.READY),
        (None, FileState.PREPARING, FileState.READY),
        ("Pending", FileState.PREPARING, FileState.PREPARING),
        ("running", FileState.PREPARING, FileState.PREPARING),
        ("Processed", FileState.READY, FileState.READY),
        ("error", FileState.FAILED, FileState.FAILED),
        ("deleting", FileState.GONE, FileState.GONE),
        ("deleted", FileState.GONE, FileState.GONE),
        ("paused", FileState.PREPARING, FileState.PREPARING),
    ],
)
def test_a_files_state_depends_on_whose_it_is(status: Any, on_azure: FileState, at_openai: FileState) -> None:
    file = {"id": "f", "filename": "n.jsonl", "bytes": 5, "status": status, "status_details": {"x": 1}}
    azure = parse_file(file, is_ready_when_uploaded=False)
    assert (azure.state, azure.name, azure.size_bytes, azure.detail) == (on_azure, "n.jsonl", 5, "{'x': 1}")
    assert parse_file(file, is_ready_when_uploaded=True).state is at_openai


@pytest.mark.parametrize("body", [None, [], "x", {}, {"id": None}, {"id": ""}, {"id": 7}, {"error": {"code": "x"}}])
def test_an_object_without_an_id_says_nothing(body: Any) -> None:
    with pytest.raises(TransientError, match="malformed"):
        parse_batch(body)
    with pytest.raises(TransientError, match="malformed"):
        parse_file(body, is_ready_when_uploaded=True)


def page(*ids: str, after: str | None = None, limit: int = 3, key: str = "data", **members: Any) -> Any:
    body = {key: [{"id": name} for name in ids], **members}
    found = parse_page(body, parse_batch, after=after, limit=limit)
    assert [item.id for item in found.items] == list(ids)
    return found.next_after


def test_pages_follow_each_other_to_the_end() -> None:
    assert page("a", "b", has_more=True) == "b"
    assert page("a", "b", key="value", has_more=True) == "b"
    assert page("c", after="b", has_more=False) is None
    assert page() is None
    assert page(has_more=False) is None
    assert page("a", "b") == "b"
    assert page(after="b") is None


def test_a_server_that_does_not_page_is_read_once() -> None:
    assert page("a", "b", after="b") is None
    assert page("new", "a", "b", "c", after="b") is None


def test_a_listing_that_cannot_be_completed_is_no_listing() -> None:
    with pytest.raises(TransientError, match="repeats"):
        page("a", "b", after="b", has_more=True)
    with pytest.raises(TransientError, match="repeats"):
        page("a", "b", "c", after="c")
    with pytest.raises(TransientError, match="repeats"):
        page(has_more=True)


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, [], None, "x", {"data": [{}]}, {"data": ["x"]}])
def test_a_missing_list_is_not_an_empty_one(body: Any) -> None:
    with pytest.raises(TransientError, match="malformed"):
        parse_page(body, parse_batch, after=None, limit=100)


def test_a_body_that_is_not_json_is_malformed() -> None:
    with pytest.raises(TransientError, match="malformed"):
        decoded('{"id": "b')


ANY = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MEMBERS = [
    "status",
    "errors",
    "request_counts",
    "created_at",
    "input_file_id",
    "output_file_id",
    "metadata",
    "bytes",
    "filename",
    "status_details",
]


@settings(deadline=None)
@given(strategies.dictionaries(strategies.sampled_from(MEMBERS), ANY))
def test_an_object_with_an_id_always_has_facts(members: dict[str, Any]) -> None:
    assert parse_batch({**members, "id": "b"}).id == "b"
    assert parse_file({**members, "id": "f"}, is_ready_when_uploaded=False).id == "f"
    json.dumps(parse_batch({**members, "id": "b"}).metadata)


@pytest.mark.parametrize("bad", [".", "..", "a\nb", "\x00", "x" * 513, " ", 7])
def test_an_id_of_which_no_url_can_be_made_says_nothing(bad: Any) -> None:
    assert parse_batch({"id": "b", "output_file_id": bad}).output_file_id is None
    with pytest.raises(TransientError, match="malformed answer"):
        parse_batch({"id": bad})
