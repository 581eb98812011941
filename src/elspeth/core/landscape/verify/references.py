"""Whether everything that records point to is there: other records, words, and bytes with their hashes."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts import PayloadClass, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader, read_json, read_word
from elspeth.core.landscape.schema import TABLES
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.payloads import parse_reference

__all__ = ["check_references"]

_HASH_BYTES = 32
_LINKS = (
    ("journeys", "node_no", "nodes", "node_no"),
    ("outcomes", "sink_no", "nodes", "node_no"),
    ("outcomes", "step_no", "nodes", "node_no"),
    ("edges", "from_no", "nodes", "node_no"),
    ("edges", "to_no", "nodes", "node_no"),
    ("artifacts", "node_no", "nodes", "node_no"),
    ("batches", "node_no", "nodes", "node_no"),
    ("batches", "parent_no", "batches", "batch_no"),
    ("batch_events", "batch_no", "batches", "batch_no"),
    ("batch_members", "batch_no", "batches", "batch_no"),
    ("batch_members", "segment_no", "segments", "segment_no"),
    ("calls", "node_no", "nodes", "node_no"),
    ("calls", "batch_no", "batches", "batch_no"),
    ("calls", "intent_no", "call_intents", "intent_no"),
    ("call_intents", "batch_no", "batches", "batch_no"),
    ("frames", "segment_no", "segments", "segment_no"),
    ("row_keys", "row_index", "rows", "row_index"),
    ("passages", "row_index", "rows", "row_index"),
    ("batch_members", "row_index", "rows", "row_index"),
    ("reuses", "node_no", "nodes", "node_no"),
    ("reuses", "row_index", "rows", "row_index"),
)
_BODIES = (
    ("run_files", "hash", "ref", "name"),
    ("call_intents", "request_hash", "request_ref", "intent_no"),
    ("calls", "request_hash", "request_ref", "call_no"),
    ("calls", "response_hash", "response_ref", "call_no"),
    ("calls", "envelope_hash", "envelope_ref", "call_no"),
    ("reuses", "request_hash", "request_ref", "row_index"),
    ("reuses", "reply_hash", "reply_ref", "row_index"),
)


def check_references(reader: LandscapeReader, run: RunHeader, step: Step, *, purged: frozenset[PayloadClass]) -> None:
    """Follows every reference. Bytes of classes that were purged are not looked for."""
    _check_links(reader, run, step)
    _check_journeys(reader, run, step)
    _check_states(reader, run, step)
    _check_words(reader, run, step)
    bodies = _Bodies(reader, run, step, purged)
    for name, hash_column, ref_column, key in _BODIES:
        bodies.check_table(name, hash_column, ref_column, key)
    bodies.check_members()
    rows = 0 if PayloadClass.ROWS in purged else _check_versions(reader, run, step, bodies)
    step.checked = f"{rows:,} versions of rows, {bodies.count:,} bodies and lines"


def _check_links(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    for name, column, target, key in _LINKS:
        for (value,) in reader.query(
            f"SELECT DISTINCT s.{column} FROM {name} s LEFT JOIN {target} t ON t.run_no = s.run_no "
            f"AND t.{key} = s.{column} WHERE s.run_no = ? AND s.{column} IS NOT NULL AND t.run_no IS NULL LIMIT 1",
            run.run_no,
        ):
            step.find(name, f"{column} {value}", f"there is no such record in {target}")


def _check_journeys(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """The journey of every passage must be there, whole, and have as many hashes as the passage."""
    for commit_no, journey_no, size, steps, last_place, hashes in reader.query(
        "SELECT p.commit_no, p.journey_no, p.size, COUNT(j.place), MAX(j.last_place), COUNT(j.hash_no) FROM "
        "(SELECT DISTINCT run_no, commit_no, journey_no, COALESCE(length(output_hashes), 0) AS size FROM passages "
        "WHERE run_no = ?) p LEFT JOIN journeys j USING (run_no, commit_no, journey_no) "
        "GROUP BY p.commit_no, p.journey_no, p.size",
        run.run_no,
    ):
        place = f"commit {commit_no}, journey {journey_no}"
        if not steps:
            step.find("passages", place, "there is no such record in journeys")
        elif steps - 1 != last_place:
            step.find("journeys", place, "it is not whole")
        elif size != hashes * _HASH_BYTES:
            step.find("passages", place, "the journey has another number of hashes")


def _check_states(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """However many passages a token has, it came to a node once at each attempt.

    Tokens are many and journeys few, so it is pairs of journeys that are looked at, each with the first token that
    has both; a journey is a pair with itself. In this order, or SQLite looks at every pair of each journey.
    """
    for row, node_no, attempt in reader.query(
        "SELECT pairs.row_index, a.node_no, a.attempt FROM ("
        "SELECT MIN(p.row_index) AS row_index, p.commit_no, p.journey_no, q.commit_no AS other_commit_no, "
        "q.journey_no AS other_journey_no FROM passages p JOIN passages q USING (run_no, row_index, path) "
        "WHERE p.run_no = ?1 AND (p.commit_no, p.journey_no) <= (q.commit_no, q.journey_no) GROUP BY 2, 3, 4, 5"
        ") AS pairs "
        "CROSS JOIN journeys a ON a.run_no = ?1 AND a.commit_no = pairs.commit_no AND a.journey_no = pairs.journey_no "
        "CROSS JOIN journeys b ON b.run_no = ?1 AND b.commit_no = other_commit_no AND b.journey_no = other_journey_no "
        "AND b.node_no = a.node_no AND b.attempt = a.attempt "
        "WHERE (a.commit_no, a.journey_no) < (b.commit_no, b.journey_no) OR a.place < b.place ORDER BY 1, 2, 3",
        run.run_no,
    ):
        step.find("passages", f"row {row}", f"two of them came to node {node_no} at attempt {attempt}")


def _check_words(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    for entry in TABLES:
        for column in entry.columns:
            if column.words is None:
                continue
            known = ", ".join(str(word.value) for word in column.words)
            for (value,) in reader.query(
                f"SELECT {column.name} FROM {entry.name} WHERE run_no = ? AND {column.name} NOT IN ({known}) LIMIT 1",
                run.run_no,
            ):
                step.find(entry.name, f"{column.name} {value}", f"it is no {column.words.__name__}")


class _Bodies:
    """Reads bodies and lines where they are said to be, each of them against its hash."""

    def __init__(self, reader: LandscapeReader, run: RunHeader, step: Step, purged: frozenset[PayloadClass]) -> None:
        self._reader = reader
        self._run = run
        self._step = step
        self._payloads = Payloads(reader, run)
        self._gone = {
            number
            for number, payload_class in reader.query(
                "SELECT segment_no, class FROM segments WHERE run_no = ?", run.run_no
            )
            if read_word(PayloadClass, payload_class, f"segments {run.run_no}/{number}") in purged
        }
        self.count = 0

    def check_table(self, name: str, hash_column: str, ref_column: str, key: str) -> None:
        """Checks the bodies that one column of references points to."""
        for place, digest, reference in self._reader.stream(
            f"SELECT {key}, {hash_column}, {ref_column} FROM {name} WHERE run_no = ? AND {ref_column} IS NOT NULL "
            f"ORDER BY {key}",
            self._run.run_no,
        ):
            self.check(name, f"{place} {ref_column}", reference, digest)

    def check(self, name: str, place: str, reference: str, digest: bytes) -> None:
        """Checks one body."""
        try:
            ref = parse_reference(reference, digest)
            if ref.segment_no in self._gone:
                return
            for _ in self._payloads.chunks(reference, digest):
                pass
        except TrailError as error:
            self._step.find(name, place, error.message)
        self.count += 1

    def check_members(self) -> None:
        """Checks the lines of the batches' files, in the order in which they stand there."""
        for row, batch_no, segment_no, start, length, digest in self._reader.stream(
            "SELECT row_index, batch_no, segment_no, start, length, line_hash FROM batch_members "
            "WHERE run_no = ? ORDER BY segment_no, position, row_index",
            self._run.run_no,
        ):
            if segment_no in self._gone:
                continue
            place = f"row {row} in batch {batch_no}"
            try:
                if sha256(self._payloads.segment(segment_no).read(start, length)) != digest:
                    self._step.find("batch_members", place, "its line does not have its hash")
            except TrailError as error:
                self._step.find("batch_members", place, error.message)
            self.count += 1


