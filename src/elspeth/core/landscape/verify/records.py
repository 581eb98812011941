"""Whether every record is the one that its commit wrote: all leaves again, every commit's root."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from elspeth.contracts import TrailError
from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hasher
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_json
from elspeth.core.landscape.recorded_leaves import Leaf, leaves
from elspeth.core.landscape.verify.culprits import Suspects, first_wrong
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.merkle import CompactTree

__all__ = ["check_records"]

_MOST_COMMITS_SEARCHED = 3


class _Commit(Struct, kw_only=True):
    """A commit's record, and what its leaves come to."""

    leaf_count: int
    root: bytes
    nonce: bytes
    table_checks: dict[str, int]
    hint_check: int
    tree: CompactTree = field(default_factory=CompactTree)
    found_checks: dict[str, int] = field(default_factory=dict)
    found_hint_check: int = 0
    is_readable: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether the leaves are those that the root was computed over."""
        return self.tree.size == self.leaf_count and self.tree.root() == self.root

    @property
    def wrong_tables(self) -> set[str]:
        """The tables whose lines are not those of the commit, as far as the checksums tell."""
        names = self.table_checks.keys() | self.found_checks.keys()
        return {name for name in names if self.table_checks.get(name) != self.found_checks.get(name)}


def check_records(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """Checks every record of a run against the roots of its commits."""
    commits = _commits(reader, run, step)
    hash_of = leaf_hasher({number: commit.nonce for number, commit in commits.items()})
    strays: dict[int, Leaf] = {}
    count = 0
    for leaf in leaves(reader, run):
        commit = commits.get(leaf.commit_no)
        if commit is None:
            strays.setdefault(leaf.commit_no, leaf)
            continue
        digest = hash_of(leaf.commit_no, leaf.place, leaf.text)
        commit.tree.append(digest)
        commit.found_hint_check = zlib.crc32(digest[:HINT_BYTES], commit.found_hint_check)
        for name, line in leaf.lines:
            data = line.encode(errors="surrogateescape")
            commit.found_checks[name] = zlib.crc32(data, commit.found_checks.get(name, 0))
        count += 1
    for commit_no, leaf in strays.items():
        message = f"no commit speaks for it: there is none with the number {commit_no}"
        step.find(leaf.lines[0][0], leaf.label, message)
    wrong = [number for number, commit in commits.items() if commit.is_readable and not commit.is_whole]
    _find_wrong(reader, run, step, {number: commits[number] for number in wrong[:_MOST_COMMITS_SEARCHED]})
    for number in wrong[_MOST_COMMITS_SEARCHED:]:
        step.find("commits", number, "its records are not those that its root was computed over")
    _check_hints(commits, step)
    step.checked = f"{count:,} leaves in {len(commits):,} commits"


def _commits(reader: LandscapeReader, run: RunHeader, step: Step) -> dict[int, _Commit]:
    """The commits by number; one whose record cannot be read is a finding, and counts as one without leaves."""
    found = {}
    for number, *values in reader.stream(
        "SELECT commit_no, leaf_count, root, nonce, leaf_hints, table_checks_json FROM commits "
        "WHERE run_no = ? ORDER BY commit_no",
        run.run_no,
    ):
        try:
            found[number] = _commit(values, f"commits {run.run_no}/{number}")
        except TrailError as error:
            step.find("commits", number, error.message)
            found[number] = _Commit(leaf_count=0, root=b"", nonce=b"", table_checks={}, hint_check=0, is_readable=False)
    return found


def _commit(values: Sequence[Any], place: str) -> _Commit:
    leaf_count, root, nonce, hints, checks = values
    if [type(value) for value in values] != [int, bytes, bytes, bytes, str]:
        raise TrailError(f"{place}: what it says of its leaves is not of the type of its columns")
    return _Commit(
        leaf_count=leaf_count,
        root=root,
        nonce=nonce,
        table_checks=read_json(checks, place),
        hint_check=zlib.crc32(hints),
    )


def _check_hints(commits: dict[int, _Commit], step: Step) -> None:
    """Hints that lie, beside a root that holds: nobody but a forger writes them."""
    for number, commit in commits.items():
        if not commit.is_whole:
            continue
        if commit.wrong_tables:
            step.find("commits", number, "its table_checks_json is not that of its records")
        if commit.hint_check != commit.found_hint_check:
            step.find("commits", number, "its leaf_hints are not those of its records")


def _find_wrong(reader: LandscapeReader, run: RunHeader, step: Step, commits: dict[int, _Commit]) -> None:
    """Names the first wrong record of each commit whose root does not hold, in one more pass."""
    found: dict[int, list[Leaf]] = {number: [] for number in commits}
    for leaf in leaves(reader, run) if commits else ():
        if leaf.commit_no in found:
            found[leaf.commit_no].append(leaf)
    for number, commit in commits.items():
        ((hints,),) = reader.query(
            "SELECT leaf_hints FROM commits WHERE run_no = ? AND commit_no = ?", run.run_no, number
        )
        suspects = Suspects(
            commit_no=number,
            leaves=found[number],
            hints=hints,
            nonce=commit.nonce,
            wrong_tables=commit.wrong_tables,
        )
        step.add(first_wrong(suspects))
