"""The run's tree, its seals, and who signed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from elspeth.contracts import NoteError, RunStatus, TrailError
from elspeth.core.landscape.leaves import commit_leaf
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.seals import SealFolder, origin_of, recorded_notes, seal_text
from elspeth.core.landscape.verify.findings import Finding, Report, Step, Strength
from elspeth.core.merkle import CompactTree
from elspeth.core.notes import Checkpoint, VerifierKey, parse_checkpoint, parse_note
from elspeth.core.timestamps import TrustedAuthorities

__all__ = ["Brought", "RunTree", "check_brought", "check_seals", "check_signatures", "check_tree"]


class Brought(Struct, frozen=True, kw_only=True):
    """What a verifier brought: keys and notes that were kept elsewhere; ``known_keys`` are this machine's own.

    ``successors`` are the keys to which statements lead from those that were brought, with the words that say
    how; ``doubts`` are what is wrong with such statements. ``authorities`` sign timestamps that are believed.
    """

    keys: Sequence[VerifierKey] = ()
    checkpoints: Sequence[str] = ()
    known_keys: Sequence[VerifierKey] = ()
    successors: Mapping[VerifierKey, str] = field(default_factory=dict)
    doubts: Sequence[Finding] = ()
    authorities: TrustedAuthorities | None = None


class RunTree(Struct):
    """The run's tree: its size, and the root at each size that somebody asks for."""

    size: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)


class _Seal(Struct, frozen=True, kw_only=True):
    """A seal as the table has it."""

    number: int
    at: int
    reason: str
    tree_size: int
    root: bytes
    note: str


def check_tree(reader: LandscapeReader, run: RunHeader, step: Step, brought: Brought) -> RunTree:
    """Computes the run's tree, and keeps its roots at the sizes that seals and brought checkpoints tell of."""
    wanted = {seal.tree_size for seal in _seals(reader, run)}
    wanted |= {checkpoint.size for checkpoint in _readable(brought.checkpoints, run)}
    tree, found = CompactTree(), RunTree()
    for number, leaf_count, root, peaks in reader.stream(
        "SELECT commit_no, leaf_count, root, peaks FROM commits WHERE run_no = ? ORDER BY commit_no", run.run_no
    ):
        if number != tree.size:
            step.find("commits", tree.size, f"there is no such commit, but there is commit {number}")
            break
        if peaks != tree.peaks:
            step.find("commits", number, "its peaks are not those of the commits before it")
        tree.append(commit_leaf(run.run_id, commit_no=number, leaf_count=leaf_count, root=root))
        if tree.size in wanted:
            found.roots[tree.size] = tree.root()
    found.size = tree.size
    found.roots[tree.size] = tree.root()
    step.checked = f"{tree.size:,} commits, root {tree.root().hex()}"
    return found


def check_seals(reader: LandscapeReader, run: RunHeader, step: Step, tree: RunTree, folder: SealFolder) -> None:
    """Every seal, in the table and in the file, must tell of the tree as it is."""
    seals = list(_seals(reader, run))
    for number, seal in enumerate(seals):
        if seal.number != number:
            step.find("seals", number, "there is no such seal, but there are later ones")
            break
    for before, seal in zip([None, *seals], seals, strict=False):
        _check_seal(run, step, seal, tree)
        if before is not None and (seal.tree_size, seal.at) < (before.tree_size, before.at):
            step.find("seals", seal.number, "it tells of less than the seal before it")
    _check_file(reader, run, step, seals, folder)
    _check_end(reader, run, step, covered=max((seal.tree_size for seal in seals), default=0), size=tree.size)
    step.checked = f"{len(seals):,} seals"


def check_signatures(reader: LandscapeReader, run: RunHeader, report: Report, step: Step, brought: Brought) -> None:
    """Who signed the seals: the keys that were brought or their successors, else those that this machine knows."""
    keys = [*brought.keys, *brought.successors] or brought.known_keys
    signers: dict[VerifierKey, int] = {}
    for seal in _seals(reader, run):
        signer = _signer(seal.note, keys, step, "seals", seal.number)
        if signer is not None:
            signers[signer] = signers.get(signer, 0) + 1
    if not keys:
        step.note("nobody's key is known here, so no signature was checked: bring one with --key")
        step.checked = "nothing"
        return
    step.checked = ", ".join(f"{count:,} by {key.name}" for key, count in signers.items()) or "no seals"
    if brought.keys and signers:
        report.strength = Strength.SIGNED
        report.anchors += [_key_anchor(key, brought) for key in signers]


def _key_anchor(key: VerifierKey, brought: Brought) -> str:
    chain = brought.successors.get(key)
    return f"the key {key.encode()}{f': {chain}' if chain else ''}"


def check_brought(
    reader: LandscapeReader, run: RunHeader, report: Report, step: Step, tree: RunTree, brought: Brought
) -> None:
    """The checkpoints that were brought must be signed, tell of this tree at their size, and be among its seals."""
    keys = [*brought.keys, *brought.successors, *brought.known_keys]
    sealed = {_text_of(run, seal) for seal in _seals(reader, run)} if brought.checkpoints else set()
    for text in brought.checkpoints:
        checkpoint = next(iter(_readable([text], run)), None)
        if checkpoint is None:
            continue
        if not keys:
            step.note("no key is known here, so the brought checkpoint is trusted as it is")
        elif _signer(text, keys, step, "checkpoint", checkpoint.size) is None:
            continue
        if tree.size < checkpoint.size:
            message = f"it tells of {checkpoint.size} commits, and there are {tree.size}"
            step.find("commits", tree.size, f"missing: the checkpoint that was brought is newer: {message}")
        elif tree.roots.get(checkpoint.size) != checkpoint.root:
            step.find(
                "commits", f"0 to {checkpoint.size - 1}", "they are not those that the brought checkpoint tells of"
            )
        elif parse_note(text).text not in sealed:
            step.find("seals", f"{checkpoint.size} commits", "missing: there is no seal like the checkpoint brought")
        else:
            report.strength = Strength.ANCHORED
            report.anchors.append(f"the checkpoint of {checkpoint.size} commits, root {checkpoint.root.hex()}")
    if brought.checkpoints and not _readable(brought.checkpoints, run):
        step.note("no checkpoint that was brought is of this run")


