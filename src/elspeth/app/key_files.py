"""How files with keys are read and written: private, whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from elspeth.contracts import KeyFileError

__all__ = ["PRIVATE", "PUBLIC", "make_folder", "move", "one_writer", "read_private", "read_public", "write_whole"]

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
_FOLDER: Final = 0o700
_OTHERS: Final = 0o077
_LOCK: Final = "lock"
_HINT: Final = "Mend its permissions, or name another file with ELSPETH_SIGNING_KEY."
_READ_ONLY_HINT: Final = (
    "Mend its permissions. "
    "Where the folder must stay read-only, put known_keys, with the verifier line, beside the key."
)
_MOST_BYTES: Final = 10_000
"""A key is one line; what is longer is something else, and is not read to its end."""


def make_folder(folder: Path) -> None:
    """The folder, for its owner alone; one that is there stays as it is."""
    with _told(folder, "made"):
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Waits until no other process changes the files of this folder. The lock dies with its process."""
    with _told(folder / _LOCK, "locked", hint=_READ_ONLY_HINT):
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        with _told(folder / _LOCK, "locked"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_private(path: Path) -> str | None:
    """The text of a secret file, None when there is no file; refuses one that others can read or write.

    The permissions asked are those of the file that is open, so that nobody can put another in its place.
    """
    try:
        with _told(path, "read"), _opened(path) as descriptor:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _MOST_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"the signing key {path} is not a file", hint="Name a file, or move away what stands there.")
    if status.st_mode & _OTHERS:
        raise KeyFileError(
            f"the signing key {path} can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}; if others may have read it, make a new one too: elspeth keys rotate",
        )
    return "" if len(data) > _MOST_BYTES else data.decode(errors="replace")


def read_public(path: Path) -> str:
    """The text of a file that anybody may read; empty when there is no file."""
    try:
        with _told(path, "read"):
            return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """Puts a file in its place at once: whoever reads it, or survives a crash, finds the old text or the new.

    The caller is the `one_writer`; what an earlier one left behind half-written is thrown away.
    """
    draft = path.with_name(f".{path.name}.draft")
    with _told(path, "written"):
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        _sync_folder(path.parent)


def move(path: Path, to: Path) -> None:
    """Puts one file in the place of another at once. The caller is the `one_writer`."""
    with _told(to, "written"):
        path.replace(to)
        _sync_folder(to.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open for reading, without waiting for the other end of a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path, done: str, *, hint: str = _HINT) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if done == "read":
            raise
        raise KeyFileError(
            f"{path} cannot be {done}: its folder does not exist", hint="Make the folder first."
        ) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be {done}: {error.strerror or error}", hint=hint) from error
