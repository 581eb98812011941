"""Reading the Landscape back, strictly.

Nothing is coerced or guessed: an unknown enum, a missing record or bytes that do not
have their hash stop the command with a `TrailError` that names the place.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from elspeth.contracts import (
    BodyRef,
    MissingTrailError,
    PayloadClass,
    Price,
    PurgeAction,
    PurgedError,
    PurgeMark,
    RunStatus,
    TrailError,
    UsageError,
    Word,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape.database import connect_reader
from elspeth.core.landscape.frame_lines import FrameLines
from elspeth.core.payloads import Frame, SegmentReader, parse_reference

__all__ = ["LandscapeReader", "Payloads", "RowSource", "RunHeader", "Sample", "read_word"]

W = TypeVar("W", bound=Word)
_UNTOLD = (sqlite3.DatabaseError, UnicodeDecodeError, UnicodeEncodeError)
"""How SQLite says that a database is damaged; where its own words quote the damage, they cannot be read either.

Or that text, which somebody looks for in it, is none.
"""

_FRAMES_KEPT = 4
_MOST_FETCHED = 256
_HEADER_TYPES = (str, str, str, int, str, str, bytes, str, *[int | None] * 4, str | None)


class Sample(Struct, frozen=True, kw_only=True):
    """``rows`` records drawn by ``seed`` out of a source that had ``of`` of them."""

    rows: int
    seed: int
    of: int


class RunHeader(Struct, frozen=True, kw_only=True):
    """A run as its first record has it; ``started_at`` is microseconds since the epoch.

    ``reuse`` are the ids of the runs whose answers it takes.
    """

    run_no: int
    run_id: str
    pipeline: str
    mode: str
    started_at: int
    folder: Path
    config_json: str
    payload_folder: Path
    row_limit: int | None
    sample: Sample | None
    reuse: tuple[str, ...] = ()

    @property
    def key_field(self) -> str | None:
        """The field that names rows, where the pipeline's source has one."""
        return _key_field(self.config_json)


@lru_cache(maxsize=8)
def _key_field(config_json: str) -> str | None:
    field: str | None = json.loads(config_json).get("source", {}).get("key")
    return field


def read_word(enum: type[W], value: object, place: str) -> W:
    """The member with that number; raises `TrailError` with the place for any other."""
    if not isinstance(value, int):
        raise TrailError(f"{place}: {value!r} is no {enum.__name__}")
    try:
        return enum(value)
    except ValueError as error:
        raise TrailError(f"{place}: {value!r} is no {enum.__name__}") from error


