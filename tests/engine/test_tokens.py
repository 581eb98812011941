"""Rows that move by column stay in the order of the source, wherever they part and meet."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import NodeStep, Outcome, Row
from elspeth.engine.tokens import Arrival, Flock, Token, grouped, in_source_order

STEP = NodeStep(1, 0, is_changed=True)


def flock(indexes: Sequence[int]) -> Flock:
    return Flock.of([Token(index, {"n": index}, b"%d" % index, b"h%d" % index, 0) for index in indexes])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_work_on_several_flocks_is_done_in_the_order_of_the_source_and_goes_back_to_each(owners: list[int]) -> None:
    flocks = [flock([row for row, owner in enumerate(owners) if owner == one]) for one in sorted(set(owners))]
    seen: list[int] = []

    def work(indexes: Sequence[int], rows: Sequence[Row]) -> list[int]:
        assert [row["n"] for row in rows] == list(indexes)
        seen.extend(indexes)
        return [-index for index in indexes]

    results = in_source_order(flocks, work)

    assert list(range(len(owners))) == seen
    assert [[-index for index in one.indexes] for one in flocks] == [list(one) for one in results]


def test_a_part_of_a_flock_has_the_same_places_of_every_column() -> None:
    changed = flock([3, 5, 7]).become(STEP, [{}, {"a": 1}, {}], [b"x", b"y", b"z"], [b"1", b"2", b"3"], writer=1)
    part = changed.at([1])

    assert ([5], [{"a": 1}], [b"y"], [b"2"]) == (part.indexes, part.rows, part.data, part.hashes)
    assert ((STEP,), [[b"2"]], 1) == (part.steps, [list(column) for column in part.changed], part.writer)
    assert changed is changed.at([0, 1, 2])
    assert (7, b"z", b"3", 1) == ((token := changed.token(2)).index, token.data, token.sha256, token.writer)


def test_arrivals_that_ended_alike_are_one_group_and_others_are_not() -> None:
    errors: list[dict[str, str] | None] = [None, {"code": "a"}, {"code": "b"}, {"code": "a"}, None]
    groups = grouped(
        Arrival(row, Outcome.COMPLETED if error is None else Outcome.FAILED, 1, 9, {"n": row}, b"%d" % row, error)
        for row, error in enumerate(errors)
    )

    assert {(None, (0, 4)), ("a", (1, 3)), ("b", (2,))} == {(one.reason, tuple(one.indexes)) for one in groups}
    assert [None, [{"code": "a"}, {"code": "a"}], [{"code": "b"}]] == [one.errors for one in groups]


def test_arrivals_before_a_row_end_there() -> None:
    group = grouped(Arrival(row, Outcome.COMPLETED, None, 9, {}, b"") for row in (2, 4, 6))[0]
    assert [[], [2], [2, 4], [2, 4, 6]] == [list(group.before(row).indexes) for row in (2, 3, 6, 7)]
