"""The boundary at which source records become rows of the run.

A row gets its bytes and its hash here, once. What has no bytes, repeats a key or would
put a secret into the trail is quarantined like a record that the source could not read.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import date
from itertools import compress
from typing import Any

from elspeth.contracts import NodeStep, Outcome, RejectedRow, Row, RowError, SourceBatch, StateStatus
from elspeth.core.calls import Redactor
from elspeth.core.canonical import NotEncodableError, RowCodec, compact_json, sha256_each
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder
from elspeth.engine.plan import SOURCE_NODE
from elspeth.engine.tokens import Arrival, Flock

__all__ = ["Admission", "Admitted", "rejected_row"]


class Admitted:
    """A micro-batch at the boundary: rows to send on, with their lines and keys, and records that are no rows."""

    __slots__ = ("flock", "keys", "lines", "rejected")

    def __init__(self, flock: Flock, *, lines: Sequence[int], keys: Sequence[str], rejected: list[RejectedRow]) -> None:
        self.flock = flock
        self.lines = lines
        self.keys = keys
        self.rejected = rejected


class Admission:
    """Turns source batches into rows of the run.

    With ``are_plain`` the source vouches for its values. Keys are checked against the trail; those that are not
    durable yet are kept here, for at most two commits.
    """

    def __init__(
        self,
        *,
        codec: RowCodec,
        are_plain: bool,
        key_field: str | None,
        on_invalid: int | None,
        redactor: Redactor,
        recorder: LandscapeRecorder,
        reader: LandscapeReader,
    ) -> None:
        self._codec = codec
        self._are_plain = are_plain
        self._key_field = key_field
        self._on_invalid = on_invalid
        self._redactor = redactor
        self._recorder = recorder
        self._reader = reader
        self._recent_keys: set[str] = set()
        self._older_keys: set[str] = set()

    def admit(self, batch: SourceBatch) -> Admitted:
        """Makes rows; records nothing yet."""
        rejected = [self._without_secret(one) if self._redactor.is_in(one.raw) else one for one in batch.rejected]
        encoded = self._codec.encode_each(batch.rows, are_plain=self._are_plain)
        keys = self._keys(batch.rows, encoded)
        faults = self._faults(batch.rows, encoded, keys)
        columns: list[Sequence[Any]] = [batch.indexes, batch.lines, batch.rows, encoded, keys]
        if faults:
            rejected += [
                RejectedRow(
                    index=batch.indexes[place],
                    line=batch.lines[place],
                    raw=self._redactor.redact(_raw(encoded[place], batch.rows[place])),
                    error=fault,
                )
                for place, fault in faults.items()
            ]
            rejected.sort(key=lambda one: one.index)
            kept = [place not in faults for place in range(len(encoded))]
            columns = [list(compress(column, kept)) for column in columns]
        indexes, lines, rows, sound, sound_keys = columns
        flock = Flock(indexes, rows, sound, sha256_each(sound), writer=SOURCE_NODE)
        return Admitted(flock, lines=lines, keys=sound_keys, rejected=rejected)

    def _faults(
        self, rows: Sequence[Row], encoded: Sequence[bytes | NotEncodableError], keys: Sequence[str]
    ) -> dict[int, RowError]:
        """Why rows cannot be admitted, by place."""
        faults = {
            place: RowError(code="not_encodable", message=str(data))
            for place, data in enumerate(encoded)
            if isinstance(data, NotEncodableError)
        }
        sound = [b"" if isinstance(data, NotEncodableError) else data for data in encoded]
        for place in self._redactor.places(sound):
            faults[place] = RowError(code="secret", message="the record holds a registered secret")
        if self._key_field is not None:
            self._find_key_faults(rows, keys, faults)
        return faults

    def record(self, admitted: Admitted, *, started_at: int) -> list[Arrival]:
        """Hands rows, keys and rejections to the recorder; returns where the rejected ones end."""
        self._recorder.add_rows(admitted.flock.indexes, admitted.lines, admitted.flock.hashes)
        if self._key_field is not None:
            for key, index in zip(admitted.keys, admitted.flock.indexes, strict=True):
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
        refused = NodeStep(SOURCE_NODE, started_at, status=StateStatus.FAILED)
        self._recorder.add_failed_passage(rejected.index, [refused], [], error)
        return Arrival(
            rejected.index,
            Outcome.QUARANTINED,
            step_no=0,
            sink_no=self._on_invalid,
            row=rejected_row(rejected.index, error, rejected.raw),
            data=b"",
            error=error,
        )

    def _find_key_faults(self, rows: Sequence[Row], keys: Sequence[str], faults: dict[int, RowError]) -> None:
        """Adds why rows cannot have their keys; a key that a row can have is known from then on."""
        known = self._known_keys(keys)
        for place, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if place in faults:
                continue
            if row.get(self._key_field or "") in (None, ""):
                faults[place] = RowError(code="empty_key", message=f"the key {self._key_field!r} is empty")
            elif key in known:
                message = f"the key {key[:80]!r} has been read before"
                faults[place] = RowError(code="duplicate_key", message=message)
            else:
                known.add(key)
                self._recent_keys.add(key)

    def _keys(self, rows: Sequence[Row], encoded: Sequence[bytes | NotEncodableError]) -> list[str]:
        """The rows' keys as text, where rows have keys; empty for a row that has no bytes."""
        field = self._key_field
        if field is None:
            return []
        return [
            key_text(row.get(field)) if isinstance(data, bytes) else "" for row, data in zip(rows, encoded, strict=True)
        ]

    def _known_keys(self, keys: Sequence[str]) -> set[str]:
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
    return value.isoformat() if isinstance(value, date) else str(value)


def _raw(data: bytes | NotEncodableError, row: Row) -> bytes:
    """What is kept of a row that cannot be admitted."""
    return data if isinstance(data, bytes) else repr(row).encode("utf-8", "backslashreplace")


def rejected_row(index: int, error: dict[str, Any], raw: bytes) -> Row:
    """What a sink gets of a record that is no row."""
    row: Row = {"row": index, "code": error["code"], "message": error["message"]}
    try:
        row["raw"] = raw.decode()
    except UnicodeDecodeError:
        row["raw_base64"] = base64.b64encode(raw).decode()
    return row
