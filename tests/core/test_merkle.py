"""The tree of the Certificate Transparency tests, and the edges of each proof.

What holds for every tree is in tests/property/test_merkle.py.
"""

from __future__ import annotations

import hashlib

import pytest

from elspeth.core.merkle import (
    EMPTY_ROOT,
    CompactTree,
    check_consistency,
    consistency_path,
    inclusion_path,
    inclusion_paths,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    root_of,
)

LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the first leaf, the first two, and so on."""


def hexes(hashes: list[bytes]) -> list[str]:
    return [known.hex() for known in hashes]


def test_the_tree_of_the_certificate_transparency_tests_has_its_published_roots() -> None:
    assert ROOTS == [root_of(LEAVES[:size]).hex() for size in range(1, 9)]


def test_a_growing_tree_passes_through_the_same_roots() -> None:
    tree = CompactTree()
    seen = []
    for leaf in LEAVES:
        tree.append(leaf)
        seen.append(tree.root().hex())

    assert ROOTS == seen
    assert 8 == tree.size


@pytest.mark.parametrize("size", [*range(20), 255, 256, 1_000])
def test_a_tree_made_at_once_is_the_one_that_grew(size: int) -> None:
    hashes = [leaf_hash(b"%d" % place) for place in range(size)]
    grown = CompactTree()
    for digest in hashes:
        grown.append(digest)
    made = CompactTree.of(hashes)

    assert (grown.size, grown.peaks, grown.root()) == (made.size, made.peaks, made.root())
    assert root_of(hashes) == made.root()


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT == root_of([]) == CompactTree().root()


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = LEAVES[:2]

    assert leaf_hash(left + right) != node_hash(left, right)
    assert hashlib.sha256(b"\x00" + left + right).digest() == leaf_hash(left + right)


def test_a_copy_grows_by_itself() -> None:
    tree = CompactTree()
    for leaf in LEAVES[:3]:
        tree.append(leaf)
    twin = tree.copy()
    twin.append(LEAVES[3])

    assert (3, ROOTS[2]) == (tree.size, tree.root().hex())
    assert (4, ROOTS[3]) == (twin.size, twin.root().hex())


@pytest.mark.parametrize(
    ("index", "size", "expected"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_an_inclusion_path_is_the_published_one(index: int, size: int, expected: list[str]) -> None:
    path = inclusion_path(LEAVES[:size], index)

    assert expected == hexes(path)
    assert ROOTS[size - 1] == root_from_inclusion(LEAVES[index], index=index, size=size, path=path).hex()


@pytest.mark.parametrize(
    ("old_size", "size", "expected"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_a_consistency_path_is_the_published_one(old_size: int, size: int, expected: list[str]) -> None:
    path = consistency_path(LEAVES[:size], old_size)

    assert expected == hexes(path)
    assert is_consistent(old_size, size, path)


def is_consistent(old_size: int, size: int, path: list[bytes]) -> bool:
    old_root, new_root = (root_of(LEAVES[:size]) for size in (old_size, size))
    return check_consistency(old_size=old_size, old_root=old_root, new_size=size, new_root=new_root, path=path)


def test_the_paths_of_several_leaves_are_those_of_each() -> None:
    for size in range(1, 9):
        indexes = [*range(size), 0]
        assert [inclusion_path(LEAVES[:size], index) for index in indexes] == inclusion_paths(LEAVES[:size], indexes)
    assert [] == inclusion_paths(LEAVES, [])
    with pytest.raises(ValueError, match="no leaf 8"):
        inclusion_paths(LEAVES, [0, 8])


def test_an_index_outside_the_tree_has_no_path() -> None:
    for index in (-1, 8):
        with pytest.raises(ValueError, match=f"no leaf {index}"):
            inclusion_path(LEAVES, index)
        with pytest.raises(ValueError, match=f"no leaf {index}"):
            root_from_inclusion(LEAVES[0], index=index, size=8, path=[])
    with pytest.raises(ValueError, match="no leaf 0"):
        root_from_inclusion(LEAVES[0], index=0, size=0, path=[])


def test_a_path_of_another_length_is_refused() -> None:
    path = inclusion_path(LEAVES, 3)

    for wrong in ([], path[:-1], [*path, path[0]]):
        with pytest.raises(ValueError, match="the path of leaf 3 of 8 has 3 hashes"):
            root_from_inclusion(LEAVES[3], index=3, size=8, path=wrong)


def test_a_byte_cannot_move_from_one_hash_to_its_neighbour() -> None:
    """The hashed bytes would be the same, and the wrong leaf proven."""
    left, right = LEAVES[:2]
    assert node_hash(left[:-1], left[-1:] + right) == root_of(LEAVES[:2])

    with pytest.raises(ValueError, match="32 bytes"):
        root_from_inclusion(left[:-1], index=0, size=2, path=[left[-1:] + right])
    old_root, (third,) = root_of(LEAVES[:2]), consistency_path(LEAVES[:3], 2)
    assert not check_consistency(
        old_size=2,
        old_root=old_root[:-1],
        new_size=3,
        new_root=root_of(LEAVES[:3]),
        path=[old_root[-1:] + third],
    )


def test_every_tree_grew_from_the_empty_one() -> None:
    assert [] == consistency_path(LEAVES, 0)
    assert is_consistent(0, 8, [])
    assert is_consistent(0, 0, [])
    assert not is_consistent(0, 8, [LEAVES[0]])
    assert not check_consistency(old_size=0, old_root=LEAVES[0], new_size=8, new_root=root_of(LEAVES), path=[])
    assert not check_consistency(old_size=0, old_root=LEAVES[0], new_size=0, new_root=LEAVES[0], path=[])


def test_no_tree_shrinks() -> None:
    assert not is_consistent(8, 7, consistency_path(LEAVES, 7))
    assert not is_consistent(-1, 7, [])
    for size in (-1, 9):
        with pytest.raises(ValueError, match=f"never one of {size}"):
            consistency_path(LEAVES, size)


def test_two_trees_of_one_size_are_consistent_when_they_are_the_same() -> None:
    assert is_consistent(8, 8, [])
    assert not is_consistent(8, 8, [LEAVES[0]])
    assert not check_consistency(old_size=8, old_root=LEAVES[0], new_size=8, new_root=root_of(LEAVES), path=[])


def test_without_its_path_a_larger_tree_is_not_believed() -> None:
    for old_size in range(1, 8):
        assert not is_consistent(old_size, 8, [])
        assert not is_consistent(old_size, 8, [*consistency_path(LEAVES, old_size), LEAVES[0]])
