"""The tree of a commit: the order of its leaves, and what its record says of them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.buffers import Layer
from elspeth.core.landscape.commit_tree import CommitTree, SingleRecords, tree_of, tree_of_tokens
from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hashes
from elspeth.core.landscape.schema import table
from elspeth.core.merkle import EMPTY_ROOT, root_of

NONCE = bytes(range(32))


def whole_tree(tokens: Mapping[str, Sequence[Layer]], others: Mapping[str, Sequence[str]]) -> CommitTree:
    return tree_of(tree_of_tokens(tokens, nonce=NONCE), others)


def test_tokens_come_first_by_row_then_the_others_in_the_order_of_the_tables() -> None:
    tokens = {
        "outcomes": [([2, 0], ["o2", "o0"])],
        "rows": [([0, 1], ["r0", "r1"])],
        "passages": [([1], ["s1a"]), ([1, 2], ["s1b", "s2"])],
    }
    tree = whole_tree(tokens, {"commits": ["c"], "runs": ["run"], "nodes": ["n0", "n1"]})
    texts = ["r0o0", "r1s1as1b", "s2o2", "run", "n0", "n1", "c"]
    hashes = leaf_hashes(NONCE, texts)

    assert (7, root_of(hashes), NONCE) == (tree.leaf_count, tree.root, tree.nonce)
    assert b"".join(digest[:HINT_BYTES] for digest in hashes) == tree.leaf_hints
    lines = {
        "runs": "run",
        "nodes": "n0n1",
        "rows": "r0r1",
        "passages": "s1as1bs2",
        "outcomes": "o0o2",
        "commits": "c",
    }
    assert {name: zlib.crc32(text.encode()) for name, text in lines.items()} == json.loads(tree.table_checks_json)


def test_a_commit_that_says_nothing_has_the_empty_tree() -> None:
    tree = whole_tree({"rows": [([], [])]}, {"nodes": []})

    assert (0, EMPTY_ROOT, b"", "{}") == (tree.leaf_count, tree.root, tree.leaf_hints, tree.table_checks_json)


class TestSingleRecords:
    """Records that were gathered one by one."""

    def test_records_that_stand_for_themselves_come_by_key(self) -> None:
        records = SingleRecords({"edges": [(1, 2, "next", 0, 3), (1, 0, "b", 0, None), (1, 0, "a", 0, 2)]})

        assert ['["edges",0,"a",2]\n', '["edges",0,"b",null]\n', '["edges",2,"next",3]\n'] == records.of_others(
            table("edges")
        )
        assert [] == records.of_others(table("nodes"))

    def test_all_keys_of_a_row_are_its_lines_in_order(self) -> None:
        records = SingleRecords({"row_keys": [(1, "b", 0, 7), (1, "c", 0, 5), (1, "a", 0, 7)]})

        lines = ['["row_keys","a",7]\n["row_keys","b",7]\n', '["row_keys","c",5]\n']
        assert [([7, 5], lines)] == records.of_rows(table("row_keys"))

    def test_passages_come_with_what_their_layer_is_known_by(self) -> None:
        passage = (1, 7, b"", 0, 3, b"\x01\xff", "{}")
        records = SingleRecords({"passages": [passage]})

        assert [(3, 7, '["passages",7,"",3,"01ff","{}"]\n')] == records.of_passages(table("passages"))


@given(st.data(), st.lists(st.integers(0, 9), unique=True, min_size=1))
def test_a_rows_lines_come_in_the_order_of_the_layers(data: st.DataObject, rows: list[int]) -> None:
    some = st.lists(st.sampled_from(rows), unique=True, min_size=1) | st.just(sorted(rows))
    layers = [
        (of, [f"{number}:{row} " for row in of]) for number, of in enumerate(data.draw(st.lists(some, min_size=1)))
    ]
    found = {row: "".join(dict(zip(*layer, strict=True)).get(row, "") for layer in layers) for row in sorted(rows)}
    texts = [text for text in found.values() if text]
    tree = whole_tree({"passages": layers}, {})

    assert (len(texts), root_of(leaf_hashes(NONCE, texts))) == (tree.leaf_count, tree.root)
    assert {"passages": zlib.crc32("".join(texts).encode())} == json.loads(tree.table_checks_json)
