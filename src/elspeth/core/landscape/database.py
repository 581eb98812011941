"""Opening the Landscape's SQLite database: create, check the version, connect.

Reading commands never create anything, and read a read-only copy. Writers use WAL
with ``synchronous=FULL``: a commit that returned is on the disk. With
``recursive_triggers`` on, INSERT OR REPLACE cannot slip past the insert-only triggers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from elspeth.contracts import MissingTrailError, RunError, TrailError
from elspeth.core.landscape.definition import create_statements
from elspeth.core.landscape.schema import SCHEMA_VERSION
from elspeth.core.landscape.views import view_statements

__all__ = ["connect_reader", "connect_writer", "create_database"]

_APPLICATION_ID = 0x454C5350  # "ELSP"
_BUSY_TIMEOUT_S = 60.0
_WRITER_CACHE_KB = 4096
"""Room for the pages of a commit. They lie at the end of their tables, so more would only fill up."""
_MEND = "Make room, mend the permissions or end whatever locks it, then start again."


def create_database(path: Path) -> None:
    """Makes the database, its folder included, unless it is there; checks the version of one that is.

    A new one gets its name when it is whole: whoever dies in between leaves no half-made database behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder of {path} cannot be made: {error.strerror or error}", hint=_MEND) from error
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.new")
        draft.unlink(missing_ok=True)
        try:
            _make(draft)
            with contextlib.suppress(OSError):  # another process was first, or there are no links here
                os.link(draft, path)
                return
        finally:
            draft.unlink(missing_ok=True)
    _make(path)


def _make(path: Path) -> None:
    connection = _open(f"{path.resolve().as_uri()}?mode=rwc", path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in create_statements() + view_statements():
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
        _check_version(connection, path)
        _use_wal(connection)
    except sqlite3.OperationalError as error:
        raise RunError(f"the database {path} cannot be written: {error}", hint=_MEND) from error
    except sqlite3.DatabaseError as error:
        raise TrailError(f"{path} is not a database: {error}", hint="Check the path given with --db.") from error
    finally:
        connection.close()


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that the recorder writes through; used by one thread at a time."""
    connection = _open(f"{path.resolve().as_uri()}?mode=rw", path)
    try:
        _check_version(connection, path)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA recursive_triggers=ON")
        connection.execute(f"PRAGMA cache_size=-{_WRITER_CACHE_KB}")
    except sqlite3.OperationalError as error:
        connection.close()
        raise RunError(f"the database {path} cannot be opened: {error}", hint=_MEND) from error
    except TrailError:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; falls back to an immutable open for a copy on read-only media.

    Raises `MissingTrailError` when there is no database: reading never creates one.
    """
    if not path.is_file():
        raise MissingTrailError(
            f"there is no database at {path}", hint="Name one with --db, or run from the folder of the runs."
        )
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        connection = _connect_checked(uri, path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise TrailError(f"{path} cannot be read: {error}", hint=_MEND) from error
        connection = _connect_immutable(uri, path)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect_immutable(uri: str, path: Path) -> sqlite3.Connection:
    """For read-only media, where SQLite cannot make the files that a shared log needs."""
    log = path.with_name(f"{path.name}-wal")
    if log.is_file() and log.stat().st_size > 0:
        raise TrailError(
            f"{path} has records that are only in {log.name}, which cannot be read here",
            hint="Copy the database and its -wal file to a folder that can be written to.",
        )
    try:
        return _connect_checked(f"{uri}&immutable=1", path)
    except sqlite3.OperationalError as error:
        raise TrailError(f"{path} cannot be read: {error}") from error


def _connect_checked(uri: str, path: Path) -> sqlite3.Connection:
    connection = _open(uri, path)
    try:
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changing the mode does not wait for other connections by itself, so it is tried until it is done."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _open(uri: str, path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise RunError(f"the database {path} cannot be opened: {error}", hint=_MEND) from error


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise TrailError(f"{path} is not a database: {error}") from error
    if application != _APPLICATION_ID:
        raise TrailError(f"{path} is a database, but not a Landscape", hint="Check the path given with --db.")
    if version != SCHEMA_VERSION:
        raise TrailError(
            f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}",
            hint="Use the version of elspeth that wrote it.",
        )
