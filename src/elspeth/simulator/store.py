"""Files and jobs on disk: one SQLite database, one folder of file bodies.

A body is written to `tmp/`, renamed into `bodies/`, and only then named in
the database; whatever a kill leaves without a name is swept at the next
start. Commits survive the death of the process, not that of the machine.
The lock is exclusive: a second simulator on the same folder is refused.
"""

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from elspeth.simulator.chance import digest
from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.records import Ending, Job, Stage, StoredFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (seq INTEGER PRIMARY KEY, source TEXT, fault TEXT, seen INTEGER);
CREATE TABLE IF NOT EXISTS replies (job TEXT, row INTEGER, status INTEGER, body TEXT, PRIMARY KEY (job, row));
"""


class Store:
    """Safe to call from any thread; every call is one transaction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tmp = folder / "tmp"
        self._bodies = folder / "bodies"
        for path in (self.tmp, self._bodies):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = _connect(folder / "simulator.sqlite3")
        self._nonce = self._meta("nonce", secrets.token_hex(16))
        self._sweep()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Ids carry a nonce of the state folder: as with a real provider, two servers never give the same one.
    def make_id(self, kind: str, number: int) -> str:
        return digest(self._nonce, kind, str(number)).hex()[:32]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # Files.

    def body_path(self, file_id: str) -> Path:
        return self._bodies / file_id

    def add_file(self, source: Path, **fields: Json) -> StoredFile:
        """Takes over the file at `source`; `fields` are those of `StoredFile` that are not given here."""
        with self.transaction() as db:
            return self._add_file(db, source, fields)

    def file(self, file_id: str) -> StoredFile | None:
        row = self._one("SELECT record FROM files WHERE id = ?", file_id)
        return None if row is None else StoredFile(**json.loads(row[0]))

    def files(self) -> list[StoredFile]:
        """In the order of their creation, the deleted ones included: a page may start after one."""
        rows = self._all("SELECT record FROM files ORDER BY seq")
        return [StoredFile(**json.loads(row[0])) for row in rows]

    def delete_file(self, file: StoredFile) -> None:
        with self.transaction() as db:
            record = json.dumps(asdict(replace(file, deleted=True)))
            db.execute("UPDATE files SET record = ? WHERE id = ?", (record, file.id))
        self.body_path(file.id).unlink(missing_ok=True)

    # Jobs.

    def add_job(self, **fields: Json) -> Job:
        with self.transaction() as db:
            seq = _next_seq(db, "jobs")
            job = Job(id=f"batch_{self.make_id('batch', seq)}", seq=seq, **fields)
            db.execute("INSERT INTO jobs VALUES (?, ?, ?)", (seq, job.id, json.dumps(asdict(job))))
        return job

    def job_count(self) -> int:
        row = self._one("SELECT count(*) FROM jobs")
        return 0 if row is None else int(row[0])

    def job(self, job_id: str) -> Job | None:
        row = self._one("SELECT record FROM jobs WHERE id = ?", job_id)
        return None if row is None else _decode_job(row[0])

    def jobs(self) -> list[Job]:
        return [_decode_job(row[0]) for row in self._all("SELECT record FROM jobs ORDER BY seq")]

    def change_job(self, job_id: str, *, revision: int | None = None, **changes: Json) -> Job | None:
        """None, and nothing changed, if the job is no longer at that revision."""
        with self.transaction() as db:
            if revision is not None and _read_job(db, job_id).revision != revision:
                return None
            return _changed_job(db, job_id, changes)

    def reopen_job(self, job: Job, **changes: Json) -> Job:
        """To be worked out anew: result files already made, and not yet seen by anybody, are dropped."""
        with self._lock:
            current = self.job(job.id) or job
            for file_id in (current.output_file_id, current.error_file_id):
                if file_id is not None and (file := self.file(file_id)) is not None:
                    self.delete_file(file)
            changes = {**changes, "stage": Stage.OPEN, "output_file_id": None, "error_file_id": None}
            with self.transaction() as db:
                return _changed_job(db, job.id, {**changes, "revision": current.revision + 1})

    def finish_job(self, job: Job, results: dict[str, tuple[Path, JsonObject]], **changes: Json) -> Job | None:
        """Adds the result files and closes the job at once; `results` maps a field of the job to its file."""
        with self.transaction() as db:
            if _read_job(db, job.id).revision != job.revision:
                return None
            for name, (source, fields) in results.items():
                changes[name] = self._add_file(db, source, fields).id
            return _changed_job(db, job.id, {**changes, "stage": Stage.MADE})

    # Replies of a real model are kept: one asked for is never asked for, and paid, again.

    def keep_reply(self, job_id: str, row: int, status: int, body: Json) -> None:
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", (job_id, row, status, json.dumps(body)))

    def reply(self, job_id: str, row: int) -> tuple[int, Json] | None:
        found = self._one("SELECT status, body FROM replies WHERE job = ? AND row = ?", job_id, row)
        return None if found is None else (int(found[0]), json.loads(found[1]))

    def _add_file(self, db: sqlite3.Connection, source: Path, fields: JsonObject) -> StoredFile:
        seq = _next_seq(db, "files")
        file = StoredFile(id=f"file-{self.make_id('file', seq)}", seq=seq, **fields)
        source.replace(self.body_path(file.id))
        db.execute("INSERT INTO files VALUES (?, ?, ?)", (seq, file.id, json.dumps(asdict(file))))
        return file

    def _meta(self, name: str, default: str) -> str:
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, default))
            return str(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])

    def _one(self, statement: str, *values: Json) -> tuple[Json, ...] | None:
        with self._lock:
            row: tuple[Json, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str) -> list[tuple[Json, ...]]:
        with self._lock:
            return self._db.execute(statement).fetchall()

    def _sweep(self) -> None:
        named = {file.id for file in self.files() if not file.deleted}
        for path in [*self.tmp.iterdir(), *(p for p in self._bodies.iterdir() if p.name not in named)]:
            path.unlink()


def body_facts(path: Path) -> JsonObject:
    """The fields of a `StoredFile` that its body decides; reads it all, so not within a transaction."""
    with path.open("rb") as body:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(body, "sha256").hexdigest()}


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        db.close()
        raise ValueError(f"{path.parent} is in use by another simulator ({error})") from error
    return db


def _next_seq(db: sqlite3.Connection, table: str) -> int:
    statements = {
        "files": "SELECT coalesce(max(seq), 0) + 1 FROM files",
        "jobs": "SELECT coalesce(max(seq), 0) + 1 FROM jobs",
    }
    return int(db.execute(statements[table]).fetchone()[0])


def _read_job(db: sqlite3.Connection, job_id: str) -> Job:
    return _decode_job(db.execute("SELECT record FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])


def _changed_job(db: sqlite3.Connection, job_id: str, changes: JsonObject) -> Job:
    job = replace(_read_job(db, job_id), **changes)
    db.execute("UPDATE jobs SET record = ? WHERE id = ?", (json.dumps(asdict(job)), job_id))
    return job


def _decode_job(record: str) -> Job:
    fields = json.loads(record)
    return Job(**{**fields, "ending": Ending(**fields["ending"])})
