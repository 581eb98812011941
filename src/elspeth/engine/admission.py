"""The boundary at which source records become rows of the run.

A row gets its bytes and its hash here, once. What has no bytes, repeats a key or would
put a secret into the trail is quarantined like a record that the source could not read.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from elspeth.contracts import Outcome, RejectedRow, Row, RowError, SourceBatch
from elspeth.core.calls import Redactor
from elspeth.core.canonical import NotEncodableError, RowCodec, compact_json, sha256
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder
from elspeth.engine.tokens import Arrival, Token

__all__ = ["Admission", "Admitted", "rejected_row"]


class Admitted:
    """A micro-batch at the boundary: tokens to send on, and records that are no rows.

    ``lines``, ``hashes`` and ``keys`` belong to the tokens as they came: tokens change on their way.
    """

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.lines: list[int] = []
        self.hashes: list[bytes] = []
        self.keys: list[str] = []
        self.rejected: list[RejectedRow] = []


class Admission:
    """Turns source batches into tokens.

    Keys are checked against the trail; those that are not durable yet are kept here, for at most two commits.
    """

    def __init__(
        self,
        *,
        codec: RowCodec,
        key_field: str | None,
        on_invalid: int | None,
        redactor: Redactor,
        recorder: LandscapeRecorder,
        reader: LandscapeReader,
    ) -> None:
        self._codec = codec
        self._key_field = key_field
        self._on_invalid = on_invalid
        self._redactor = redactor
        self._recorder = recorder
        self._reader = reader
        self._recent_keys: set[str] = set()
        self._older_keys: set[str] = set()

    def admit(self, batch: SourceBatch) -> Admitted:
        """Makes tokens; records nothing yet."""
        admitted = Admitted()
        admitted.rejected = [
            self._without_secret(rejected) if self._redactor.is_in(rejected.raw) else rejected
            for rejected in batch.rejected
        ]
        rows = batch.rows
        try:
            encoded: list[bytes | NotEncodableError] = list(self._codec.encode_batch(rows))
        except NotEncodableError:
            encoded = [self._encode(row) for row in rows]
        keys = self._keys(rows, encoded)
        known = self._known_keys(keys)
        for index, line, row, key, data in zip(batch.indexes, batch.lines, rows, keys, encoded, strict=True):
            if isinstance(data, NotEncodableError):
                error = RowError(code="not_encodable", message=str(data))
            elif self._redactor.is_in(data):
                error = RowError(code="secret", message="the record holds a registered secret")
            elif (fault := self._key_fault(row, key, known)) is not None:
                error = fault
            else:
                token = Token(index, row, data, sha256(data), writer=0, is_new=True)
                admitted.tokens.append(token)
                admitted.lines.append(line)
                admitted.hashes.append(token.sha256)
                if self._key_field is not None:
                    admitted.keys.append(key)
                continue
            raw = data if isinstance(data, bytes) else repr(row).encode("utf-8", "backslashreplace")
            admitted.rejected.append(RejectedRow(index=index, line=line, raw=self._redactor.redact(raw), error=error))
        admitted.rejected.sort(key=lambda rejected: rejected.index)
        return admitted

    def record(self, admitted: Admitted, *, started_at: int) -> list[Arrival]:
        """Hands rows, keys and rejections to the recorder; returns where the rejected ones end."""
        indexes = [token.index for token in admitted.tokens]
        self._recorder.add_rows(indexes, admitted.lines, admitted.hashes)
        for key, index in zip(admitted.keys, indexes, strict=False):
            self._recorder.add_key(key, index)
        return [self._record_rejected(rejected, started_at) for rejected in admitted.rejected]

    def _record_rejected(self, rejected: RejectedRow, started_at: int) -> Arrival:
        ref = self._recorder.add_rejected_bytes(rejected.raw)
        self._recorder.add_rows([rejected.index], [rejected.line], [ref.sha256])
        error: dict[str, Any] = {
            "code": rejected.error.code,
            "message": self._redactor.redact_text(rejected.error.message),
            "raw": {"ref": str(ref), "bytes": len(rejected.raw)},
        }
        if rejected.error.detail is not None:
            error["detail"] = self._redactor.redact_value(dict(rejected.error.detail))
        self._recorder.add_failure(rejected.index, node_no=0, error=error, started_at=started_at, duration_us=0)
        return Arrival(
            rejected.index,
            Outcome.QUARANTINED,
            step_no=0,
            sink_no=self._on_invalid,
            row=rejected_row(rejected.index, error, rejected.raw),
            data=b"",
            error=error,
        )

    def _encode(self, row: Row) -> bytes | NotEncodableError:
        try:
            return self._codec.encode(row)
        except NotEncodableError as error:
            return error

    def _key_fault(self, row: Row, key: str, known: set[str]) -> RowError | None:
        """Why a row cannot have its key; a key that it can have is known from then on."""
        if self._key_field is None:
            return None
        if row.get(self._key_field) in (None, ""):
            return RowError(code="empty_key", message=f"the key {self._key_field!r} is empty")
        if key in known:
            return RowError(code="duplicate_key", message=f"the key {key[:80]!r} has been read before")
        known.add(key)
        self._recent_keys.add(key)
        return None

    def _keys(self, rows: Sequence[Row], encoded: Sequence[bytes | NotEncodableError]) -> list[str]:
        """The rows' keys as text; empty for a row that has no bytes."""
        field = self._key_field
        if field is None:
            return [""] * len(rows)
        return [
            key_text(row.get(field)) if isinstance(data, bytes) else "" for row, data in zip(rows, encoded, strict=True)
        ]

    def _known_keys(self, keys: Sequence[str]) -> set[str]:
        if self._key_field is None:
            return set()
        known = {key for key in keys if key in self._recent_keys or key in self._older_keys}
        known.update(
            key
            for (key,) in self._reader.query(
                "SELECT key FROM row_keys WHERE run_no = ? AND key IN (SELECT value FROM json_each(?))",
                self._recorder.journal.run_no,
                compact_json(list(keys)),
            )
        )
        return known

    def forget_older_keys(self) -> None:
        """Called when a commit is handed over: what the one before it held is durable by then."""
        self._older_keys, self._recent_keys = self._recent_keys, set()

    def _without_secret(self, rejected: RejectedRow) -> RejectedRow:
        return RejectedRow(
            index=rejected.index,
            line=rejected.line,
            raw=self._redactor.redact(rejected.raw),
            error=rejected.error,
        )


def key_text(value: object) -> str:
    """A key as text: strings as they are, anything else as JSON or ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | bool | dict | list) or value is None:
        return compact_json(value)
    return str(value)


def rejected_row(index: int, error: dict[str, Any], raw: bytes) -> Row:
    """What a sink gets of a record that is no row."""
    row: Row = {"row": index, "code": error["code"], "message": error["message"]}
    try:
        row["raw"] = raw.decode()
    except UnicodeDecodeError:
        row["raw_base64"] = base64.b64encode(raw).decode()
    return row
