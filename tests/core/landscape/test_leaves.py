"""The bytes that are hashed. They are read for years: a change here is a new format."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts import TrailError
from elspeth.core.landscape.leaves import (
    Blinding,
    commit_content,
    commit_leaf,
    leaf_content,
    leaf_hasher,
    leaf_hashes,
    line_encoder,
)
from elspeth.core.landscape.schema import TABLES, table
from elspeth.core.merkle import leaf_hash

NONCE = bytes(range(32))


def test_a_line_of_a_row() -> None:
    assert '["rows",42,17,"' + "ab" * 32 + '"]\n' == line_encoder(table("rows"))((1, 42, 7, 17, b"\xab" * 32))


def test_a_line_with_text_and_nothing() -> None:
    passage = (1, 3, b"\x01\xff", 9, 2, None, 'a "b" ü')
    step = (1, 9, 2, 0, 1, 4, 0, 1, "true", None, 5, 6)

    assert '["passages",3,"01ff",2,null,"a \\"b\\" ü"]\n' == line_encoder(table("passages"))(passage)
    assert '["journeys",2,0,1,4,0,1,"true",null,5,6]\n' == line_encoder(table("journeys"))(step)


def test_what_is_computed_from_a_commit_is_not_part_of_its_leaf() -> None:
    line = line_encoder(table("commits"))((1, 4, 99, '{"a":1}', 3, b"r", b"n", b"p", b"h", "{}"))

    assert '["commits",99,"{\\"a\\":1}"]\n' == line


def test_the_leaf_of_a_row_with_its_blinding() -> None:
    blinding = hashlib.shake_256(NONCE + bytes(8)).digest(32)[16:]
    content = leaf_content(Blinding(NONCE).of(1), '["rows",1]\n')

    assert b"\x01" + blinding + b'["rows",1]\n' == content


def test_the_leaf_of_a_commit() -> None:
    content = commit_content("01k9x", commit_no=3, leaf_count=12, root=bytes(32))

    assert b'\x02["commit","01k9x",0,3,12,"' + b"00" * 32 + b'"]\n' == content
    assert leaf_hash(content) == commit_leaf("01k9x", commit_no=3, leaf_count=12, root=bytes(32))


@given(st.lists(st.text(max_size=8), max_size=5).map(lambda texts: texts * 700))
def test_many_leaves_at_once_are_the_leaves_one_by_one(texts: list[str]) -> None:
    blinding = Blinding(NONCE)
    one_by_one = [leaf_hash(leaf_content(blinding.of(place), text)) for place, text in enumerate(texts)]

    assert one_by_one == leaf_hashes(NONCE, texts)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2_000)), max_size=200))
def test_leaves_of_many_commits_are_those_of_each(places: list[tuple[int, int]]) -> None:
    nonces = {number: bytes([number]) * 32 for number in range(100)}
    hash_of = leaf_hasher(nonces)
    one_by_one = [leaf_hash(leaf_content(Blinding(nonces[number]).of(place), "x")) for number, place in places]

    assert one_by_one == [hash_of(number, place, "x") for number, place in places]


@pytest.mark.parametrize("first", [0, 1, 1_023, 1_024, 1_500, 2_048])
def test_the_leaves_from_a_place_on_are_the_rest_of_all_leaves(first: int) -> None:
    texts = [str(place) for place in range(2_100)]

    assert leaf_hashes(NONCE, texts)[first:] == leaf_hashes(NONCE, texts[first:], first=first)
    assert [] == leaf_hashes(NONCE, [], first=first)


def test_no_two_leaves_have_the_same_blinding() -> None:
    blinding = Blinding(NONCE)

    assert 5_000 == len({blinding.of(place) for place in range(5_000)})


@pytest.mark.parametrize(("place", "value"), [(1, "1"), (1, 1.0), (4, "text"), (4, 5)])
def test_a_value_that_is_not_of_its_columns_type_is_no_line(place: int, value: object) -> None:
    record: list[object] = [1, 42, 7, 17, b"\xab" * 32]
    record[place] = value

    with pytest.raises(TrailError, match=r"rows: (line|data_hash|row_index) holds a (str|float|int), which is no "):
        line_encoder(table("rows"))(record)


def test_every_column_is_hashed_but_for_places_and_what_is_derived() -> None:
    left_out = {
        f"{entry.name}.{column.name}"
        for entry in TABLES
        for column in entry.columns
        if column not in entry.hashed_columns and column.name not in {"run_no", "commit_no"}
    }

    assert {
        "commits.leaf_count",
        "commits.leaf_hints",
        "commits.nonce",
        "commits.peaks",
        "commits.root",
        "commits.table_checks_json",
    } == left_out
