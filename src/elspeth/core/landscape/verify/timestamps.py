"""Whether the timestamps beside a run's seals are of those seals, and of authorities that the verifier trusts."""

from __future__ import annotations

from pathlib import Path

from elspeth.contracts import NoteError, TimestampError
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.seals import SealFolder
from elspeth.core.landscape.timestamp_files import read_timestamp_file, timestamp_files
from elspeth.core.landscape.verify.findings import Report, Step, Strength
from elspeth.core.landscape.verify.sealing import RunTree
from elspeth.core.notes import parse_checkpoint, parse_note
from elspeth.core.timestamps import TrustedAuthorities

__all__ = ["check_timestamps"]


def check_timestamps(
    reader: LandscapeReader,
    run: RunHeader,
    report: Report,
    step: Step,
    tree: RunTree,
    folder: SealFolder,
    authorities: TrustedAuthorities | None,
) -> None:
    """Every timestamp of the run must be of the seal that its name tells of. Without authorities they are only noted.

    An anchor is one whose seal tells of the tree as it is: what it covers existed at that time.
    """
    files = [(size, path) for run_id, size, path in timestamp_files(folder) if run_id == run.run_id]
    if authorities is None:
        if files:
            count = "1 timestamp is" if len(files) == 1 else f"{len(files)} timestamps are"
            step.note(f"{count} not checked: bring the authority's root with --tsa-certificate")
        return
    if not files:
        step.note("no timestamp of this run is here")
    notes = dict(reader.query("SELECT tree_size, note FROM seals WHERE run_no = ?", run.run_no))
    for size, path in files:
        if size not in notes:
            step.find("seals", path.name, f"missing: there is a timestamp, and no seal of {size} commits")
        else:
            _check_file(report, step, tree, authorities, notes[size], path)


def _check_file(
    report: Report, step: Step, tree: RunTree, authorities: TrustedAuthorities, note: str, path: Path
) -> None:
    try:
        timestamp = authorities.verify(read_timestamp_file(path), note.encode())
        checkpoint = parse_checkpoint(parse_note(note).text)
    except TimestampError as error:
        step.find("seals", path.name, error.message)
        return
    except NoteError as error:
        step.find("seals", path.name, f"the seal that it stamps cannot be read: {error.message}")
        return
    said = f"seal of {checkpoint.size} commits existed on {timestamp.time}, says {timestamp.authority}"
    if tree.roots.get(checkpoint.size) != checkpoint.root:
        step.find("commits", f"0 to {checkpoint.size - 1}", f"they are not those of a seal that was stamped: {said}")
        return
    report.strength = Strength.ANCHORED
    report.anchors.append(said)
