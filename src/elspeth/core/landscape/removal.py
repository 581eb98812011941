"""The files of a run's payloads, found and deleted by class.

Names come from the database, and whoever can write there must not be able to choose what is
deleted elsewhere: a name is taken only when it is plain, the folder only when it is the run's
own, and a file only when it is one, not a link. What is not in `segments` stays.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import PayloadClass, RunError, TrailError
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_word

__all__ = ["ClassFiles", "classes_of", "delete_files", "files_of", "unknown_files"]

_ENDING = ".zst"
_MEND = "Mend it, then purge again: what is left is taken up where it stopped."


class ClassFiles(Struct, frozen=True, kw_only=True):
    """The files of one class: the ``names`` that the trail knows, how many of them are there, and their bytes."""

    payload_class: PayloadClass
    names: tuple[str, ...]
    files: int
    bytes: int


def classes_of(reader: LandscapeReader, run: RunHeader) -> frozenset[PayloadClass]:
    """The classes of which a run has payloads, there or gone."""
    found = reader.query("SELECT DISTINCT class FROM segments WHERE run_no = ?", run.run_no)
    return frozenset(read_word(PayloadClass, number, f"segments {run.run_no}") for (number,) in found)


def files_of(reader: LandscapeReader, run: RunHeader) -> dict[PayloadClass, ClassFiles]:
    """The files of a run, by class; a class without any is not in it.

    Raises `TrailError` for a folder that is not the run's own, and for a name that might lead out of it.
    """
    names: dict[PayloadClass, list[str]] = {}
    owners: dict[str, PayloadClass] = {}
    for segment_no, number, name in reader.query(
        "SELECT segment_no, class, name FROM segments WHERE run_no = ? ORDER BY segment_no", run.run_no
    ):
        place = f"segments {run.run_no}/{segment_no}"
        payload_class = read_word(PayloadClass, number, place)
        _require_plain(name, place)
        if owners.setdefault(name, payload_class) is not payload_class:
            raise TrailError(f"{place}: {name!r} is also the file of another class; nothing of the run is deleted")
        names.setdefault(payload_class, []).append(name)
    if names:
        _require_own_folder(reader, run)
    return {one: _measured(run.payload_folder, one, tuple(names[one])) for one in PayloadClass if one in names}


def unknown_files(run: RunHeader, known: Sequence[ClassFiles]) -> int:
    """How many files are in the run's folder that the trail does not know: no purge touches them."""
    names = {name for one in known for name in one.names}
    try:
        return sum(entry.name not in names for entry in os.scandir(run.payload_folder))
    except OSError:
        return 0


def delete_files(run: RunHeader, names: Sequence[str]) -> list[RunError]:
    """Deletes files of a run's folder, durably; what is gone already is fine.

    One that cannot be deleted does not keep the others: what went wrong is returned.
    """
    faults: list[RunError] = []
    try:
        with _opened(run.payload_folder) as folder:
            for name in names:
                try:
                    _delete(folder, name)
                except OSError as error:
                    faults.append(_fault(run.payload_folder / name, error))
            os.fsync(folder)
    except OSError as error:
        faults.append(_fault(run.payload_folder, error))
    return faults


def _delete(folder: int, name: str) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no file, but a link, a folder or a device")
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _fault(path: Path, error: OSError) -> RunError:
    return RunError(f"{path} cannot be deleted: {error.strerror or error}", hint=_MEND)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder itself, so that nothing is put in its place between a look and a deed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _measured(folder: Path, payload_class: PayloadClass, names: tuple[str, ...]) -> ClassFiles:
    sizes = []
    for name in names:
        try:
            found = os.lstat(folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RunError(f"{folder / name} cannot be looked at: {error.strerror or error}", hint=_MEND) from error
        sizes.append(found.st_size)
    return ClassFiles(payload_class=payload_class, names=names, files=len(sizes), bytes=sum(sizes))


def _require_plain(name: str, place: str) -> None:
    if Path(name).name != name or not name.endswith(_ENDING) or "\\" in name or "\0" in name:
        raise TrailError(
            f"{place}: {name!r} is no name of a payload file; nothing of the run is deleted",
            hint="The database was changed. elspeth verify says more.",
        )


def _require_own_folder(reader: LandscapeReader, run: RunHeader) -> None:
    """The folder is named after the run, and lies beside the database or where the run's configuration says.

    A copy of a database must not delete what belongs to the original.
    """
    folder, home = run.payload_folder, reader.database.parent
    configured = json.loads(run.config_json).get("payloads", {}).get("path")
    expected = Path(configured or home / "payloads").resolve()
    is_beneath = folder.is_relative_to(home) and ".." not in folder.relative_to(home).parts
    if folder.name != run.run_id or not (is_beneath or folder.parent == expected):
        raise TrailError(
            f"{folder} is not the payload folder of run {run.run_id} in {reader.database}; nothing in it is deleted",
            hint="Purge with the database that the run was made in, where it was made.",
        )
    if not folder.is_dir() or folder.is_symlink():
        raise RunError(
            f"the payload folder {folder} is not there",
            hint="Mount it or put it back. If it was deleted by hand, an empty folder in its place can be purged.",
        )
