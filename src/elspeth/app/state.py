"""Where the state of a project lives: the folder ``.elspeth`` and the database in it.

The nearest such folder at or above the current one is used; the search stops at a folder
with ``.git``, at the home folder and at the root. A run whose trail lies elsewhere
leaves a pointer in the state folder, so that reading commands find it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import MissingTrailError, RunError, UsageError

__all__ = ["DATABASE", "STATE_FOLDER", "State", "database_path"]

STATE_FOLDER = ".elspeth"
DATABASE = "audit.db"
_POINTERS = "trails"


def database_path(url: str) -> Path:
    """The file that a database URL (``sqlite:///PATH``) or plain path names."""
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///")).absolute()
    if "://" in url:
        raise UsageError(
            f"{url.partition('://')[0]} databases are not in this version", hint="Use sqlite:///PATH or a path."
        )
    return Path(url).absolute()


class State(Struct, frozen=True):
    """The state folder of a project; it need not exist yet."""

    folder: Path

    @classmethod
    def find(cls, start: Path) -> State:
        """The state folder at or above ``start``, or the one that would be made there."""
        home = Path.home()
        for folder in (start, *start.parents):
            if (folder / STATE_FOLDER).is_dir():
                return cls(folder / STATE_FOLDER)
            if (folder / ".git").exists() or folder == home:
                break
        return cls(start / STATE_FOLDER)

    @property
    def database(self) -> Path:
        """The project's own database."""
        return self.folder / DATABASE

    def create(self) -> None:
        """Makes the folder; what is in it is not for version control."""
        with _made(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")

    def point_to(self, database: Path) -> None:
        """Remembers a trail that lies elsewhere."""
        if database == self.database:
            return
        pointers = self.folder / _POINTERS
        known = self._pointed()
        lines = [str(database), *(str(path) for path in known if path != database)]
        with _made(self.folder):
            pointers.write_text("\n".join(lines) + "\n")

    def to_read(self, db: str | None, environ: Mapping[str, str] | None = None) -> Path:
        """The database that a reading command means; raises `MissingTrailError` when there is none."""
        named = db or (os.environ if environ is None else environ).get("ELSPETH_LANDSCAPE_URL")
        if named:
            return database_path(named)
        candidates = [self.database, *self._pointed()]
        existing = [path for path in candidates if path.is_file()]
        if not existing:
            raise MissingTrailError(
                f"there is no trail here: {self.database} does not exist",
                hint="Run a pipeline first (elspeth demo), go to its folder, or name a database with --db.",
            )
        return max(existing, key=_last_written)

    def _pointed(self) -> list[Path]:
        pointers = self.folder / _POINTERS
        return [Path(line) for line in pointers.read_text().splitlines() if line] if pointers.is_file() else []


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the state folder {folder} cannot be written: {error.strerror or error}",
            hint="Make room, mend its permissions or move away what stands in its place, then start again.",
        ) from error


def _last_written(database: Path) -> float:
    """When a database was last written: what it holds may still be in its write-ahead log."""
    log = database.with_name(database.name + "-wal")
    return max(path.stat().st_mtime for path in (database, log) if path.exists())
