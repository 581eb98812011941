"""Every row of two runs is met once, with the row that it belongs to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.workbench import Project

from elspeth.contracts import RunStatus
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.pairing import Pair, _joined, are_keyed, pairs

hashes = st.lists(st.binary(min_size=1, max_size=1)).map(sorted)


def run(bench: Project, rows: str | list[dict[str, object]]) -> None:
    if isinstance(rows, str):
        bench.write("rows.jsonl", rows)
    else:
        bench.rows(rows)
    assert bench.run(new=True).status is RunStatus.COMPLETED


def paired(bench: Project) -> list[Pair]:
    with LandscapeReader(bench.database) as reader:
        return list(pairs(reader, reader.run_numbered(1), reader.run_numbered(2)))


def test_without_keys_rows_are_paired_by_index(bench: Project) -> None:
    bench.pipeline()
    run(bench, [{"id": n} for n in range(3)])
    run(bench, [{"id": n} for n in (2, 0)])
    assert [Pair(None, 0, 0), Pair(None, 1, 1), Pair(None, 2, None)] == paired(bench)
    run(bench, [{"id": n} for n in range(4)])
    with LandscapeReader(bench.database) as reader:
        assert [Pair(None, None, 2), Pair(None, None, 3)] == list(
            pairs(reader, reader.run_numbered(2), reader.run_numbered(3))
        )[2:]


def test_with_keys_rows_are_paired_by_key_in_the_order_of_the_first_run(bench: Project) -> None:
    bench.pipeline(source="key: id")
    run(bench, [{"id": key} for key in "cab"])
    run(bench, [{"id": key} for key in "bxc"])
    assert [
        Pair("c", 0, 2),
        Pair("a", 1, None),
        Pair("b", 2, 0),
        Pair("x", None, 1),
    ] == paired(bench)


def test_records_that_are_no_rows_are_paired_by_their_bytes(bench: Project) -> None:
    bench.pipeline(source="key: id")
    run(bench, '{"id": "a"}\nbroken\n{"id": "a"}\nworse\n')
    run(bench, 'broken\nbroken\n{"id": "a"}\n')
    found = paired(bench)
    assert Pair("a", 0, 2) == found[0]
    assert {Pair(None, 1, 0), Pair(None, None, 1), Pair(None, 2, None), Pair(None, 3, None)} == set(found[1:])


def test_records_that_are_no_rows_are_found_wherever_they_stand(bench: Project) -> None:
    bench.pipeline(source="key: id")
    records = [f"broken {n}\n" for n in range(20)]
    run(bench, "".join(records))
    run(bench, "".join(reversed(records)))
    assert [Pair(None, n, 19 - n) for n in range(20)] == sorted(paired(bench), key=lambda pair: pair.a or 0)


@pytest.mark.parametrize(("first", "second", "expected"), [("key: id", "key: other", True), ("key: id", "", False)])
def test_keys_count_only_when_both_runs_have_them(bench: Project, first: str, second: str, expected: bool) -> None:
    for source in (first, second):
        bench.pipeline(source=source)
        run(bench, [{"id": "a", "other": "b"}])
    with LandscapeReader(bench.database) as reader:
        assert expected == are_keyed(reader.run_numbered(1), reader.run_numbered(2))
    assert ([None] * 1 if not expected else ["a", "b"]) == [pair.key for pair in paired(bench)]


@given(hashes, hashes)
def test_a_join_meets_every_record_once_and_pairs_as_many_as_it_can(a: list[bytes], b: list[bytes]) -> None:
    first, second = [(sha, n) for n, sha in enumerate(a)], [(sha, n) for n, sha in enumerate(b)]
    found = list(_joined(iter(first), iter(second)))
    assert list(range(len(a))) == sorted(pair.a for pair in found if pair.a is not None)
    assert list(range(len(b))) == sorted(pair.b for pair in found if pair.b is not None)
    both = [(a[pair.a], b[pair.b]) for pair in found if pair.a is not None and pair.b is not None]
    assert all(one == other for one, other in both)
    assert sum((Counter(a) & Counter(b)).values()) == len(both)
