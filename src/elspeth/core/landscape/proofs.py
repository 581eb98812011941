"""Collecting what proves some rows: their leaves and those about the run, with paths up to the last seal.

Nothing goes into a bundle out of a trail that does not hold: all sealed leaves of the run are made
again from the tables, and every root, the run's tree and its seals are compared with what is
recorded. All of them, for a record that was deleted is missed by its commit only, whichever that
was. Memory is that of the commits that are needed, 32 bytes a leaf; the tables stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct, field

from elspeth.contracts import MissingTrailError, NoteError, TrailError
from elspeth.core.landscape.bundles import (
    BY_BATCH,
    BY_JOURNEY,
    OF_ROWS,
    WHOLE,
    BundleRecords,
    EarlierTree,
    ProvenCommit,
    ProvenLeaf,
    parse_line,
)
from elspeth.core.landscape.leaves import Blinding, commit_leaf, leaf_hasher
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.recorded_leaves import Leaf, leaves
from elspeth.core.landscape.seals import seal_text
from elspeth.core.merkle import CompactTree, consistency_path, inclusion_paths, root_of
from elspeth.core.notes import VerifierKey, parse_note

__all__ = ["Proof", "collect_proof"]

_HASH_BYTES = 32
_ROWS = "AND row_index IN (SELECT value FROM json_each(?))"
_BATCHES = "AND batch_no IN (SELECT value FROM json_each(?))"


class Proof(Struct, frozen=True, kw_only=True):
    """The records with their paths, the note of the seal that they lead to, and its signer if it is known.

    ``unsealed_commits`` were written after that seal, so nothing of them is here.
    """

    records: BundleRecords
    note: str
    signer: VerifierKey | None
    unsealed_commits: int


class _Commit(Struct, frozen=True, kw_only=True):
    """A commit's record, and what its leaves come to: the hashes of a needed one, else their tree alone."""

    leaf_count: int
    root: bytes
    nonce: bytes
    is_needed: bool
    tree: CompactTree = field(default_factory=CompactTree)
    digests: bytearray = field(default_factory=bytearray)

    def add(self, digest: bytes) -> None:
        """One more leaf."""
        if self.is_needed:
            self.digests.extend(digest)
        else:
            self.tree.append(digest)

    @property
    def is_whole(self) -> bool:
        """Whether the leaves are those that the root was computed over."""
        if not self.is_needed:
            return (self.tree.size, self.tree.root()) == (self.leaf_count, self.root)
        hashes = self.leaf_hashes()
        return (len(hashes), root_of(hashes)) == (self.leaf_count, self.root)

    def leaf_hashes(self) -> list[bytes]:
        """The hashes of a needed commit's leaves."""
        return [bytes(self.digests[at : at + _HASH_BYTES]) for at in range(0, len(self.digests), _HASH_BYTES)]


class _Seal(Struct, frozen=True, kw_only=True):
    """The run's last seal, and the sizes and roots that all seals tell of."""

    size: int
    note: str
    signer: VerifierKey | None
    roots: dict[int, bytes]