def _check_versions(reader: LandscapeReader, run: RunHeader, step: Step, bodies: _Bodies) -> int:
    """Every version of a row that a record has the hash of must be among the payloads of that commit."""
    source = RowSource(reader, run, Payloads(reader, run))
    count = 0
    for name, row, commit_no, digest, raw in _versions(reader, run):
        if raw is not None:
            bodies.check(name, f"row {row}", raw, digest)
            continue
        try:
            source.bytes_of(row, commit_no=commit_no, sha=digest)
        except TrailError as error:
            step.find(name, f"row {row}", error.message)
        count += 1
    return count


def _versions(reader: LandscapeReader, run: RunHeader) -> Iterator[tuple[str, int, int, bytes, str | None]]:
    """Table, row, commit and hash of each version, by row; of a record that is no row the reference of its bytes.

    All versions of a row follow each other, so that each frame is read once.
    """
    for name, row, commit_no, digest, error in reader.stream(
        "SELECT 'rows', r.row_index, r.commit_no, r.data_hash, (SELECT s.error_json FROM node_states s "
        "WHERE s.run_no = r.run_no AND s.row_index = r.row_index AND s.path = x'' AND s.node_no = 0) "
        "FROM rows r WHERE r.run_no = ?1 UNION ALL "
        "SELECT 'passages', row_index, commit_no, output_hash, NULL FROM node_states "
        "WHERE run_no = ?1 AND output_hash IS NOT NULL ORDER BY 2",
        run.run_no,
    ):
        if error is None:
            yield name, row, commit_no, digest, None
        else:
            raw = read_json(error, f"passages {run.run_no}/{row}").get("raw", {})
            yield name, row, commit_no, digest, str(raw.get("ref", ""))