def _seals(reader: LandscapeReader, run: RunHeader) -> list[_Seal]:
    return [
        _Seal(
            number=number, at=at, reason=reason, tree_size=size, root=root, note=note if isinstance(note, str) else ""
        )
        for number, at, reason, size, root, note in reader.query(
            "SELECT seal_no, at, reason, tree_size, root, note FROM seals WHERE run_no = ? ORDER BY seal_no", run.run_no
        )
    ]


def _check_seal(run: RunHeader, step: Step, seal: _Seal, tree: RunTree) -> None:
    try:
        note = parse_note(seal.note)
    except NoteError as error:
        step.find("seals", seal.number, f"its note cannot be read: {error.message}")
        return
    if note.text != _text_of(run, seal):
        step.find("seals", seal.number, "its columns are not what its note says")
    elif len(note.signatures) != 1:
        step.find("seals", seal.number, f"it has {len(note.signatures)} signatures, and is written with one")
    elif seal.tree_size > tree.size:
        step.find("commits", tree.size, f"missing: seal {seal.number} tells of {seal.tree_size} commits")
    elif tree.roots.get(seal.tree_size) != seal.root:
        step.find("commits", f"0 to {seal.tree_size - 1}", f"they are not those that seal {seal.number} tells of")


def _check_end(reader: LandscapeReader, run: RunHeader, step: Step, *, covered: int, size: int) -> None:
    """Whatever ends a process seals its run. Commits that no seal covers are those of a process that is at work or
    was killed, or somebody wrote them who has no key."""
    if covered >= size:
        return
    is_at_work = RunLock(reader.database.parent, run.run_id).is_held
    if is_at_work or reader.status(run.run_no)[0] is RunStatus.RUNNING:
        step.note(f"{size - covered} commits after the last seal are not sealed")
    else:
        message = "no seal covers them: their process was killed before it sealed them, or they were added"
        step.find("commits", f"{covered} to {size - 1}", message)


def _text_of(run: RunHeader, seal: _Seal) -> str | None:
    """The text that the columns make; None for values of which no text can be made."""
    try:
        return seal_text(run_id=run.run_id, tree_size=seal.tree_size, root=seal.root, at=seal.at, reason=seal.reason)
    except (NoteError, TypeError, ValueError, OverflowError, OSError):
        return None


def _check_file(reader: LandscapeReader, run: RunHeader, step: Step, seals: list[_Seal], folder: SealFolder) -> None:
    """The file must hold the same notes. What a crash kept out of it is put there by the next resume."""
    path = folder.file(run.run_id)
    if not path.exists():
        if seals:
            step.note(f"the file of the seals is not here ({path}): only the database tells of them")
        return
    try:
        kept = folder.notes(run.run_id)
    except (TrailError, NoteError) as error:
        step.find("seals", path, error.message)
        return
    recorded = [seal.note for seal in seals]
    if kept != recorded and _is_being_sealed(reader, run, recorded=recorded, kept=kept):
        step.note("the run was sealed while it was verified: the last seal is not compared with the file")
        return
    for number, (one, other) in enumerate(zip(recorded, kept, strict=False)):
        if one != other:
            is_cut = number == len(kept) - 1 and isinstance(one, str) and one.startswith(other)
            message = "it is cut short in the file" if is_cut else "the file and the database have different notes"
            step.find("seals", f"{path.name} seal {number}", message)
            return
    if len(kept) > len(recorded):
        step.find("seals", len(recorded), f"missing: {path.name} has {len(kept)} seals, the database {len(recorded)}")
    elif len(kept) < len(recorded):
        step.find("seals", f"{path.name} seal {len(kept)}", "the file lacks a seal that the database has")


def _is_being_sealed(reader: LandscapeReader, run: RunHeader, *, recorded: list[str], kept: list[str]) -> bool:
    """Whether the file differs from what was read only because a process seals the run right now.

    A seal is a record before it stands in the file. One that was made after the records were read is in the database,
    as a reader without a snapshot sees it; one that is not in the file yet is on its way while the run's lock is held.
    """
    if kept == recorded[:-1]:
        return RunLock(reader.database.parent, run.run_id).is_held
    if kept[: len(recorded)] != recorded:
        return False
    with LandscapeReader(reader.database) as now:
        return recorded_notes(now, run)[: len(kept)] == kept


def _signer(note: str, keys: Sequence[VerifierKey], step: Step, where: str, place: object) -> VerifierKey | None:
    if not keys:
        return None
    try:
        signer = parse_note(note).signed_by(keys)
    except NoteError as error:
        step.find(where, place, error.message)
        return None
    if signer is None:
        names = ", ".join(sorted({signature.name for signature in parse_note(note).signatures}))
        step.find(where, place, f"it is signed by {names}, whose key is not among those that were brought or are known")
    return signer


def _readable(notes: Sequence[str], run: RunHeader) -> list[Checkpoint]:
    """The checkpoints of this run; raises `NoteError` for what is none at all."""
    checkpoints = [parse_checkpoint(parse_note(note).text) for note in notes]
    return [checkpoint for checkpoint in checkpoints if checkpoint.origin == origin_of(run.run_id)]
