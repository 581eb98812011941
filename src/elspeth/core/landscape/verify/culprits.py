"""Which record of a commit is the first wrong one, when the commit's root says that one is.

A root says that something is wrong, not where. The hints that stand beside it lead there: the first
bytes of each leaf's hash, and a checksum over each table's lines. They decide nothing: whoever changes
them too is led nowhere, and the root is as wrong as before.

A leaf is blinded by its place. So behind a record that is missing, or one that is too much, no hash is
the one that it was, and a leaf is looked for at the places where it may have stood.
"""

from __future__ import annotations

from collections.abc import Set

from msgspec import Struct

from elspeth.core.landscape.leaves import HINT_BYTES, Blinding, leaf_content
from elspeth.core.landscape.recorded_leaves import Leaf
from elspeth.core.landscape.verify.findings import Finding
from elspeth.core.merkle import leaf_hash

__all__ = ["Suspects", "first_wrong"]


class Suspects(Struct, frozen=True, kw_only=True):
    """A commit whose root does not hold: its leaves as they are now, its hints, the tables with another checksum."""

    commit_no: int
    leaves: list[Leaf]
    hints: bytes
    nonce: bytes
    wrong_tables: Set[str]


def first_wrong(suspects: Suspects) -> Finding:
    """The first record that is not as it was, as far as the hints tell."""
    trace = _Trace(suspects)
    at = trace.first_mismatch()
    if not suspects.wrong_tables:
        return _of_the_commit(suspects, is_every_leaf_right=at is None)
    if at is None:
        what = "its root is not that of its records, and its hints agree with neither of the two"
        return Finding("commits", str(suspects.commit_no), what)
    if trace.is_missing(at):
        before = suspects.leaves[at - 1] if at else None
        place = "at its beginning" if before is None else f"after {before.tables[0]} {before.label}"
        return Finding(_tables(suspects), f"commit {suspects.commit_no}, {place}", "a record is missing")
    leaf = suspects.leaves[at]
    names = [name for name in leaf.tables if name in suspects.wrong_tables]
    what = "it was not in the commit" if trace.is_extra(at) else "it is not what was recorded"
    return Finding(" and ".join(names) or _tables(suspects), leaf.label, f"{what} (commit {suspects.commit_no})")


def _of_the_commit(suspects: Suspects, *, is_every_leaf_right: bool) -> Finding:
    """The lines of every table are what they were: it is the commit's own record that was changed."""
    if is_every_leaf_right:
        what = "its root or its number of leaves is not that of its records, which are as they were"
    else:
        what = "its leaves are not those that were hashed, and its records are as they were: its nonce was changed"
    return Finding("commits", str(suspects.commit_no), what)


def _tables(suspects: Suspects) -> str:
    return " and ".join(sorted(suspects.wrong_tables))


class _Trace:
    """Leaves as they are, held against the hints of those that were hashed."""

    def __init__(self, suspects: Suspects) -> None:
        hints = suspects.hints
        self._leaves = suspects.leaves
        self._hints = [hints[at : at + HINT_BYTES] for at in range(0, len(hints), HINT_BYTES)]
        self._blinding = Blinding(suspects.nonce)
        self._furthest = max(1, abs(len(self._hints) - len(self._leaves)))

    def first_mismatch(self) -> int | None:
        """The first place at which the leaf is not the one that was hashed; None when there is none."""
        for place in range(max(len(self._leaves), len(self._hints))):
            if not self._is_at(place, place):
                return place
        return None

    def is_missing(self, at: int) -> bool:
        """Whether the leaf at this place stood further back."""
        return at >= len(self._leaves) or any(self._is_at(at, at + back) for back in range(1, self._furthest + 1))

    def is_extra(self, at: int) -> bool:
        """Whether a leaf from further back stood at this place."""
        return at >= len(self._hints) or any(self._is_at(at + back, at) for back in range(1, self._furthest + 1))

    def _is_at(self, number: int, place: int) -> bool:
        """Whether the leaf of that number is the one that was hashed at a place."""
        if number >= len(self._leaves) or place >= len(self._hints):
            return False
        content = leaf_content(self._blinding.of(place), self._leaves[number].text)
        return leaf_hash(content)[:HINT_BYTES] == self._hints[place]
