"""What a sink of lines gets of tokens is what it would make of their rows, and groups come in source order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import Fields, Outcome
from elspeth.core.canonical import RowCodec
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.engine.admission import rejected_row
from elspeth.engine.outputs import _merged, sink_lines, sink_rows
from elspeth.engine.tokens import Arrivals
from elspeth.plugins.sinks.jsonl import JsonlSink, JsonlSinkOptions

CODEC = RowCodec(Fields())
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e16, 1e-7, -0.0, 2**70])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
ROWS = st.dictionaries(TEXTS | st.just("_error"), VALUES, max_size=4)
ERRORS = st.fixed_dictionaries({"code": TEXTS, "message": TEXTS, "detail": st.none()})


def assert_alike(arrivals: Arrivals) -> None:
    sink = JsonlSink(parse_options(JsonlSinkOptions, {"path": "x.jsonl"}, OptionsContext(folder=Path())))

    of_rows = sink.encode(sink_rows(arrivals, "step"), first_line=1)

    assert of_rows == sink.encode_lines(sink_lines(arrivals, "step"), first_line=1)


@given(st.lists(st.tuples(ROWS, ERRORS), min_size=1, max_size=4), st.booleans())
def test_sound_and_failed_rows(rows: list[tuple[dict[str, Any], dict[str, Any]]], have_failed: bool) -> None:
    given_rows = [row for row, _ in rows]
    assert_alike(
        Arrivals(
            range(len(rows)),
            given_rows,
            CODEC.encode_batch(given_rows),
            outcome=Outcome.FAILED if have_failed else Outcome.COMPLETED,
            step_no=1,
            sink_no=2,
            errors=[error for _, error in rows] if have_failed else None,
        )
    )


@given(st.lists(st.tuples(ERRORS, st.binary(max_size=6)), min_size=1, max_size=4))
def test_rejected_records(records: list[tuple[dict[str, Any], bytes]]) -> None:
    rows = [rejected_row(index, error, raw) for index, (error, raw) in enumerate(records)]
    assert_alike(
        Arrivals(
            range(len(rows)),
            rows,
            [raw for _, raw in records],
            outcome=Outcome.QUARANTINED,
            step_no=0,
            sink_no=2,
            errors=[error for error, _ in records],
        )
    )


@given(st.lists(st.integers(0, 2), max_size=12))
def test_groups_come_in_source_order(owners: list[int]) -> None:
    """Each row belongs to one of the groups; a single group is handed on as it is."""
    places = [[index for index, owner in enumerate(owners) if owner == number] for number in {*owners} or {0}]
    groups = [Arrivals(indexes, [], [], outcome=Outcome.COMPLETED, step_no=None, sink_no=1) for indexes in places]

    merged = _merged(groups, places)

    assert [*range(len(owners))] == list(merged)
