"""Differences are counted and some are kept; rows are told as ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth.engine.replay.findings import ABSENT, Findings, Rows, Sort


@given(st.sets(st.integers(0, 200)), st.integers(1, 50))
def test_ranges_hold_the_rows_that_were_added_and_no_other(rows: set[int], size: int) -> None:
    told = Rows()
    for start in range(0, 201, size):
        for row in sorted((row for row in rows if start <= row < start + size), reverse=True):
            told.add(row)
            told.add(row)
        told.end_stretch()
    assert sorted(rows) == [row for first, last in told.ranges for row in range(first, last + 1)]
    assert len(rows) == told.count
    assert all(one[1] + 1 < other[0] for one, other in zip(told.ranges, told.ranges[1:], strict=False))


def test_rows_far_apart_are_all_counted_and_the_first_ranges_kept() -> None:
    told = Rows()
    for row in range(0, 6_000, 2):
        told.add(row)
        told.end_stretch()
    assert (3_000, 1_000, [1_998, 1_998]) == (told.count, len(told.ranges), told.ranges[-1])


def test_of_each_sort_the_first_few_are_kept_and_all_are_counted() -> None:
    findings = Findings(keep=2)
    assert findings.is_empty
    for row in range(5):
        findings.differ(Sort.ROUTE, row=row, step="gate", field="route", recorded="true", replayed=ABSENT)
        findings.differ(Sort.FIELD, row=row, step="step", field="text", recorded=None, replayed=row)
        findings.end_stretch()
    findings.differ(Sort.PAYLOAD, row=None, step="step", field="batch 1", recorded="a", replayed="b")
    assert {Sort.FIELD: 5, Sort.ROUTE: 5, Sort.PAYLOAD: 1} == findings.counts
    assert 5 == findings.differing.count
    shown = [difference.as_json() for difference in findings.shown]
    assert ["field", "field", "route", "route", "payload"] == [entry["sort"] for entry in shown]
    assert {"sort": "field", "row": 0, "step": "step", "field": "text", "recorded": None, "replayed": 0} == shown[0]
    assert "replayed" not in shown[2], "what is not there has no value"
    assert not findings.is_empty


def test_a_row_that_has_ended_is_known_while_its_stretch_lasts() -> None:
    findings = Findings(keep=0)
    findings.cannot_replay(3, "rows")
    findings.would_ask(4, "ask")
    assert [False, True, True] == [findings.has_ended(row) for row in (2, 3, 4)]
    findings.end_stretch()
    assert not findings.has_ended(3)
    assert {"rows": [[3, 3]]} == {why: rows.ranges for why, rows in findings.unreplayable.items()}
    assert {"ask": 1} == {step: rows.count for step, rows in findings.asked_anew.items()}
    assert not findings.is_empty
