"""The verification of a bundle, in the steps of the script that lies in it.

1. files: `records.json` names every file beside the payloads, and each has its hash
2. checkpoint: a signed note tells of the run's tree, which continues those that earlier seals tell of
3. commits: the path of each commit leads to the root of the run's tree
4. records: the path of each leaf leads to the root of its commit
5. payloads: what the records name by hash is there or was purged on record, and nothing else is there
6. agreement: the records are of one run, and of the rows that the bundle is about

Each step builds on those before it, so the first difference ends the verification.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elspeth.contracts import KeyFileError, NoteError, PayloadClass, PurgeAction, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape.bundles import (
    CHECKPOINT,
    KEY,
    OF_ROWS,
    PAYLOAD_COLUMNS,
    PAYLOAD_FOLDER,
    README,
    RECORDS,
    SCRIPT,
    BundleRecords,
    decode_records,
    named_hashes,
    payload_name,
)
from elspeth.core.landscape.leaves import commit_leaf, leaf_content
from elspeth.core.landscape.reader import read_word
from elspeth.core.landscape.seals import origin_of
from elspeth.core.landscape.verify.findings import Report, Step, Strength
from elspeth.core.landscape.verify.sealing import Brought
from elspeth.core.merkle import check_consistency, leaf_hash, root_from_inclusion
from elspeth.core.notes import Checkpoint, VerifierKey, parse_checkpoint, parse_note

__all__ = ["verify_bundle"]

_UNREADABLE = (TypeError, ValueError, KeyError, AttributeError, OverflowError)
"""What records may end in that lead to a root, and still are none of ours."""
_USERS = {
    "node_no": ("nodes", ("journeys", "reuses", "batches", "call_intents", "calls")),
    "batch_no": ("batches", ("batch_members", "batch_events", "call_intents", "calls")),
}
"""Columns that name a record of another table: of which table, and where they stand."""

Records = dict[str, list[dict[str, Any]]]
"""Records by table."""


class _DifferenceError(Exception):
    """Something that does not hold: where, at which place, what."""

    def __init__(self, where: str, place: object, message: str) -> None:
        super().__init__(message)
        self.where = where
        self.place = place
        self.message = message


@dataclass(slots=True, kw_only=True)
class _Bundle:
    """The files, and what the steps have found out so far."""

    files: Mapping[str, bytes]
    brought: Brought
    report: Report
    content: BundleRecords = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    roots: dict[int, bytes] = field(default_factory=dict)
    proven: Records = field(default_factory=dict)


def verify_bundle(files: Mapping[str, bytes], *, brought: Brought) -> Report:
    """Verifies a bundle, of which these are the files by name."""
    report = Report("?", "?", "bundle")
    bundle = _Bundle(files=files, brought=brought, report=report)
    steps: tuple[tuple[str, Callable[[_Bundle, Step], None]], ...] = (
        ("files", _check_files),
        ("checkpoint", _check_checkpoint),
        ("commits", _check_commits),
        ("records", _check_records),
        ("payloads", _check_payloads),
        ("agreement", _check_agreement),
    )
    for number, (name, check) in enumerate(steps, start=1):
        step = Step(number, name)
        report.steps.append(step)
        try:
            check(bundle, step)
        except _DifferenceError as wrong:
            step.find(wrong.where, wrong.place, wrong.message)
        except (TrailError, NoteError, KeyFileError) as error:
            step.find(name, report.run_id, error.message)
        except _UNREADABLE as error:
            step.find(name, report.run_id, f"the check could not go on: {type(error).__name__}: {error}")
        if step.finding_count:
            report.strength, report.anchors = Strength.CONSISTENT, []
            break
    return report


def _check_files(bundle: _Bundle, step: Step) -> None:
    if RECORDS not in bundle.files:
        raise _DifferenceError("files", RECORDS, "it is missing")
    bundle.content = decode_records(bundle.files[RECORDS])
    bundle.report.run_id, bundle.report.pipeline = bundle.content.run_id, bundle.content.pipeline
    known = bundle.content.files
    if not {README, SCRIPT, CHECKPOINT} <= known.keys():
        raise _DifferenceError("files", RECORDS, "it lacks the hash of a file that every bundle has")
    others = {name for name in bundle.files if name != RECORDS and not name.startswith(PAYLOAD_FOLDER)}
    for name in sorted(known.keys() | others):
        if name not in known:
            raise _DifferenceError("files", name, "nothing names this file")
        if name not in bundle.files:
            raise _DifferenceError("files", name, "it is missing")
        if sha256(bundle.files[name]) != known[name]:
            raise _DifferenceError("files", name, "it does not have the hash in records.json")
    step.checked = f"{len(bundle.files):,} files"


def _check_checkpoint(bundle: _Bundle, step: Step) -> None:
    keys = bundle.brought.keys or _keys_of(bundle)
    text = _text(bundle, CHECKPOINT)
    note = parse_note(text)
    signer = note.signed_by(keys)
    checkpoint = bundle.checkpoint = parse_checkpoint(note.text)
    content = bundle.content
    if checkpoint.origin != origin_of(content.run_id):
        raise _DifferenceError(CHECKPOINT, checkpoint.origin, "it is the checkpoint of something else")
    if checkpoint.size != content.tree_size:
        raise _DifferenceError(CHECKPOINT, checkpoint.size, "it tells of another tree")
    if keys and signer is None:
        raise _DifferenceError(
            CHECKPOINT, content.run_id, "it is not signed by the key that was brought or came with it"
        )
    bundle.roots = {checkpoint.size: checkpoint.root, **_earlier_roots(content, checkpoint)}
    if bundle.brought.keys and signer is not None:
        bundle.report.strength = Strength.SIGNED
        bundle.report.anchors.append(f"the key {signer.encode()}")
    elif signer is None:
        step.note("nobody's key came with it, so no signature was checked: bring one with --key")
    if bundle.brought.checkpoints:
        _check_brought(bundle, keys)
    by = "nobody that is known here" if signer is None else signer.name
    step.checked = f"{checkpoint.size:,} commits, root {checkpoint.root.hex()}, signed by {by}"


def _keys_of(bundle: _Bundle) -> list[VerifierKey]:
    lines = [line.strip() for line in _text(bundle, KEY).split("\n")] if KEY in bundle.files else []
    return [VerifierKey.parse(line) for line in lines if line and not line.startswith("#")]


def _earlier_roots(content: BundleRecords, checkpoint: Checkpoint) -> dict[int, bytes]:
    before, roots = 0, {}
    for tree in content.earlier:
        is_prefix = before < tree.size < checkpoint.size and check_consistency(
            old_size=tree.size, old_root=tree.root, new_size=checkpoint.size, new_root=checkpoint.root, path=tree.path
        )
        if not is_prefix:
            raise _DifferenceError("earlier", tree.size, "that tree is not the beginning of this one")
        before, roots[tree.size] = tree.size, tree.root
    return roots


def _check_brought(bundle: _Bundle, keys: Sequence[VerifierKey]) -> None:
    """What was brought must be signed, and tell of this tree as it is, or as it was earlier."""
    notes = [parse_note(text) for text in bundle.brought.checkpoints]
    found = [(note, parse_checkpoint(note.text)) for note in notes]
    own = [(note, one) for note, one in found if one.origin == bundle.checkpoint.origin]
    anchor = 0
    for note, one in own:
        if note.signed_by(keys) is None:
            raise _DifferenceError(
                "checkpoint", one.size, "the one that was brought is by another key: bring that key too"
            )
        if one.size not in bundle.roots and one.size < bundle.checkpoint.size:
            raise _DifferenceError("checkpoint", one.size, "no seal of the run tells of so many commits")
        if one.size in bundle.roots and bundle.roots[one.size] != one.root:
            raise _DifferenceError("checkpoint", one.size, "the one that was brought tells of other commits")
        anchor = max(anchor, one.size if one.size in bundle.roots else 0)
    if not anchor:
        what = "what was brought is newer than the bundle: ask for a new one" if own else "none that was brought is its"
        raise _DifferenceError("checkpoint", bundle.content.run_id, what)
    bundle.report.strength = Strength.ANCHORED
    bundle.report.anchors.append(f"the checkpoint of {anchor} commits, root {bundle.roots[anchor].hex()}")


def _check_commits(bundle: _Bundle, step: Step) -> None:
    content, checkpoint = bundle.content, bundle.checkpoint
    seen: set[int] = set()
    for commit in content.commits:
        leaf = commit_leaf(content.run_id, commit_no=commit.commit_no, leaf_count=commit.leaf_count, root=commit.root)
        if commit.commit_no in seen:
            raise _DifferenceError("commits", commit.commit_no, "it stands there twice")
        seen.add(commit.commit_no)
        if _root(leaf, commit.commit_no, checkpoint.size, commit.path) != checkpoint.root:
            raise _DifferenceError("commits", commit.commit_no, "its path does not lead to the checkpoint's root")
    step.checked = f"{len(seen):,} commits"


def _check_records(bundle: _Bundle, step: Step) -> None:
    commits = {commit.commit_no: commit for commit in bundle.content.commits}
    places: set[tuple[int, int]] = set()
    for leaf in bundle.content.leaves:
        where = f"leaf {leaf.place} of commit {leaf.commit_no}"
        commit = commits.get(leaf.commit_no)
        if commit is None or (leaf.commit_no, leaf.place) in places:
            raise _DifferenceError("records", where, "it stands there twice, or is of no commit")
        places.add((leaf.commit_no, leaf.place))
        text = "".join(f"{line}\n" for line in leaf.lines)
        digest = leaf_hash(leaf_content(leaf.blinding, text))
        if _root(digest, leaf.place, commit.leaf_count, leaf.path) != commit.root:
            raise _DifferenceError("records", where, "it does not lead to the root of its commit")
    if {number for number, _ in places} != commits.keys():
        raise _DifferenceError("commits", "", "there is one without a record")
    proven: Records = defaultdict(list)
    for name, record in bundle.content.records():
        proven[name].append(record)
    bundle.proven = proven
    step.checked = f"{len(places):,} leaves, {sum(map(len, proven.values())):,} records"


def _root(digest: bytes, index: int, size: int, path: tuple[bytes, ...]) -> bytes | None:
    try:
        return root_from_inclusion(digest, index=index, size=size, path=path)
    except ValueError:
        return None


def _check_payloads(bundle: _Bundle, step: Step) -> None:
    gone = {
        read_word(PayloadClass, purge["class"], "purges")
        for purge in bundle.proven.get("purges", ())
        if purge["action"] in (PurgeAction.PURGING, PurgeAction.PURGED)
    }
    named: set[str] = set()
    for table, (payload_class, columns) in PAYLOAD_COLUMNS.items():
        records = bundle.proven.get(table, ())
        digests = [digest for record in records for column in columns for digest in named_hashes(record, column)]
        for name in map(payload_name, digests):
            named.add(name)
            if name not in bundle.files and payload_class not in gone:
                raise _DifferenceError("payloads", name, f"{table} names it, and it is missing")
    for name in sorted(name for name in bundle.files if name.startswith(PAYLOAD_FOLDER)):
        if name not in named:
            raise _DifferenceError("payloads", name, "no record names this file")
        if payload_name(hashlib.sha256(bundle.files[name]).hexdigest()) != name:
            raise _DifferenceError("payloads", name, "its bytes have another SHA-256")
    step.checked = f"{len(named & bundle.files.keys()):,} payloads"
    if missing := named - bundle.files.keys():
        step.note(f"{len(missing):,} payloads were purged, as the records say")


def _check_agreement(bundle: _Bundle, step: Step) -> None:
    content, proven = bundle.content, bundle.proven
    runs = proven.get("runs", [])
    if len(runs) != 1 or (runs[0]["run_id"], runs[0]["pipeline"]) != (content.run_id, content.pipeline):
        raise _DifferenceError("runs", content.run_id, "there is not one record of the run, under its name")
    if sha256(runs[0]["config_json"].encode()).hex() != runs[0]["config_hash"]:
        raise _DifferenceError("runs", content.run_id, "its settings have another hash")
    rows = sorted(record["row_index"] for record in proven.get("rows", ()))
    if rows != list(content.rows):
        raise _DifferenceError("rows", content.run_id, "they are not those that the bundle is about")
    others = {record["row_index"] for table in OF_ROWS for record in proven.get(table, ())} - set(rows)
    if others:
        raise _DifferenceError("rows", min(others), "there is a record of this row, which the bundle is not about")
    for column, (table, users) in _USERS.items():
        known = {record[column] for record in proven.get(table, ())}
        for user in users:
            for record in proven.get(user, ()):
                if record[column] is not None and record[column] not in known:
                    raise _DifferenceError(user, record[column], f"it names something in {table} that is not here")
    _check_journeys(proven)
    step.checked = f"run {content.run_id}, {len(rows):,} rows"


def _check_journeys(proven: Records) -> None:
    """The passages' journeys must be here, whole, with as many hashes as the passages have; and no others."""
    journeys: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for one in sorted(proven.get("journeys", ()), key=lambda one: one["place"]):
        journeys[one["commit_no"], one["journey_no"]].append(one)
    unnamed = set(journeys)
    for passage in proven.get("passages", ()):
        key = passage["commit_no"], passage["journey_no"]
        steps = journeys.get(key, [])
        if not steps or [one["place"] for one in steps] != list(range(steps[0]["last_place"] + 1)):
            raise _DifferenceError("journeys", f"{key[0]}/{key[1]}", "a passage names it, and not all of it is here")
        numbers = [one["hash_no"] for one in steps if one["hash_no"] is not None]
        if numbers != list(range(len(named_hashes(passage, "output_hashes")))):
            raise _DifferenceError("passages", passage["row_index"], "its journey has another number of hashes")
        unnamed.discard(key)
    if unnamed:
        raise _DifferenceError("journeys", "/".join(map(str, min(unnamed))), "no passage that is here names it")


def _text(bundle: _Bundle, name: str) -> str:
    try:
        return bundle.files[name].decode()
    except UnicodeDecodeError as error:
        raise _DifferenceError("files", name, "it is not UTF-8") from error
