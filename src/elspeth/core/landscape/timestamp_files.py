"""The answers of time-stamping authorities beside the seals that they stamp: ``seals/RUN.SIZE.tsr``.

SIZE is the number of commits that the seal covers, the second line of its note; what is stamped is the
SHA-256 of that note, every byte of it. The file is the authority's answer as it came (RFC 3161, DER), so
``openssl ts`` reads it too.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from elspeth.contracts import MissingTrailError, TimestampError
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.seals import SealFolder
from elspeth.core.payloads import sync_folder

__all__ = ["keep_timestamp", "last_seal", "read_timestamp_file", "timestamp_file", "timestamp_files"]

_NAME: Final = re.compile(r"(.+)\.(0|[1-9][0-9]{0,18})\.tsr")
_MOST_BYTES: Final = 1 << 20


def last_seal(reader: LandscapeReader, run: RunHeader) -> tuple[int, str]:
    """How many commits the last seal of a run covers, and its note; raises `MissingTrailError` when it has none."""
    for size, note in reader.query(
        "SELECT tree_size, note FROM seals WHERE run_no = ? ORDER BY seal_no DESC LIMIT 1", run.run_no
    ):
        return size, note
    raise MissingTrailError(f"run {run.run_id} has no seal yet", hint="It is sealed as soon as it has gone on.")


def timestamp_file(folder: SealFolder, run_id: str, size: int) -> Path:
    """Where the timestamp of the seal of so many commits is kept."""
    return folder.folder / f"{run_id}.{size}.tsr"


def timestamp_files(folder: SealFolder) -> Iterator[tuple[str, int, Path]]:
    """Every timestamp that is there: run, size and file."""
    for path in sorted(folder.folder.glob("*.tsr")):
        if named := _NAME.fullmatch(path.name):
            yield named.group(1), int(named.group(2)), path


def read_timestamp_file(path: Path) -> bytes:
    """The answer in a file; raises `TimestampError`. What is too long for one is not read to its end."""
    with _told(path, "read"), path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TimestampError(f"{path} is too long for a timestamp")
    return data


def keep_timestamp(path: Path, answer: bytes) -> None:
    """Puts an answer in its place at once, durably; raises `TimestampError`."""
    with _told(path, "written"):
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(answer)
                file.flush()
                os.fsync(descriptor)
                os.fchmod(descriptor, 0o644)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def _told(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TimestampError(
            f"{path} cannot be {done}: {error.strerror or error}", hint="Mend its permissions, or make room."
        ) from error
