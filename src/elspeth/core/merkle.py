"""Merkle trees of RFC 6962, section 2.1: roots, and the paths that prove things about them.

A tree is known by the hashes of its leaves. `root_of` and `CompactTree` give the same root, the
first for leaves at hand, the second for leaves that come one by one: it keeps one hash for each
bit of its size and no leaf.

    root_from_inclusion(leaf_hashes[i], index=i, size=n, path=inclusion_path(leaf_hashes, i))
        == root_of(leaf_hashes)
    check_consistency(old_size=m, old_root=root_of(leaf_hashes[:m]),
                      new_size=n, new_root=root_of(leaf_hashes), path=consistency_path(leaf_hashes, m))

A path proves nothing about a size that was not signed together with the root: take both from a
checkpoint (`elspeth.core.notes`). The checks are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2,
which are stated there without recursion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "LEAF_PREFIX",
    "CompactTree",
    "check_consistency",
    "consistency_path",
    "inclusion_path",
    "inclusion_paths",
    "leaf_hash",
    "node_hash",
    "root_from_inclusion",
    "root_of",
]

_HASH_BYTES: Final = 32

LEAF_PREFIX: Final = b"\x00"
"""What stands before the data of a leaf when it is hashed: it keeps leaves and nodes apart."""

_NODE_PREFIX: Final = b"\x01"

EMPTY_ROOT: Final = hashlib.sha256().digest()
"""The root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees, the left one full."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves, level by level: about half a microsecond a leaf."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > 1:
        level = _parents(level)
    return level[0]


class CompactTree:
    """A tree that grows by its leaves' hashes and keeps the roots of its full subtrees only.

    They stand from the largest, on the left, to the smallest, one for each bit of `size` that is set.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._peaks: list[bytes] = []
        self._size = 0

    @classmethod
    def of(cls, leaf_hashes: Sequence[bytes]) -> CompactTree:
        """The tree of these leaves, the same as by one `append` after another, but faster."""
        tree, level = cls(), leaf_hashes
        tree._size = len(leaf_hashes)
        while level:
            if len(level) & 1:
                tree._peaks.insert(0, level[-1])
                level = level[:-1]
            level = _parents(level)
        return tree

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    def append(self, leaf_hash: bytes) -> None:
        """One more leaf, on the right."""
        peaks, carry, root = self._peaks, self._size, leaf_hash
        while carry & 1:
            root = node_hash(peaks.pop(), root)
            carry >>= 1
        peaks.append(root)
        self._size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, root = self._peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root

    @property
    def peaks(self) -> bytes:
        """The roots of the full subtrees, the largest first, one after the other; the inverse of `from_peaks`."""
        return b"".join(self._peaks)

    @classmethod
    def from_peaks(cls, peaks: bytes, *, size: int) -> CompactTree:
        """The tree of ``size`` leaves with these peaks. Raises ValueError for as many as no such tree has."""
        if size < 0 or len(peaks) != size.bit_count() * _HASH_BYTES:
            raise ValueError(f"a tree of {size} leaves does not have {len(peaks)} bytes of peaks")
        tree = cls()
        tree._peaks = [peaks[at : at + _HASH_BYTES] for at in range(0, len(peaks), _HASH_BYTES)]
        tree._size = size
        return tree

    def copy(self) -> CompactTree:
        """A tree of the same leaves that grows by itself."""
        twin = CompactTree()
        twin._peaks = self._peaks.copy()
        twin._size = self._size
        return twin


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from the leaf at ``index`` to the root, from the leaf up (PATH of RFC 6962).

    Raises ValueError when there is no such leaf.
    """
    return inclusion_paths(leaf_hashes, [index])[0]