class _Selection:
    """Which leaves belong to a bundle: those of its rows, of their journeys and batches, and what the run is."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, rows: Sequence[int]) -> None:
        self._reader = reader
        self._run = run
        self._rows = frozenset(rows)
        self._row_list = json.dumps(sorted(rows))
        self._batches = frozenset(self._values("batch_no", "batch_members", *self._of_rows))
        self._journeys = frozenset(self._columns("commit_no, journey_no", "passages", *self._of_rows))

    @property
    def _of_rows(self) -> tuple[str, str]:
        return _ROWS, self._row_list

    def commits(self) -> set[int]:
        """The commits that wrote something of it: the run's own record is of the first, a journey of its passages'."""
        found = {0}
        for name in (*OF_ROWS, "calls"):
            found.update(self._values("commit_no", name, *self._of_rows))
        for name in BY_BATCH:
            found.update(self._values("commit_no", name, _BATCHES, json.dumps(sorted(self._batches))))
        for name in WHOLE:
            if name != "runs":
                found.update(self._values("commit_no", name))
        return found

    def has(self, leaf: Leaf) -> bool:
        """Whether a leaf belongs to it."""
        if leaf.is_token:
            return leaf.key[0] in self._rows
        ((name, line),) = leaf.lines
        if name not in (*BY_BATCH, *BY_JOURNEY):
            return name in WHOLE
        _, record = parse_line(line)
        if name in BY_JOURNEY:
            return (leaf.commit_no, record["journey_no"]) in self._journeys
        return record["batch_no"] in self._batches or record.get("row_index") in self._rows

    def _values(self, column: str, name: str, condition: str = "", *parameters: str) -> Iterator[Any]:
        return (value for (value,) in self._columns(column, name, condition, *parameters))

    def _columns(self, columns: str, name: str, condition: str, *parameters: str) -> Iterator[tuple[Any, ...]]:
        sql = f"SELECT DISTINCT {columns} FROM {name} WHERE run_no = ? {condition}"
        return self._reader.stream(sql, self._run.run_no, *parameters)


def collect_proof(
    reader: LandscapeReader, run: RunHeader, rows: Sequence[int], *, known_keys: Sequence[VerifierKey]
) -> Proof:
    """Everything that is sealed about the rows. Raises `TrailError` when something of it does not hold.

    Within a snapshot of the reader all is of one moment, also of a live run.
    """
    seal = _last_seal(reader, run, known_keys)
    selection = _Selection(reader, run, rows)
    tree, commits = _tree(reader, run, seal, selection.commits())
    chosen = _chosen_leaves(reader, run, commits, selection)
    _require_rows(run, rows, chosen)
    records = BundleRecords(
        run_id=run.run_id,
        pipeline=run.pipeline,
        rows=tuple(sorted(rows)),
        tree_size=seal.size,
        leaves=tuple(_proven_leaves(commits, chosen)),
        commits=tuple(_proven_commits(tree, commits, sorted({leaf.commit_no for leaf in chosen}))),
        earlier=tuple(
            EarlierTree(size=size, root=root, path=tuple(consistency_path(tree, size)))
            for size, root in sorted(seal.roots.items())
            if size < seal.size
        ),
        files={},
    )
    ((count,),) = reader.query("SELECT COUNT(*) FROM commits WHERE run_no = ?", run.run_no)
    return Proof(records=records, note=seal.note, signer=seal.signer, unsealed_commits=count - seal.size)


def _last_seal(reader: LandscapeReader, run: RunHeader, known_keys: Sequence[VerifierKey]) -> _Seal:
    seals = reader.query(
        "SELECT seal_no, at, reason, tree_size, root, note FROM seals WHERE run_no = ? ORDER BY seal_no", run.run_no
    )
    if not seals:
        raise MissingTrailError(
            f"run {run.run_id} has no seal yet, so nothing of it can be proven", hint="Try again when it has gone on."
        )
    roots: dict[int, bytes] = {}
    for seal in seals:
        size, root = seal[3:5]
        if tuple(map(type, seal)) != (int, int, str, int, bytes, str) or roots.setdefault(size, root) != root:
            raise TrailError(f"seals {run.run_no}/{seal[0]}: it is not as one is written")
    number, at, reason, size, root, note = seals[-1]
    place = f"seals {run.run_no}/{number}"
    try:
        parsed = parse_note(note)
        signer = parsed.signed_by(known_keys)
        text = seal_text(run_id=run.run_id, tree_size=size, root=root, at=at, reason=reason)
    except NoteError as error:
        raise TrailError(f"{place}: {error.message}") from error
    except (ValueError, OverflowError, OSError) as error:
        raise TrailError(f"{place}: no note is made of its columns: {error}") from error
    if parsed.text != text:
        raise TrailError(f"{place}: its columns are not what its note says")
    return _Seal(size=size, note=note, signer=signer, roots=roots)


def _tree(
    reader: LandscapeReader, run: RunHeader, seal: _Seal, needed: set[int]
) -> tuple[list[bytes], dict[int, _Commit]]:
    """The leaves of the run's tree, and its commits by number; both as far as they are sealed."""
    tree: list[bytes] = []
    compact, roots = CompactTree(), dict(seal.roots)
    commits: dict[int, _Commit] = {}
    for number, leaf_count, root, nonce in reader.stream(
        "SELECT commit_no, leaf_count, root, nonce FROM commits WHERE run_no = ? ORDER BY commit_no LIMIT ?",
        run.run_no,
        seal.size,
    ):
        if (number, type(leaf_count), type(root), type(nonce)) != (len(tree), int, bytes, bytes):
            raise TrailError(f"commits {run.run_no}/{len(tree)}: there is no such record, or not as one is written")
        tree.append(commit_leaf(run.run_id, commit_no=number, leaf_count=leaf_count, root=root))
        compact.append(tree[-1])
        sealed = roots.pop(compact.size, None)
        if sealed is not None and sealed != compact.root():
            raise TrailError(f"commits {run.run_no}/0 to {number}: they are not those that were sealed")
        commits[number] = _Commit(leaf_count=leaf_count, root=root, nonce=nonce, is_needed=number in needed)
    if roots:
        raise TrailError(f"commits {run.run_no}/{len(tree)}: missing, and {max(roots)} were sealed")
    return tree, commits


