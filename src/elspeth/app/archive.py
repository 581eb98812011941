"""A bundle as one file: a zip that is the same, byte for byte, for the same files.

Names are sorted; there is no compression, no time, no comment. So an archive that was changed in a
byte that belongs to no file is told from one that was not: `decode_archive` takes only what
`encode_archive` makes.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from elspeth.contracts import TrailError, UsageError

__all__ = ["decode_archive", "encode_archive", "read_bundle"]

_UNIX = 3
_PLAIN_FILE = 0o100644 << 16
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""What reading a damaged archive may end in."""


def encode_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of files by name."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
            archive.writestr(entry, files[name])
    return target.getvalue()


def decode_archive(data: bytes) -> dict[str, bytes]:
    """The inverse of `encode_archive`; raises `TrailError` for any other bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > len(data):
                raise TrailError("the archive tells of more bytes than it has")
            files = {entry.filename: archive.read(entry) for entry in entries}
        is_same = encode_archive(files) == data
    except _UNREADABLE as error:
        raise TrailError(f"the archive is damaged: {error}") from error
    if len(files) != len(entries):
        raise TrailError("a name stands in the archive twice")
    if not is_same:
        raise TrailError("the archive is not as elspeth writes it", hint="Unzip it, and check the folder.")
    return files


def read_bundle(path: Path) -> dict[str, bytes]:
    """The files of a bundle by name, out of an archive or of the folder into which it was unpacked.

    Raises `UsageError` when there is no such file, `TrailError` when it is not a bundle's.
    """
    try:
        if not path.is_dir():
            return decode_archive(path.read_bytes())
        paths = [found for found in path.rglob("*") if found.is_symlink() or not found.is_dir()]
        if any(found.is_symlink() for found in paths):
            raise TrailError(f"there is a symbolic link in {path}")
        return {found.relative_to(path).as_posix(): found.read_bytes() for found in paths}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
