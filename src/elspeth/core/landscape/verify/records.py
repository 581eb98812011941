"""Whether every record is the one that its commit wrote: all leaves again, every commit's root.

A root says that something is wrong, not where. The hints that stand beside it lead there: the
first bytes of each leaf's hash, and a checksum over each table's lines. They decide nothing.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

from elspeth.core.landscape.leaves import HINT_BYTES, Blinding, leaf_content
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_json
from elspeth.core.landscape.recorded_leaves import Leaf, leaves
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.merkle import CompactTree, leaf_hash

__all__ = ["check_records"]

_BLINDINGS_KEPT = 64
_MOST_COMMITS_SEARCHED = 3


@dataclass(slots=True, kw_only=True)
class _Commit:
    """A commit's record, and what its leaves come to."""

    leaf_count: int
    root: bytes
    nonce: bytes
    table_checks: dict[str, int]
    hint_check: int
    tree: CompactTree = field(default_factory=CompactTree)
    found_checks: dict[str, int] = field(default_factory=dict)
    found_hint_check: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the leaves are those that the root was computed over."""
        return self.tree.size == self.leaf_count and self.tree.root() == self.root

    @property
    def wrong_tables(self) -> set[str]:
        """The tables whose lines are not those of the commit, as far as the checksums tell."""
        names = self.table_checks.keys() | self.found_checks.keys()
        return {name for name in names if self.table_checks.get(name) != self.found_checks.get(name)}


class _Hashes:
    """The hash of each leaf; the blinding of the commits that were used last is kept."""

    def __init__(self, commits: dict[int, _Commit]) -> None:
        self._commits = commits
        self._blindings: OrderedDict[int, Blinding] = OrderedDict()

    def of(self, leaf: Leaf, text: str) -> bytes:
        """The hash of a leaf with that text."""
        blinding = self._blindings.get(leaf.commit_no)
        if blinding is None:
            blinding = self._blindings[leaf.commit_no] = Blinding(self._commits[leaf.commit_no].nonce)
            if len(self._blindings) > _BLINDINGS_KEPT:
                self._blindings.popitem(last=False)
        return leaf_hash(leaf_content(blinding.of(leaf.place), text))


def check_records(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """Checks every record of a run against the roots of its commits."""
    commits = _commits(reader, run)
    hashes = _Hashes(commits)
    strays: dict[int, Leaf] = {}
    count = 0
    for leaf in leaves(reader, run):
        commit = commits.get(leaf.commit_no)
        if commit is None:
            strays.setdefault(leaf.commit_no, leaf)
            continue
        digest = hashes.of(leaf, leaf.text)
        commit.tree.append(digest)
        commit.found_hint_check = zlib.crc32(digest[:HINT_BYTES], commit.found_hint_check)
        for name, line in leaf.lines:
            commit.found_checks[name] = zlib.crc32(line.encode(), commit.found_checks.get(name, 0))
        count += 1
    for commit_no, leaf in strays.items():
        if commits:
            step.find(leaf.lines[0][0], leaf.label, f"it says that commit {commit_no} wrote it, and there is none")
    wrong = [number for number, commit in commits.items() if not commit.is_whole]
    for number in wrong[:_MOST_COMMITS_SEARCHED]:
        _find_wrong(reader, run, number, commits, step)
    for number in wrong[_MOST_COMMITS_SEARCHED:]:
        step.find("commits", number, "its records are not those that its root was computed over")
    _check_hints(commits, step)
    step.checked = f"{count:,} leaves in {len(commits):,} commits"


def _commits(reader: LandscapeReader, run: RunHeader) -> dict[int, _Commit]:
    found = {}
    for number, leaf_count, root, nonce, hints, checks in reader.stream(
        "SELECT commit_no, leaf_count, root, nonce, leaf_hints, table_checks_json FROM commits "
        "WHERE run_no = ? ORDER BY commit_no",
        run.run_no,
    ):
        place = f"commits {run.run_no}/{number}"
        found[number] = _Commit(
            leaf_count=leaf_count,
            root=root,
            nonce=nonce,
            table_checks=read_json(checks, place),
            hint_check=zlib.crc32(hints),
        )
    return found


def _check_hints(commits: dict[int, _Commit], step: Step) -> None:
    """Hints that lie, beside a root that holds: nobody but a forger writes them."""
    for number, commit in commits.items():
        if not commit.is_whole:
            continue
        if commit.wrong_tables:
            step.find("commits", number, "its table_checks_json is not that of its records")
        if commit.hint_check != commit.found_hint_check:
            step.find("commits", number, "its leaf_hints are not those of its records")


def _find_wrong(reader: LandscapeReader, run: RunHeader, number: int, commits: dict[int, _Commit], step: Step) -> None:
    """Names the first wrong record of a commit whose root does not hold."""
    commit = commits[number]
    ((hints,),) = reader.query("SELECT leaf_hints FROM commits WHERE run_no = ? AND commit_no = ?", run.run_no, number)
    expected = [hints[at : at + HINT_BYTES] for at in range(0, len(hints), HINT_BYTES)]
    hashes = _Hashes(commits)
    found = [
        (hashes.of(leaf, leaf.text)[:HINT_BYTES], leaf) for leaf in leaves(reader, run) if leaf.commit_no == number
    ]
    same = next((at for at, (one, (other, _)) in enumerate(zip(expected, found, strict=False)) if one != other), None)
    at = min(len(expected), len(found)) if same is None else same
    tables = " and ".join(sorted(commit.wrong_tables))
    if at == 0 and not _has_agreement(expected, found):
        step.find("commits", number, "none of its leaves is the one that was hashed: its nonce was changed")
    elif same is None and len(expected) == len(found):
        what = "its root or its number of leaves is not that of its records, which are as they were"
        step.find("commits", number, what)
    elif len(found) < len(expected) and (at == len(found) or found[at][0] in expected[at + 1 :]):
        after = f"after {found[at - 1][1].tables[0]} {found[at - 1][1].label}" if at else "at its beginning"
        step.find(tables or "?", f"commit {number}, {after}", "a record is missing")
    else:
        leaf = found[at][1]
        names = [name for name in leaf.tables if name in commit.wrong_tables]
        is_extra = len(found) > len(expected) and found[at][0] not in expected
        message = "it was not in the commit" if is_extra else "it is not what was recorded"
        where = " and ".join(names) or tables or leaf.lines[0][0]
        step.find(where, leaf.label, f"{message} (commit {number})")


def _has_agreement(expected: list[bytes], found: list[tuple[bytes, Leaf]]) -> bool:
    known = set(expected)
    return any(hint in known for hint, _ in found)
