"""Seals: signed checkpoints of a run's tree, in the database and in a file outside of it.

    elspeth/run/01k9x...           origin: the run
    17                             how many commits the tree has
    qOGQ...=                       its root
    at 2031-05-07T09:12:44.000000Z
    reason completed

    — elspeth-5f3a09c1 MhX...      Ed25519, as a signed note (C2SP)

A seal is first a record, then a line of the file, so a record that a crash left alone is
put into the file when the run is opened again. A file that knows more than the database
tells of an older copy: that is refused.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Sequence
from errno import EACCES
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import RunError, TrailError, iso_time
from elspeth.core.landscape.leaves import commit_leaf
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.merkle import CompactTree
from elspeth.core.notes import Checkpoint, SigningKey, encode_checkpoint, split_notes
from elspeth.core.payloads import sync_folder

__all__ = ["SealFolder", "Sealer", "Signing", "origin_of", "recorded_notes", "run_tree", "seal_text"]

_ORIGIN = "elspeth/run/"
_ENDING = ".seals"
_MOST_COMMITS = (1 << 63) - 1
_OLDER = "Put the newer copy back, and resume the run there. What the seals tell of did happen."


class Signing(Struct, frozen=True, kw_only=True):
    """Who seals, and where the seals are kept outside the database."""

    key: SigningKey
    folder: SealFolder

    @classmethod
    def throwaway(cls, database: Path) -> Signing:
        """With a key that nobody keeps: for a trail that is not kept either."""
        return cls(key=SigningKey.generate(), folder=SealFolder.beside(database))


def origin_of(run_id: str) -> str:
    """The origin line of a run's checkpoints."""
    return f"{_ORIGIN}{run_id}"


def seal_text(*, run_id: str, tree_size: int, root: bytes, at: int, reason: str) -> str:
    """The text that is signed; ``at`` in microseconds since the epoch."""
    extensions = (f"at {iso_time(at)}", f"reason {reason}")
    return encode_checkpoint(Checkpoint(origin=origin_of(run_id), size=tree_size, root=root, extensions=extensions))


def run_tree(reader: LandscapeReader, run: RunHeader, *, size: int | None = None) -> CompactTree:
    """The tree of a run over its first ``size`` commits, or all, as one of their records tells.

    Reads one record, however many there are; whether it tells the truth, `elspeth.core.landscape.verify` finds out.
    Raises `TrailError` when there are not so many.
    """
    if size == 0:
        return CompactTree()
    found = reader.query(
        "SELECT commit_no, leaf_count, root, peaks FROM commits WHERE run_no = ? AND commit_no <= ? "
        "ORDER BY commit_no DESC LIMIT 1",
        run.run_no,
        _MOST_COMMITS if size is None else size - 1,
    )
    if not found:
        if size is None:
            return CompactTree()
        raise TrailError(f"run {run.run_id} has no commits")
    commit_no, leaf_count, root, peaks = found[0]
    if size is not None and commit_no != size - 1:
        raise TrailError(f"commits {run.run_no}/{size - 1}: there is no such record")
    try:
        tree = CompactTree.from_peaks(peaks, size=commit_no)
    except ValueError as error:
        raise TrailError(f"commits {run.run_no}/{commit_no}: {error}") from error
    tree.append(commit_leaf(run.run_id, commit_no=commit_no, leaf_count=leaf_count, root=root))
    return tree


def recorded_notes(reader: LandscapeReader, run: RunHeader) -> list[str]:
    """The notes of a run's seals as the database has them, the oldest first."""
    return [note for (note,) in reader.query("SELECT note FROM seals WHERE run_no = ? ORDER BY seal_no", run.run_no)]


