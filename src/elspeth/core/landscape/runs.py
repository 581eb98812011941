"""Opening a run's journal: a new one, or one that goes on where its last commit left it."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from pathlib import Path

from msgspec import Struct

from elspeth.contracts import BatchPhase, Clock, FileRole, PayloadClass, RunError, UsageError
from elspeth.core.canonical import compact_json, sha256
from elspeth.core.landscape.database import connect_writer
from elspeth.core.landscape.journal import Counters, Journal
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, Sample, read_word
from elspeth.core.landscape.seals import Sealer, Signing, run_tree
from elspeth.core.landscape.tally import recorded_outcomes
from elspeth.core.payloads import SegmentState

__all__ = ["NewRun", "create_run", "open_journal"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


class NewRun(Struct, frozen=True, kw_only=True):
    """What the first record of a run says; ``folder`` is the pipeline file's."""

    pipeline: str
    mode: str
    folder: Path
    config_json: str
    payloads: Path
    code_version: str
    row_limit: int | None
    sample: Sample | None = None
    run_key: str | None = None
    reuse: tuple[str, ...] = ()


def create_run(database: Path, new: NewRun, *, clock: Clock) -> int:
    """Writes the run's first record, before anything else of it exists, and returns its number."""
    started_at = clock.now_us()
    connection = connect_writer(database)
    try:
        run_id = _run_id(started_at)
        connection.execute("BEGIN IMMEDIATE")
        (run_no,) = connection.execute("SELECT COALESCE(MAX(run_no), 0) + 1 FROM runs").fetchone()
        connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run_no,
                run_id,
                new.pipeline,
                new.mode,
                started_at,
                str(new.folder),
                new.config_json,
                sha256(new.config_json.encode()),
                new.code_version,
                _stored_folder(new.payloads / run_id, database),
                new.row_limit,
                *((None, None, None) if new.sample is None else (new.sample.rows, new.sample.seed, new.sample.of)),
                new.run_key,
                compact_json(list(new.reuse)) if new.reuse else None,
            ),
        )
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise UsageError(
            f"another process has just begun the run of {new.pipeline!r} with the key {new.run_key!r}",
            hint="Start again: the run will be found.",
        ) from error
    except sqlite3.Error as error:
        raise RunError(
            f"the database {database} cannot be written: {error}",
            hint="Make room, mend the permissions or end whatever locks it, then start again.",
        ) from error
    finally:
        connection.close()
    return int(run_no)


def open_journal(reader: LandscapeReader, run: RunHeader, *, clock: Clock, signing: Signing) -> Journal:
    """The journal of a run, new or not: the next free numbers and where each segment ends.

    Raises `TrailError` when the run's seals tell of what is not in the database.
    """
    signing.folder.bring_up_to_date(reader, run)
    return Journal(
        database=reader.database,
        run_no=run.run_no,
        payload_folder=run.payload_folder,
        clock=clock,
        sealer=_sealer(reader, run, signing),
        counters=_counters(reader, run.run_no),
        segments=_segments(reader, run.run_no),
    )


def _sealer(reader: LandscapeReader, run: RunHeader, signing: Signing) -> Sealer:
    ((last, sealed_size),) = reader.query("SELECT MAX(seal_no), MAX(tree_size) FROM seals WHERE run_no = ?", run.run_no)
    return Sealer(
        signing,
        run=run,
        tree=run_tree(reader, run),
        next_no=0 if last is None else last + 1,
        sealed_size=sealed_size or 0,
    )


def _run_id(started_at: int) -> str:
    """Ten characters of time (milliseconds, 50 bits) and three of chance; sorts by time."""
    milliseconds = started_at // 1000
    time_part = "".join(_ALPHABET[milliseconds >> shift & 31] for shift in range(45, -1, -5))
    return time_part + "".join(secrets.choice(_ALPHABET) for _ in range(3))


def _stored_folder(folder: Path, database: Path) -> str:
    """Relative to the database where it lies beside it, so that the two can be copied together."""
    home = database.parent.resolve()
    folder = folder.resolve()
    return str(folder.relative_to(home)) if folder.is_relative_to(home) else str(folder)


def _counters(reader: LandscapeReader, run_no: int) -> Counters:
    def following(sql: str, default: int = 0) -> int:
        ((highest,),) = reader.query(sql, run_no)
        return default if highest is None else int(highest) + 1

    return Counters(
        commit_no=following("SELECT MAX(commit_no) FROM commits WHERE run_no = ?"),
        run_event_no=following("SELECT MAX(event_no) FROM run_events WHERE run_no = ?"),
        intent_no=following("SELECT MAX(intent_no) FROM call_intents WHERE run_no = ?"),
        call_no=following("SELECT MAX(call_no) FROM calls WHERE run_no = ?"),
        batch_no=following("SELECT MAX(batch_no) FROM batches WHERE run_no = ?", 1),
        batch_event_no={
            int(batch): int(last) + 1
            for batch, last in reader.query(
                "SELECT batch_no, (SELECT MAX(e.event_no) FROM batch_events e WHERE e.run_no = b.run_no "
                "AND e.batch_no = b.batch_no) FROM batches b WHERE run_no = ?",
                run_no,
            )
            if last is not None
        },
        segment_no=following("SELECT MAX(segment_no) FROM segments WHERE run_no = ?", 1),
        purge_no=following("SELECT MAX(event_no) FROM purges WHERE run_no = ?"),
        outcomes=Counter(recorded_outcomes(reader.frontier(run_no))),
    )


def _segments(reader: LandscapeReader, run_no: int) -> tuple[SegmentState, ...]:
    """The segments that may still grow: those of the whole run, and the request files of open batches."""
    states = []
    for number, payload_class, name, batch_no, role in reader.query(
        "SELECT segment_no, class, name, batch_no, role FROM segments s WHERE run_no = ?1 AND (batch_no IS NULL "
        "OR role = ?2 AND ?3 IS (SELECT e.phase FROM batch_events e WHERE e.run_no = s.run_no "
        "AND e.batch_no = s.batch_no ORDER BY e.event_no DESC LIMIT 1)) ORDER BY segment_no",
        run_no,
        FileRole.REQUEST.value,
        BatchPhase.OPEN.value,
    ):
        place = f"segments {run_no}/{number}"
        ends = reader.query(
            "SELECT start + size, stored_start + stored_size FROM frames "
            "WHERE run_no = ? AND segment_no = ? ORDER BY start DESC LIMIT 1",
            run_no,
            number,
        )
        size, stored_size = ends[0] if ends else (0, 0)
        states.append(
            SegmentState(
                number=number,
                payload_class=read_word(PayloadClass, payload_class, place),
                name=name,
                batch_no=batch_no,
                role=None if role is None else read_word(FileRole, role, place),
                size=size,
                stored_size=stored_size,
            )
        )
    return tuple(states)
