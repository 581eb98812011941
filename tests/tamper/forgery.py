"""History rewritten by somebody who knows the format and has everything but the key: with the project's own code."""

from __future__ import annotations

import zlib
from collections import defaultdict
from pathlib import Path

from tests.tamper.mutations import insider

from elspeth.core.canonical import compact_json
from elspeth.core.landscape import LandscapeReader, SealFolder
from elspeth.core.landscape.leaves import HINT_BYTES, commit_leaf, leaf_hashes
from elspeth.core.landscape.recorded_leaves import Leaf, leaves
from elspeth.core.landscape.seals import run_tree, seal_text
from elspeth.core.merkle import CompactTree, root_of
from elspeth.core.notes import SigningKey


def recompute(database: Path, *, run_no: int) -> None:
    """Makes the commits of a run tell of the records as they are now; the seals stay what they were."""
    by_commit: dict[int, list[Leaf]] = defaultdict(list)
    with LandscapeReader(database) as reader:
        for leaf in leaves(reader, reader.run_numbered(run_no)):
            by_commit[leaf.commit_no].append(leaf)
        run_id = reader.run_numbered(run_no).run_id
        nonces = dict(reader.query("SELECT commit_no, nonce FROM commits WHERE run_no = ?", run_no))
    tree = CompactTree()
    with insider(database) as connection:
        for number, nonce in sorted(nonces.items()):
            told = _told_of(by_commit[number], nonce)
            connection.execute(
                "UPDATE commits SET leaf_count = ?, root = ?, leaf_hints = ?, table_checks_json = ?, peaks = ? "
                "WHERE run_no = ? AND commit_no = ?",
                (*told, tree.peaks, run_no, number),
            )
            tree.append(commit_leaf(run_id, commit_no=number, leaf_count=told[0], root=told[1]))


def _told_of(found: list[Leaf], nonce: bytes) -> tuple[int, bytes, bytes, str]:
    hashes = leaf_hashes(nonce, [leaf.text for leaf in found])
    texts: dict[str, str] = defaultdict(str)
    for leaf in found:
        for name, line in leaf.lines:
            texts[name] += line
    checks = {name: zlib.crc32(text.encode()) for name, text in texts.items()}
    return len(hashes), root_of(hashes), b"".join(digest[:HINT_BYTES] for digest in hashes), compact_json(checks)


def seal_again(database: Path, *, run_no: int, key: SigningKey) -> None:
    """Makes the seals of a run tell of its commits as they are now, in the table and in the file, with another key."""
    with LandscapeReader(database) as reader:
        run = reader.run_numbered(run_no)
        forged = []
        for number, at, reason, size in reader.query(
            "SELECT seal_no, at, reason, tree_size FROM seals WHERE run_no = ? ORDER BY seal_no", run_no
        ):
            root = run_tree(reader, run, size=size).root()
            note = key.sign(seal_text(run_id=run.run_id, tree_size=size, root=root, at=at, reason=reason))
            forged.append((root, note, run_no, number))
    with insider(database) as connection:
        connection.executemany("UPDATE seals SET root = ?, note = ? WHERE run_no = ? AND seal_no = ?", forged)
    write_seals(database, run.run_id, [note for _, note, _, _ in forged])


def write_seals(database: Path, run_id: str, notes: list[str]) -> None:
    """Puts notes in the place of what the file of a run's seals holds."""
    SealFolder.beside(database).file(run_id).write_text("".join(notes), encoding="utf-8")
