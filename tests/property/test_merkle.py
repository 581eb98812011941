"""What holds for every tree, and that no proof holds for anything else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.merkle import (
    EMPTY_ROOT,
    CompactTree,
    check_consistency,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    root_of,
)

TREES = st.integers(1, 70).map(lambda size: [leaf_hash(str(number).encode()) for number in range(size)])
"""Trees of which no two leaves are equal."""


def rfc_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, word by word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(rfc_root(leaves[:split]), rfc_root(leaves[split:]))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_every_way_to_a_root_is_the_definition(leaves: list[bytes]) -> None:
    tree = CompactTree()
    for leaf in leaves:
        tree.append(leaf)

    assert rfc_root(leaves) == root_of(leaves) == root_of(tuple(leaves)) == tree.root()
    assert len(leaves) == tree.size
    for at_once in (CompactTree.of(leaves), CompactTree.of(tuple(leaves))):
        assert (tree.size, tree.peaks) == (at_once.size, at_once.peaks)


@given(TREES)
def test_a_growing_tree_has_the_root_of_every_size_on_its_way(leaves: list[bytes]) -> None:
    tree = CompactTree()
    roots = []
    for leaf in leaves:
        tree.append(leaf)
        roots.append(tree.copy().root())

    assert [root_of(leaves[:size]) for size in range(1, len(leaves) + 1)] == roots


@given(TREES, st.data())
def test_a_tree_grows_on_from_its_peaks_alone(leaves: list[bytes], data: st.DataObject) -> None:
    half = data.draw(st.integers(0, len(leaves)))
    tree = CompactTree()
    for leaf in leaves[:half]:
        tree.append(leaf)
    again = CompactTree.from_peaks(tree.peaks, size=half)
    for leaf in leaves[half:]:
        again.append(leaf)

    assert (len(leaves), root_of(leaves)) == (again.size, again.root())
    with pytest.raises(ValueError, match="does not have"):
        CompactTree.from_peaks(tree.peaks + bytes(32), size=half)


@given(TREES, st.data())
def test_a_path_proves_its_leaf_at_its_place_and_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, index)
    root = root_of(leaves)

    assert root == root_from_inclusion(leaves[index], index=index, size=size, path=path)
    for other in range(size):
        if other == index:
            continue
        assert root != root_from_inclusion(leaves[other], index=index, size=size, path=path)
        with suppress(ValueError):
            assert root != root_from_inclusion(leaves[index], index=other, size=size, path=path)


@given(TREES.filter(lambda leaves: len(leaves) > 1), st.data())
def test_no_bit_of_a_path_can_be_changed(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, index)
    where = data.draw(st.integers(0, len(path) - 1))
    path[where] = flipped(path[where], data.draw(st.integers(0, 255)))

    assert root_of(leaves) != root_from_inclusion(leaves[index], index=index, size=size, path=path)


@given(TREES, st.data())
def test_a_path_one_hash_longer_or_shorter_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path(leaves, index)

    for wrong in [[*path, leaves[0]], path[:-1]] if path else [[leaves[0]]]:
        with pytest.raises(ValueError, match="the path of leaf"):
            root_from_inclusion(leaves[index], index=index, size=len(leaves), path=wrong)


@given(TREES, st.data())
def test_a_tree_proves_every_size_that_it_had(leaves: list[bytes], data: st.DataObject) -> None:
    old_size = data.draw(st.integers(0, len(leaves)))

    assert check_consistency(
        old_size=old_size,
        old_root=root_of(leaves[:old_size]),
        new_size=len(leaves),
        new_root=root_of(leaves),
        path=consistency_path(leaves, old_size),
    )


@given(TREES.filter(lambda leaves: len(leaves) > 1), st.data())
def test_a_tree_whose_past_was_changed_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    """Its path may be the honest one, when all that changed is below the old root; it proves the honest root alone."""
    size = len(leaves)
    old_size = data.draw(st.integers(1, size - 1))
    changed = [*leaves]
    changed[data.draw(st.integers(0, old_size - 1))] = leaf_hash(b"changed")
    path = consistency_path(changed, old_size)

    old_root = root_of(leaves[:old_size])
    for new_root in (root_of(changed), root_of(leaves)):
        assert not check_consistency(
            old_size=old_size, old_root=old_root, new_size=size, new_root=new_root, path=path
        ) or (new_root, path) == (root_of(leaves), consistency_path(leaves, old_size))


@given(TREES.filter(lambda leaves: len(leaves) > 1), st.data())
def test_no_bit_of_a_consistency_proof_can_be_changed(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    old_size = data.draw(st.integers(1, size - 1))
    proof = [root_of(leaves[:old_size]), root_of(leaves), *consistency_path(leaves, old_size)]
    where = data.draw(st.integers(0, len(proof) - 1))
    proof[where] = flipped(proof[where], data.draw(st.integers(0, 255)))
    old_root, new_root, *path = proof

    assert not check_consistency(old_size=old_size, old_root=old_root, new_size=size, new_root=new_root, path=path)


@given(TREES, st.integers(1, 70), st.integers(1, 140))
def test_a_proof_of_another_size_is_believed_only_where_the_paths_are_as_long(
    leaves: list[bytes], old_size: int, claimed: int
) -> None:
    """A size is not part of a tree, so it must be signed with its root; but a size that cannot be is refused."""
    old_size = min(old_size, len(leaves))
    path = consistency_path(leaves, old_size)
    is_believed = check_consistency(
        old_size=old_size,
        old_root=root_of(leaves[:old_size]),
        new_size=claimed,
        new_root=root_of(leaves),
        path=path,
    )

    if claimed < old_size or len(consistency_path([EMPTY_ROOT] * claimed, old_size)) != len(path):
        assert not is_believed
    assert claimed != len(leaves) or is_believed


@given(st.integers(-2, 70), st.integers(-2, 70), st.lists(st.binary(min_size=31, max_size=33), max_size=9))
def test_whatever_is_handed_in_as_a_proof_gets_an_answer(old_size: int, new_size: int, path: list[bytes]) -> None:
    root = leaf_hash(b"")
    is_plain = old_size == new_size > 0 and not path

    assert is_plain == check_consistency(old_size=old_size, old_root=root, new_size=new_size, new_root=root, path=path)
