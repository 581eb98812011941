"""Rows as they came from the source, from the bytes that the trail has of them.

Bytes that are gone end a row: it cannot be replayed. Bytes that are there and do not
have their hash are a difference, and the replay goes on with them if they are a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from elspeth.contracts import Outcome, TrailError
from elspeth.core.canonical import RowCodec, sha256
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.reader import RowSource, read_json
from elspeth.core.payloads import parse_reference
from elspeth.engine.admission import key_text, rejected_row
from elspeth.engine.plan import SOURCE_NODE
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.stretch import Stretch
from elspeth.engine.tokens import Arrival, Token

__all__ = ["DAMAGED", "RecordedRows"]

ROWS = "rows"
DAMAGED = "damaged"
_NO_HASH = "(bytes)"


class RecordedRows:
    """Reads the rows of one run; every hash is checked."""

    def __init__(
        self, reader: LandscapeReader, run: RunHeader, findings: Findings, *, codec: RowCodec, key_field: str | None
    ) -> None:
        self._reader = reader
        self._run = run
        self._findings = findings
        self._codec = codec
        self._key_field = key_field
        self._payloads = Payloads(reader, run)
        self._source = RowSource(reader, run, self._payloads)
        found = reader.query("SELECT segment_no FROM segments WHERE run_no = ? AND name = 'rows.zst'", run.run_no)
        self._are_gone = any(self._payloads.is_missing(number) for (number,) in found)

    def read(self, row: int, digest: bytes, commit_no: int) -> bytes | None:
        """The bytes with that hash; None when nobody has them any more."""
        if self._are_gone:
            return None
        try:
            return self._source.bytes_of(row, commit_no=commit_no, sha=digest)
        except TrailError:
            return None

    def tokens(self, stretch: Stretch) -> list[Token]:
        """The rows of a stretch, ready to be sent through the steps."""
        tokens = [token for row in stretch.rows if not stretch.is_rejected(row) for token in self._token(stretch, row)]
        if self._key_field is not None:
            self._compare_keys(self._key_field, tokens)
        return tokens

    def rejected(self, stretch: Stretch, *, sink_no: int | None) -> Iterator[Arrival]:
        """Where the records end that are no rows. Why they are none only the source could say again."""
        for row, (digest, _) in stretch.rows.items():
            text = stretch.error_at(row, SOURCE_NODE)
            if text is None:
                continue
            error = read_json(text, f"node_states {self._run.run_no}/{row}")
            if not isinstance(error.get("code"), str) or not isinstance(error.get("message"), str):
                raise TrailError(f"node_states {self._run.run_no}/{row}: the rejection has no code and message")
            raw = self._raw(row, str(error.get("raw", {}).get("ref", "")), digest)
            if raw is None:
                continue
            yield Arrival(
                row,
                Outcome.QUARANTINED,
                step_no=SOURCE_NODE,
                sink_no=sink_no,
                row=rejected_row(row, error, raw),
                data=b"",
                error=error,
            )

    def _token(self, stretch: Stretch, row: int) -> Iterator[Token]:
        """The row's token; none when the row cannot go on."""
        digest, commit_no = stretch.rows[row]
        if self._are_gone:
            self._findings.cannot_replay(row, ROWS)
            return
        try:
            data = self._source.bytes_of(row, commit_no=commit_no, sha=digest)
        except TrailError as error:
            substitute = self._substitute(row, digest, commit_no)
            if substitute is None:
                self._damage(row, "source", digest, error.message)
                return
            data = substitute
            self._findings.differ(
                Sort.PAYLOAD, row=row, step="source", field=_NO_HASH, recorded=digest.hex(), replayed=sha256(data).hex()
            )
        try:
            value = self._codec.decode(data)
        except ValueError as error:
            self._damage(row, "source", digest, str(error))
            return
        yield Token(row, value, data, sha256(data), SOURCE_NODE)

    def _damage(self, row: int, step: str, digest: bytes, message: str) -> None:
        """Bytes that are there and of no use."""
        self._findings.cannot_replay(row, DAMAGED)
        self._findings.differ(Sort.PAYLOAD, row=row, step=step, field=_NO_HASH, recorded=digest.hex(), replayed=message)

    def _substitute(self, row: int, digest: bytes, commit_no: int) -> bytes | None:
        """What stands where the bytes with that hash should.

        The lines of a commit follow each other as the rows and their steps do: what is recorded and not there
        is what is there and not recorded, in the same order.
        """
        try:
            lines, rows = self._source.lines_of(row, commit_no=commit_no)
        except TrailError:
            return None
        recorded = [
            sha
            for (sha,) in self._reader.query(
                "SELECT hash FROM (SELECT row_index, 0 AS node_no, data_hash AS hash, commit_no FROM rows "
                "WHERE run_no = ?1 AND row_index BETWEEN ?2 AND ?3 AND NOT EXISTS (SELECT 1 FROM node_states s "
                "WHERE s.run_no = ?1 AND s.row_index = rows.row_index AND s.node_no = 0) "
                "UNION ALL SELECT row_index, node_no, output_hash, commit_no FROM node_states "
                "WHERE run_no = ?1 AND row_index BETWEEN ?2 AND ?3 AND output_hash IS NOT NULL) "
                "WHERE commit_no = ?4 ORDER BY row_index, node_no",
                self._run.run_no,
                rows.start,
                rows.stop - 1,
                commit_no,
            )
        ]
        known = set(recorded)
        missing = [sha for sha in recorded if sha not in lines]
        strange = [line for sha, line in lines.items() if sha not in known and line]
        return dict(zip(missing, strange, strict=True)).get(digest) if len(missing) == len(strange) else None

    def _raw(self, row: int, reference: str, digest: bytes) -> bytes | None:
        ref = parse_reference(reference, digest)
        if self._payloads.is_missing(ref.segment_no):
            self._findings.cannot_replay(row, ROWS)
            return None
        try:
            data = self._payloads.segment(ref.segment_no).read(ref.start, ref.length)
        except TrailError as error:
            self._damage(row, "source", digest, error.message)
            return None
        if (found := sha256(data)) != digest:
            self._findings.differ(
                Sort.PAYLOAD, row=row, step="source", field=_NO_HASH, recorded=digest.hex(), replayed=found.hex()
            )
        return data

    def _compare_keys(self, field: str, tokens: Sequence[Token]) -> None:
        keys = {key_text(token.row.get(field)): token.index for token in tokens}
        recorded = dict(
            self._reader.query(
                "SELECT key, row_index FROM row_keys WHERE run_no = ? AND key IN (SELECT value FROM json_each(?))",
                self._run.run_no,
                json.dumps(list(keys)),
            )
        )
        for key, row in keys.items():
            if recorded.get(key) != row:
                self._findings.differ(
                    Sort.KEY, row=row, step="source", field=field, recorded=recorded.get(key, ABSENT), replayed=key
                )
