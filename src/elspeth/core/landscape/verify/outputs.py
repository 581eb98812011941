"""Whether the outputs on the disk are the ones that the run finished."""

from __future__ import annotations

import hashlib
from pathlib import Path

from elspeth.core.landscape.extents import PART_EXTENT, extents_of, first_wrong_extent
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.verify.findings import Step

__all__ = ["check_outputs"]


def check_outputs(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """Compares each output with its artifact. One that a later run replaced, or that is not here, is only noted."""
    count = 0
    for node_no, name, path, size, digest in reader.query(
        "SELECT a.node_no, n.name, a.path, a.size, a.hash FROM artifacts a "
        "JOIN nodes n ON n.run_no = a.run_no AND n.node_no = a.node_no WHERE a.run_no = ? ORDER BY a.node_no",
        run.run_no,
    ):
        _check_size(reader, run, step, node_no, size)
        later = _superseded_by(reader, run, path)
        if later is not None:
            step.note(f"{name}: {path} is superseded by run {later}")
        elif not Path(path).exists():
            step.note(f"{name}: {path} is not here, so it was not compared")
        elif not Path(path).is_file():
            step.find("outputs", path, "it is no file")
        else:
            _check_file(reader, run, step, node_no, Path(path), size, digest)
            count += 1
    step.checked = f"{count} files"


def _check_size(reader: LandscapeReader, run: RunHeader, step: Step, node_no: int, size: int) -> None:
    """What the commits appended to an output is all of it."""
    ((appended,),) = reader.query(
        "SELECT COALESCE(SUM(length), 0) FROM extents WHERE run_no = ? AND kind = ? AND file_no = ?",
        run.run_no,
        PART_EXTENT,
        node_no,
    )
    if appended != size:
        step.find("artifacts", node_no, f"it has {size} bytes, and the commits appended {appended}")


def _superseded_by(reader: LandscapeReader, run: RunHeader, path: str) -> str | None:
    """The run that put an output in the same place last, if that was not this one.

    The commits' times say so, which are sealed: a run that was begun first may have been completed last.
    """
    found = reader.query(
        "SELECT r.run_id FROM artifacts a JOIN runs r ON r.run_no = a.run_no JOIN commits c ON c.run_no = a.run_no "
        "AND c.commit_no = a.commit_no WHERE a.path = ? ORDER BY c.at DESC, a.run_no DESC LIMIT 1",
        path,
    )
    return str(found[0][0]) if found and found[0][0] != run.run_id else None


def _check_file(
    reader: LandscapeReader, run: RunHeader, step: Step, node_no: int, path: Path, size: int, digest: bytes
) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
            found_size = file.tell()
            if found == digest:
                return
            wrong = first_wrong_extent(file, extents_of(reader, run.run_no, kind=PART_EXTENT, file_no=node_no))
    except OSError as error:
        step.find("outputs", path, f"it cannot be read: {error.strerror or error}")
        return
    if wrong is not None:
        place = f"{path} bytes {wrong.start} to {wrong.start + wrong.length - 1}"
        step.find("outputs", place, "they are not what the run wrote")
    else:
        step.find("outputs", f"{path} byte {size}", f"it has {found_size} bytes, and the run wrote {size}")