class LandscapeReader:
    """Reads one database. Iterators hold a cursor open: use them up or drop them."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.connection = connect_reader(database)

    def __enter__(self) -> LandscapeReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()

    def read_any_text(self) -> None:
        """From now on text that is no UTF-8 is read too, so that verification can say where it is.

        A surrogate stands for each bad byte: what is encoded in the same way again is what is stored.
        """
        self.connection.text_factory = lambda data: data.decode(errors="surrogateescape")

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All results of a statement."""
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except _UNTOLD as error:
            raise self._fault(error) from error

    def stream(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """The results of a statement, one by one. May be dropped half-way, even after the connection is closed.

        They are fetched a few at a time, ever more of them: many who ask want one.
        """
        cursor = self._cursor(sql, parameters)
        count = 1
        while records := self._fetched(cursor, count):
            yield from records
            count = min(count * 4, _MOST_FETCHED)

    def dicts(self, sql: str, *parameters: object) -> Iterator[dict[str, Any]]:
        """The results of a statement as dicts by column name."""
        cursor = self._cursor(sql, parameters)
        names = [column[0] for column in cursor.description]
        while records := self._fetched(cursor, _MOST_FETCHED):
            yield from (dict(zip(names, record, strict=True)) for record in records)

    def _fetched(self, cursor: sqlite3.Cursor, count: int) -> list[tuple[Any, ...]]:
        try:
            return cursor.fetchmany(count)
        except _UNTOLD as error:
            raise self._fault(error) from error

    def _cursor(self, sql: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self.connection.execute(sql, parameters)
        except _UNTOLD as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> TrailError:
        """What a database, or text that somebody looks for in it, is not."""
        if isinstance(error, UnicodeEncodeError):  # from a command line, whose bytes may be anything
            return MissingTrailError(f"{error.object!r} is in no record of {self.database}: it is not UTF-8")
        return TrailError(f"{self.database} cannot be read: {error}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within the block every statement sees the same records, whatever a live run adds meanwhile."""
        self.query("BEGIN")
        try:
            yield
        finally:
            self.query("COMMIT")

    def run(self, reference: str) -> RunHeader:
        """The run that ``latest``, an id or a unique prefix of one names.

        Of nothing everything is a prefix, and an unset variable in a script must not choose the run that is purged.
        """
        if not reference:
            raise UsageError("a run's id has at least one character", hint="`elspeth runs` lists them.")
        if reference == "latest":
            found = self.query("SELECT run_no FROM runs ORDER BY run_no DESC LIMIT 1")
        else:
            found = self.query(
                "SELECT run_no FROM runs WHERE run_id = ?1 OR substr(run_id, 1, length(?1)) = ?1 "
                "ORDER BY run_id = ?1 DESC LIMIT 2",
                reference.lower(),
            )
        if not found:
            known = ", ".join(
                run_id for (run_id,) in self.query("SELECT run_id FROM runs ORDER BY run_no DESC LIMIT 5")
            )
            raise MissingTrailError(
                f"there is no run {reference!r} in {self.database}",
                hint=f"The last runs are: {known}." if known else "There are no runs yet.",
            )
        header = self.run_numbered(found[0][0])
        if len(found) > 1 and header.run_id != reference.lower():
            raise UsageError(f"{reference!r} names several runs", hint="Give more of the run's id.")
        return header

    def run_numbered(self, run_no: int) -> RunHeader:
        """The run with that number in this database."""
        found = self.query(
            "SELECT run_id, pipeline, mode, started_at, folder, config_json, config_hash, payload_folder, row_limit, "
            "sample_rows, sample_seed, sample_of, reuse_json FROM runs WHERE run_no = ?",
            run_no,
        )
        if not found:
            raise MissingTrailError(f"there is no run numbered {run_no} in {self.database}")
        _require_types(found[0], f"runs {run_no}")
        run_id, pipeline, mode, started_at, folder, config, config_hash, payloads, limit = found[0][:9]
        rows, seed, of, reuse = found[0][9:]
        if sha256(config.encode(errors="surrogateescape")) != config_hash:
            raise TrailError(f"runs {run_no}: config_json does not have the hash {config_hash.hex()}")
        return RunHeader(
            run_no=run_no,
            run_id=run_id,
            pipeline=pipeline,
            mode=mode,
            started_at=started_at,
            folder=Path(folder),
            config_json=config,
            payload_folder=self.database.parent / payloads,
            row_limit=limit,
            sample=None if rows is None else Sample(rows=rows, seed=seed, of=of),
            reuse=_run_ids(reuse, f"runs {run_no}"),
        )

    def run_with_key(self, pipeline: str, key: str) -> RunHeader | None:
        """The run of a pipeline that was made under a key, if there is one."""
        found = self.query("SELECT run_no FROM runs WHERE pipeline = ? AND run_key = ?", pipeline, key)
        return self.run_numbered(found[0][0]) if found else None

    def status(self, run_no: int) -> tuple[RunStatus, dict[str, Any]]:
        """Where a run stands: the last event's status and detail."""
        events = self.query(
            "SELECT event_no, status, detail_json FROM run_events WHERE run_no = ? ORDER BY event_no DESC LIMIT 1",
            run_no,
        )
        if not events:
            return RunStatus.RUNNING, {}
        event_no, status, detail = events[0]
        place = f"run_events {run_no}/{event_no}"
        return read_word(RunStatus, status, place), read_json(detail, place)

    def prices(self, run_no: int) -> dict[int, Price]:
        """What a run's batch steps pay for tokens, by node; a step whose price nobody knew is not in it."""
        return {
            node_no: Price.from_json(read_json(price, f"nodes {run_no}/{node_no}"))
            for node_no, price in self.query(
                "SELECT node_no, price_json FROM nodes WHERE run_no = ? AND price_json IS NOT NULL", run_no
            )
        }

    def cost_limit(self, run_no: int) -> Decimal | None:
        """The limit, in US dollars, that the last process to work on a run went by."""
        found = self.query(
            "SELECT event_no, detail_json FROM run_events WHERE run_no = ? AND status = ? "
            "ORDER BY event_no DESC LIMIT 1",
            run_no,
            RunStatus.RUNNING.value,
        )
        limit = read_json(found[0][1], f"run_events {run_no}/{found[0][0]}").get("max_cost_usd") if found else None
        return None if limit is None else Decimal(limit)

    def is_simulated(self, run: RunHeader) -> bool:
        """Whether answers of the run come from a simulator, the built-in one or another."""
        return run.mode == "simulated" or bool(
            self.query(
                "SELECT 1 FROM calls WHERE run_no = ?1 AND is_simulated = 1 "
                "UNION ALL SELECT 1 FROM reuses WHERE run_no = ?1 AND is_simulated = 1 LIMIT 1",
                run.run_no,
            )
        )

    def frontier(self, run_no: int) -> dict[str, Any]:
        """What the last commit says a resume starts from; empty before the first one."""
        commits = self.query(
            "SELECT commit_no, frontier_json FROM commits WHERE run_no = ? ORDER BY commit_no DESC LIMIT 1", run_no
        )
        return read_json(commits[0][1], f"commits {run_no}/{commits[0][0]}") if commits else {}


def _require_types(header: tuple[Any, ...], place: str) -> None:
    for value, kind in zip(header, _HEADER_TYPES, strict=True):
        if not isinstance(value, kind):
            raise TrailError(f"{place}: {value!r:.80} is not of its column's type")


def read_json(text: str | None, place: str) -> dict[str, Any]:
    """A JSON object out of a column; an absent one is empty."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrailError(f"{place}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TrailError(f"{place}: not a JSON object")
    return value


def _run_ids(text: str | None, place: str) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        ids = json.loads(text)
    except ValueError as error:
        raise TrailError(f"{place}: not JSON: {error}") from error
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise TrailError(f"{place}: not a JSON list of ids")
    return tuple(ids)


class Payloads:
    """Reads the payloads of one run back and checks every hash.

    What belongs to a class that was purged raises `PurgedError`, from the moment on at which the purge was begun.
    """

    def __init__(self, reader: LandscapeReader, run: RunHeader) -> None:
        self._reader = reader
        self._run = run
        self._segments: dict[int, SegmentReader] = {}

    def body(self, ref: BodyRef) -> bytes:
        """A body, checked against its hash."""
        data = self.segment(ref.segment_no).read(ref.start, ref.length)
        if sha256(data) != ref.sha256:
            raise TrailError(f"payload {ref} of run {self._run.run_id} does not have the hash {ref.sha256.hex()}")
        return data

    def body_at(self, reference: str, digest: bytes) -> bytes:
        """The same, by the two columns that tables hold."""
        return self.body(parse_reference(reference, digest))

    def chunks(self, reference: str, digest: bytes) -> Iterator[bytes]:
        """A body piece by piece, for large ones; the hash is checked at the end."""
        ref = parse_reference(reference, digest)
        yield from self.segment(ref.segment_no).pieces(ref.start, ref.length, digest)

    def segment(self, segment_no: int) -> SegmentReader:
        """The reader of one segment."""
        if segment_no not in self._segments:
            found = self._reader.query(
                "SELECT s.name, s.class, p.at, p.who, p.why FROM segments s LEFT JOIN purges p "
                "ON p.run_no = s.run_no AND p.class = s.class AND p.action = ?3 "
                "WHERE s.run_no = ?1 AND s.segment_no = ?2 ORDER BY p.event_no LIMIT 1",
                self._run.run_no,
                segment_no,
                PurgeAction.PURGING.value,
            )
            if not found:
                raise TrailError(f"run {self._run.run_id} has no payload segment {segment_no}")
            name, payload_class, purged_at, who, why = found[0]
            if purged_at is not None:
                kind = read_word(PayloadClass, payload_class, f"segments {self._run.run_no}/{segment_no}")
                mark = PurgeMark(at=purged_at, by=who, why=why, payload_class=kind)
                raise PurgedError(f"payload segment {name} of run {self._run.run_id}", mark)
            self._segments[segment_no] = SegmentReader(
                self._run.payload_folder / str(name), lambda start: self._frames(segment_no, start)
            )
        return self._segments[segment_no]

    def is_missing(self, segment_no: int) -> bool:
        """Whether a segment that is recorded has no file, or was purged."""
        try:
            return self.segment(segment_no).is_missing
        except PurgedError:
            return True

    def forget(self, segment_no: int) -> None:
        """Drops what is cached of a segment that has grown."""
        self._segments.pop(segment_no, None)

    def _frames(self, segment_no: int, start: int) -> Iterator[Frame]:
        for record in self._reader.stream(
            "SELECT start, size, stored_start, stored_size, first_row, last_row FROM frames "
            "WHERE run_no = ?1 AND segment_no = ?2 AND start >= (SELECT COALESCE(MAX(start), 0) FROM frames "
            "WHERE run_no = ?1 AND segment_no = ?2 AND start <= ?3) ORDER BY start",
            self._run.run_no,
            segment_no,
            start,
        ):
            yield Frame(*record)


class RowSource:
    """Finds the bytes of rows by commit, row and hash; the frames read last are kept, with the commit of each."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, payloads: Payloads) -> None:
        self._reader = reader
        self._run = run
        self._payloads = payloads
        self._segment_no: int | None = None
        self._kept: dict[tuple[int, int], FrameLines] = {}

    def bytes_of(self, row_index: int, *, commit_no: int, sha: bytes) -> bytes:
        """The row's bytes with that hash, written by that commit."""
        for (commit, _), lines in reversed(self._kept.items()):
            if commit == commit_no and (line := lines.known(sha)) is not None:
                return line
        for (commit, _), lines in self._kept.items():  # of neighbours, one after the other, only the first is looked up
            if commit == commit_no and lines.has_row(row_index) and (line := lines.find(sha, row_index)) is not None:
                return line
        for frame in self._frames_of(row_index, commit_no):
            if (line := self._lines(frame, commit_no).find(sha, row_index)) is not None:
                return line
        raise TrailError(
            f"row {row_index} of run {self._run.run_id}: no payload in commit {commit_no} has the hash {sha.hex()}"
        )

    def lines_of(self, row_index: int, *, commit_no: int) -> tuple[dict[bytes, bytes], range]:
        """All lines, by hash, of the frames that hold a row's bytes of that commit, and the rows whose bytes they are.

        For whoever looks for bytes that no longer have the hash that they should.
        """
        frames = list(self._frames_of(row_index, commit_no))
        lines = {sha: line for frame in frames for sha, line in self._lines(frame, commit_no).all().items()}
        first = min((frame.first_row or 0 for frame in frames), default=0)
        last = max((frame.last_row or 0 for frame in frames), default=-1)
        return lines, range(first, last + 1)

    def _frames_of(self, row_index: int, commit_no: int) -> Iterator[Frame]:
        """The frames of a commit that may hold the row, the one that begins nearest to it first.

        Mostly it is that, and the others are not looked for.
        """
        if self._segment_no is None:
            found = self._reader.query(
                "SELECT segment_no FROM segments WHERE run_no = ? AND name = 'rows.zst'", self._run.run_no
            )
            if not found:
                raise TrailError(f"run {self._run.run_id} has no payloads of rows")
            self._segment_no = int(found[0][0])
        for which in ("1", "-1 OFFSET 1"):
            found = self._reader.query(
                "SELECT start, size, stored_start, stored_size, first_row, last_row "
                "FROM frames INDEXED BY frames_by_commit "
                "WHERE run_no = ? AND commit_no = ? AND segment_no = ? AND first_row <= ? AND last_row >= ? "
                f"ORDER BY first_row DESC LIMIT {which}",
                self._run.run_no,
                commit_no,
                self._segment_no,
                row_index,
                row_index,
            )
            yield from starmap(Frame, found)

    def _lines(self, frame: Frame, commit_no: int) -> FrameLines:
        place = (commit_no, frame.start)
        if place not in self._kept:
            if self._segment_no is None:
                raise RuntimeError("frames are looked up before they are read")
            data = self._payloads.segment(self._segment_no).frame(frame)
            while len(self._kept) >= _FRAMES_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = FrameLines(frame, data)
        return self._kept[place]
