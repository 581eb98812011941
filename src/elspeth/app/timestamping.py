"""Having an outsider say when a seal existed: the last seal of a run, stamped by a time-stamping authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from elspeth.contracts import TimestampError
from elspeth.core.calls.authority import ask_authority
from elspeth.core.landscape import LandscapeReader, RunHeader, SealFolder
from elspeth.core.landscape.timestamp_files import keep_timestamp, last_seal, read_timestamp_file, timestamp_file
from elspeth.core.timestamps import Timestamp, TimestampQuery, read_timestamp

__all__ = ["Stamped", "timestamp_run"]


class Stamped(Struct, frozen=True, kw_only=True):
    """The timestamp of a run's last seal; ``later_commits`` are not covered by that seal."""

    run_id: str
    commits: int
    later_commits: int
    path: Path
    timestamp: Timestamp
    is_new: bool

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": 1,
            "run": self.run_id,
            "commits": self.commits,
            "later_commits": self.later_commits,
            "path": str(self.path),
            "sha256": self.timestamp.imprint.hex(),
            "time": self.timestamp.time,
            "authority": self.timestamp.authority,
            "is_new": self.is_new,
        }


def timestamp_run(reader: LandscapeReader, run: RunHeader, *, url: str) -> Stamped:
    """Asks the authority about the run's last seal, unless its timestamp is there already.

    1. The query is over the bytes of the seal's note.
    2. The answer must be a timestamp of that hash and nonce.
    3. It is kept beside the seals, as it came.

    Whether the authority's signature leads to a root says `elspeth verify` to whoever brings one: here
    nobody did. Raises `TimestampError`, and `UsageError` without the extra.
    """
    commits, note = last_seal(reader, run)
    ((recorded,),) = reader.query("SELECT COUNT(*) FROM commits WHERE run_no = ?", run.run_no)
    path = timestamp_file(SealFolder.beside(reader.database), run.run_id, commits)
    query = TimestampQuery.of(note.encode())
    is_new = not path.exists()
    if is_new:
        answer = ask_authority(url, query.data)
        timestamp = query.check(answer)
        keep_timestamp(path, answer)
    else:
        timestamp = _kept(path, query.imprint)
    return Stamped(
        run_id=run.run_id,
        commits=commits,
        later_commits=recorded - commits,
        path=path,
        timestamp=timestamp,
        is_new=is_new,
    )


def _kept(path: Path, imprint: bytes) -> Timestamp:
    """The timestamp that is there; raises `TimestampError` when it is not of this seal."""
    hint = "Move that file away, and ask again."
    try:
        timestamp = read_timestamp(read_timestamp_file(path))
    except TimestampError as error:
        raise TimestampError(f"{path}: {error.message}", hint=hint) from error
    if timestamp.imprint != imprint:
        raise TimestampError(f"{path} stamps something else than the seal that it is named for", hint=hint)
    return timestamp