def _chosen_leaves(
    reader: LandscapeReader, run: RunHeader, commits: dict[int, _Commit], selection: _Selection
) -> list[Leaf]:
    """The leaves that belong to the bundle, after all sealed leaves of the run were found to be as recorded."""
    hash_of = leaf_hasher({number: commit.nonce for number, commit in commits.items()})
    chosen = []
    for leaf in leaves(reader, run):
        commit = commits.get(leaf.commit_no)
        if commit is not None:
            commit.add(hash_of(leaf.commit_no, leaf.place, leaf.text))
            if selection.has(leaf):
                chosen.append(leaf)
    for number, commit in commits.items():
        if not commit.is_whole:
            raise TrailError(
                f"commits {run.run_no}/{number}: its records are not those that its root was computed over"
            )
    return chosen


def _require_rows(run: RunHeader, rows: Sequence[int], chosen: Sequence[Leaf]) -> None:
    found = {leaf.key[0] for leaf in chosen if leaf.is_token and "rows" in leaf.tables}
    missing = sorted(set(rows) - found)
    if missing:
        raise MissingTrailError(
            f"run {run.run_id} has no row {missing[0]} that is sealed",
            hint="Rows count from 0. What a run that goes on has just recorded is sealed within a minute.",
        )


def _proven_commits(
    tree: Sequence[bytes], commits: dict[int, _Commit], numbers: Sequence[int]
) -> Iterator[ProvenCommit]:
    for number, path in zip(numbers, inclusion_paths(tree, numbers), strict=True):
        commit = commits[number]
        yield ProvenCommit(commit_no=number, leaf_count=commit.leaf_count, root=commit.root, path=tuple(path))


def _proven_leaves(commits: dict[int, _Commit], chosen: Sequence[Leaf]) -> Iterator[ProvenLeaf]:
    """Commit by commit, so that the tree of each is made once, and one at a time."""
    by_commit: dict[int, list[Leaf]] = {}
    for leaf in chosen:
        by_commit.setdefault(leaf.commit_no, []).append(leaf)
    for number, found in sorted(by_commit.items()):
        blinding = Blinding(commits[number].nonce)
        paths = inclusion_paths(commits[number].leaf_hashes(), [leaf.place for leaf in found])
        for leaf, path in zip(found, paths, strict=True):
            yield ProvenLeaf(
                commit_no=number,
                place=leaf.place,
                blinding=blinding.of(leaf.place),
                lines=tuple(line.removesuffix("\n") for _, line in leaf.lines),
                path=tuple(path),
            )
