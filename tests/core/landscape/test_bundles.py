"""`records.json`: one spelling of each content, and nothing else is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from elspeth.contracts import TrailError
from elspeth.core.landscape.bundles import (
    BY_BATCH,
    BY_JOURNEY,
    OF_ROWS,
    WHOLE,
    BundleRecords,
    EarlierTree,
    ProvenCommit,
    ProvenLeaf,
    decode_records,
    encode_records,
    named_hashes,
    parse_line,
    payload_name,
)
from elspeth.core.landscape.schema import EVIDENCE, SCHEMA_VERSION

digests = st.binary(min_size=32, max_size=32)
paths = st.lists(digests, max_size=3).map(tuple)
numbers = st.integers(0, 1 << 63)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
records = st.builds(
    BundleRecords,
    run_id=texts,
    pipeline=texts,
    rows=st.lists(numbers, max_size=3).map(tuple),
    tree_size=numbers,
    files=st.dictionaries(texts, digests, max_size=3),
    earlier=st.lists(st.builds(EarlierTree, size=numbers, root=digests, path=paths), max_size=2).map(tuple),
    commits=st.lists(
        st.builds(ProvenCommit, commit_no=numbers, leaf_count=numbers, root=digests, path=paths), max_size=2
    ).map(tuple),
    leaves=st.lists(
        st.builds(
            ProvenLeaf,
            commit_no=numbers,
            place=numbers,
            blinding=st.binary(min_size=16, max_size=16),
            lines=st.lists(texts, max_size=2).map(tuple),
            path=paths,
        ),
        max_size=2,
    ).map(tuple),
)

PLAIN = BundleRecords(
    run_id="01k9x",
    pipeline="tickets",
    rows=(42,),
    tree_size=3,
    files={"README.md": bytes(range(32))},
    earlier=(EarlierTree(size=1, root=bytes(32), path=(b"\xaa" * 32,)),),
    commits=(ProvenCommit(commit_no=2, leaf_count=1, root=b"\xbb" * 32, path=()),),
    leaves=(ProvenLeaf(commit_no=2, place=0, blinding=bytes(16), lines=('["rows",42,43,"00"]',), path=()),),
)


@given(records)
def test_reading_is_the_inverse_of_writing(given_records: BundleRecords) -> None:
    assert given_records == decode_records(encode_records(given_records))


def test_the_shape_is_the_one_that_is_documented() -> None:
    content = json.loads(encode_records(PLAIN))
    assert {
        "audit_format": SCHEMA_VERSION,
        "run": "01k9x",
        "pipeline": "tickets",
        "rows": [42],
        "tree_size": 3,
        "files": {"README.md": bytes(range(32)).hex()},
        "earlier": [{"size": 1, "root": "00" * 32, "path": ["aa" * 32]}],
        "commits": [{"commit": 2, "leaf_count": 1, "root": "bb" * 32, "path": []}],
        "leaves": [{"commit": 2, "place": 0, "blinding": "00" * 16, "lines": ['["rows",42,43,"00"]'], "path": []}],
    } == content


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"\n ", b"\n  ", 1),
        lambda data: data.replace(b'"tree_size": 3', b'"tree_size": 3.0'),
        lambda data: data.replace(b'"tree_size": 3', b'"tree_size": true'),
        lambda data: data.replace(b'"tree_size": 3', b'"tree_size": "3"'),
        lambda data: data.replace(b'"tree_size": 3', b'"tree_size": 3,\n "tree_size": 3'),
        lambda data: data.replace(b'"tree_size": 3', b'"tree_size": 3,\n "unknown": 3'),
        lambda data: data.replace(b"aa" * 32, b"AA" * 32),
        lambda data: data.replace(b"aa" * 32, b"aa" * 31),
        lambda data: data.replace(b"aa" * 32, b"zz" * 32),
        lambda data: data.replace(b"00" * 16 + b'"', b"00" * 15 + b'"'),
        lambda data: data.replace(b"tickets", b"tick\xff"),
        lambda data: data.replace(b"tickets", b"\\ud800"),
        lambda data: data.replace(b'"rows": [\n  42\n ]', b'"rows": 42'),
        lambda data: data.replace(b'"rows": [\n  42\n ]', b'"rows": [\n  "42"\n ]'),
        lambda data: data.replace(b'"commits": [', b'"commits": [\n  4,'),
        lambda _data: b"[" * 100_000,
        lambda _data: b"null\n",
    ],
)  # fmt: skip
def test_anything_else_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    data = encode_records(PLAIN)
    assert change(data) != data
    with pytest.raises(TrailError):
        decode_records(change(data))


def test_another_audit_format_says_how_to_check_it() -> None:
    data = encode_records(PLAIN).replace(b'"audit_format": %d' % SCHEMA_VERSION, b'"audit_format": 999')
    with pytest.raises(TrailError, match="audit format 999") as caught:
        decode_records(data)
    assert "verify.py" in (caught.value.hint or "")


def test_records_are_read_by_the_columns_that_are_hashed() -> None:
    assert ("rows", {"row_index": 42, "line": 43, "data_hash": "00"}) == parse_line('["rows",42,43,"00"]')
    commit_no = PLAIN.leaves[0].commit_no
    assert [("rows", {"row_index": 42, "line": 43, "data_hash": "00", "commit_no": commit_no})] == list(PLAIN.records())
    for line in ('["rows",42,43]', '["seals",1]', "[]", "{}", "7", "not JSON", "[" * 100_000, '[["rows"],1]'):
        with pytest.raises(TrailError, match="no such record"):
            parse_line(line)
    with pytest.raises(TrailError, match="no such record"):
        list(replace(PLAIN, leaves=(replace(PLAIN.leaves[0], lines=("[1]",)),)).records())


def test_a_table_is_of_rows_of_journeys_of_batches_whole_or_left_out() -> None:
    assert set(EVIDENCE) - {"run_events", "segments", "frames", "extents", "commits", "seals"} == {
        *OF_ROWS,
        *BY_JOURNEY,
        *BY_BATCH,
        *WHOLE,
    }


def test_a_column_names_no_hash_or_one_or_several() -> None:
    one, other = "ab" * 32, "cd" * 32
    for digits, hashes in ((None, []), (one, [one]), (one + other, [one, other])):
        assert hashes == named_hashes({"output_hashes": digits}, "output_hashes")


def test_a_payload_lies_under_its_hash() -> None:
    assert "payloads/" + "ab" * 32 == payload_name(b"\xab" * 32) == payload_name("ab" * 32)
