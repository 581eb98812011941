"""Who seals a run: this user's key, and the folder beside the database."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth.app.keys import signing_key
from elspeth.contracts import RunStatus
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import LandscapeReader, RunHeader, SealFolder, Signing, open_journal
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.retention import is_sealed

__all__ = ["seal_the_rest", "signing_for"]


def signing_for(reader: LandscapeReader, environ: Mapping[str, str]) -> Signing:
    """What the runs of a database are sealed with.

    Raises `KeyFileError` without a key that can be used, and `RunError` without a folder to keep seals in: both are
    better known before there is anything to seal.
    """
    folder = SealFolder.beside(reader.database)
    folder.require_writable()
    return Signing(key=signing_key(environ), folder=folder)


def seal_the_rest(reader: LandscapeReader, run: RunHeader, environ: Mapping[str, str]) -> None:
    """Seals the end of a complete run whose process died between its last commit and the end of the seals' file."""
    lock = RunLock(reader.database.parent, run.run_id)
    if is_sealed(reader, run) or lock.is_held:
        return
    with lock:
        journal = open_journal(reader, run, clock=SystemClock(), signing=signing_for(reader, environ))
        try:
            journal.seal(RunStatus.COMPLETED.word)
            journal.drain()
        finally:
            journal.close()