def inclusion_paths(leaf_hashes: Sequence[bytes], indexes: Sequence[int]) -> list[list[bytes]]:
    """The paths of several leaves, for which the tree is made once."""
    for index in indexes:
        if not 0 <= index < len(leaf_hashes):
            raise ValueError(f"there is no leaf {index} among {len(leaf_hashes)}")
    paths: list[list[bytes]] = [[] for _ in indexes]
    level, height = leaf_hashes, 0
    while len(level) > 1:
        for index, path in zip(indexes, paths, strict=True):
            sibling = index >> height ^ 1
            if sibling < len(level):
                path.append(level[sibling])
        level, height = _parents(level), height + 1
    return paths


def root_from_inclusion(leaf_hash: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a tree of ``size`` leaves must have for ``path`` to prove the leaf at ``index``.

    The caller compares it with the root it trusts. Raises ValueError for an index outside the tree and
    for a path that cannot be one of this index and size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    below_the_edge = (index ^ (size - 1)).bit_length()
    along_the_edge = (index >> below_the_edge).bit_count()
    if len(path) != below_the_edge + along_the_edge:
        raise ValueError(f"the path of leaf {index} of {size} has {below_the_edge + along_the_edge} hashes")
    if not all(len(known) == _HASH_BYTES for known in (leaf_hash, *path)):
        raise ValueError(f"a hash has {_HASH_BYTES} bytes")
    root = leaf_hash
    for level, sibling in enumerate(path):
        is_right = level >= below_the_edge or index >> level & 1
        root = node_hash(sibling, root) if is_right else node_hash(root, sibling)
    return root


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The hashes that prove the tree of the first ``old_size`` leaves a prefix of this one (PROOF of RFC 6962).

    Empty when the two are the same, and for the tree without leaves, which is a prefix of any.
    Raises ValueError when ``old_size`` is none of 0 to the number of leaves.
    """
    if not 0 <= old_size <= len(leaf_hashes):
        raise ValueError(f"a tree of {len(leaf_hashes)} leaves was never one of {old_size}")
    if old_size == 0:
        return []
    path = []
    start, end = 0, len(leaf_hashes)
    while end > old_size:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if old_size <= split:
            path.append(root_of(leaf_hashes[split:end]))
            end = split
        else:
            path.append(root_of(leaf_hashes[start:split]))
            start = split
    if start > 0:
        path.append(root_of(leaf_hashes[start:end]))
    return path[::-1]


def check_consistency(*, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether ``path`` proves that the new tree only added leaves to the old one."""
    if not 0 <= old_size <= new_size or not all(len(known) == _HASH_BYTES for known in (old_root, new_root, *path)):
        return False
    if old_size == new_size:
        return not path and old_root == new_root and (old_size > 0 or old_root == EMPTY_ROOT)
    if old_size == 0:
        return not path and old_root == EMPTY_ROOT
    is_full = old_size & (old_size - 1) == 0
    return _roots_by_consistency(old_size, new_size, [old_root, *path] if is_full else path) == (old_root, new_root)


def _roots_by_consistency(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The two roots that a path leads to, the first of its hashes being common to both; None when it is none."""
    if not path:
        return None
    old_node, new_node = old_size - 1, new_size - 1
    while old_node & 1:
        old_node, new_node = old_node >> 1, new_node >> 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if new_node == 0:
            return None
        if old_node & 1 or old_node == new_node:
            old_root, new_root = node_hash(sibling, old_root), node_hash(sibling, new_root)
            while old_node and not old_node & 1:
                old_node, new_node = old_node >> 1, new_node >> 1
        else:
            new_root = node_hash(new_root, sibling)
        old_node, new_node = old_node >> 1, new_node >> 1
    return (old_root, new_root) if new_node == 0 else None


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """The next level up; a last node without a partner rises as it is, which is the shape of RFC 6962."""
    begun = hashlib.sha256(_NODE_PREFIX)  # a copy takes less time than a new one
    parents = []
    for left, right in zip(level[::2], level[1::2], strict=False):
        node = begun.copy()
        node.update(left + right)
        parents.append(node.digest())
    if len(level) & 1:
        parents.append(level[-1])
    return parents