class SealFolder:
    """The folder of the seals' files, one for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, database: Path) -> SealFolder:
        """The folder that belongs to a database, unless another was named."""
        return cls(database.parent / "seals")

    def file(self, run_id: str) -> Path:
        """The file of a run's seals."""
        return self.folder / f"{run_id}{_ENDING}"

    def notes(self, run_id: str) -> list[str]:
        """The notes in a run's file; none when there is no file."""
        try:
            if not stat.S_ISREG(self.file(run_id).stat().st_mode):  # a pipe would be waited for
                raise TrailError(f"the seals {self.file(run_id)} are no file")
            return split_notes(self.file(run_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise TrailError(f"the seals {self.file(run_id)} cannot be read: {error}") from error

    def run_ids(self) -> list[str]:
        """The runs that have a file here."""
        return sorted(path.name.removesuffix(_ENDING) for path in self.folder.glob(f"*{_ENDING}"))

    def require_writable(self) -> None:
        """Makes the folder unless it is there; raises `RunError` when no seal could be kept in it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
        except OSError as error:
            raise RunError(
                f"the folder of the seals {self.folder} cannot be written: {error.strerror or error}",
                hint="Mend its permissions, or move away what stands there, then start again.",
            ) from error

    def append(self, run_id: str, notes: Sequence[str]) -> None:
        """Adds notes to a run's file, durably."""
        path = self.file(run_id)
        try:
            is_new = not path.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write("".join(notes))
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_folder(self.folder)
        except OSError as error:
            raise RunError(
                f"the seals {path} cannot be written: {error.strerror or error}",
                hint="Make room or mend the permissions, then resume the run.",
            ) from error

    def require_current(self, reader: LandscapeReader) -> None:
        """Raises `TrailError` when the database lacks a run that was sealed, or what the newest seal tells of.

        The files are looked at first: what another process seals meanwhile is in the database before it is in a file.
        """
        sealed = self.run_ids()
        known = {run_id for (run_id,) in reader.query("SELECT run_id FROM runs")}
        missing = [run_id for run_id in sealed if run_id not in known]
        if missing:
            raise TrailError(
                f"{reader.database} is an older copy or was changed: run {missing[-1]} was sealed and is not in it",
                hint=_OLDER,
            )
        if sealed:
            newest = max(sealed, key=lambda run_id: self.file(run_id).stat().st_mtime_ns)
            self.bring_up_to_date(reader, reader.run(newest), is_repaired=False)

    def bring_up_to_date(self, reader: LandscapeReader, run: RunHeader, *, is_repaired: bool = True) -> None:
        """Adds to a run's file what only the database has, if asked to: whole seals, or the rest of one cut short.

        Raises `TrailError` when the file knows of what is not in the database, or of something else.
        """
        kept = self.notes(run.run_id)  # before the records: see `require_current`
        recorded = recorded_notes(reader, run)
        in_file, in_database = "".join(kept), "".join(map(str, recorded))
        if in_database.startswith(in_file):
            self._require_commits(reader, run)
            if is_repaired and in_file != in_database:
                self.append(run.run_id, [in_database[len(in_file) :]])
            return
        if in_file.startswith(in_database):
            raise TrailError(
                f"{reader.database} is older than the seals of run {run.run_id}: it has {len(recorded)} of {len(kept)}",
                hint=_OLDER,
            )
        raise TrailError(
            f"the seals of run {run.run_id} in {self.file(run.run_id)} are not those in {reader.database}",
            hint="One of the two was changed. elspeth verify says more.",
        )

    def has_all(self, reader: LandscapeReader, run: RunHeader) -> bool:
        """Whether a run's file holds every seal that the database has, and nothing else."""
        return self.notes(run.run_id) == recorded_notes(reader, run)

    @staticmethod
    def _require_commits(reader: LandscapeReader, run: RunHeader) -> None:
        for tree_size, root in reader.query(
            "SELECT tree_size, root FROM seals WHERE run_no = ? ORDER BY seal_no DESC LIMIT 1", run.run_no
        ):
            try:
                is_there = run_tree(reader, run, size=tree_size).root() == root
            except TrailError:
                is_there = False
            if not is_there:
                raise TrailError(
                    f"{reader.database} does not hold what was sealed of run {run.run_id}: {tree_size} commits",
                    hint=_OLDER,
                )


class Sealer:
    """Seals one run as it goes on; everything but `__init__` belongs to the trail's thread."""

    def __init__(self, signing: Signing, *, run: RunHeader, tree: CompactTree, next_no: int, sealed_size: int) -> None:
        self._signing = signing
        self._run = run
        self._tree = tree
        self._next_no = next_no
        self._sealed_size = sealed_size

    @property
    def peaks(self) -> bytes:
        """The peaks of the tree over all commits so far."""
        return self._tree.peaks

    def add_commit(self, *, commit_no: int, leaf_count: int, root: bytes) -> None:
        """Takes note of a commit that is durable."""
        self._tree.append(commit_leaf(self._run.run_id, commit_no=commit_no, leaf_count=leaf_count, root=root))

    def seal(self, connection: sqlite3.Connection, *, reason: str, at: int) -> None:
        """Seals what is durable, unless that is sealed already; ``at`` in microseconds since the epoch."""
        size, root = self._tree.size, self._tree.root()
        if size == self._sealed_size:
            return
        note = self._signing.key.sign(
            seal_text(run_id=self._run.run_id, tree_size=size, root=root, at=at, reason=reason)
        )
        connection.execute(
            "INSERT INTO seals VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._run.run_no, self._next_no, at, reason, size, root, note),
        )
        self._next_no += 1
        self._sealed_size = size
        self._signing.folder.append(self._run.run_id, [note])
