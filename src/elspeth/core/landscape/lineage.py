"""The explanation of one row: from its source record to its sink, every hash checked.

    source record -> each step's input and output -> what a gate saw and chose
                  -> each attempt's exact request and reply -> outcome, file and line

It reads the row's own records and the few frames that hold its bytes, so it costs the
same in a run of millions. Nothing is recomputed: what is shown is what was recorded.
In the place of purged bytes stands null, and ``purged`` beside their hash.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from elspeth.contracts import (
    FileRole,
    MissingTrailError,
    NodeKind,
    Outcome,
    PurgedError,
    PurgeMark,
    StateStatus,
    TrailError,
)
from elspeth.core.canonical import sha256
from elspeth.core.expressions import Expression
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RunHeader, read_word
from elspeth.core.landscape.request_lines import asked_by
from elspeth.core.landscape.retention import keeping_of
from elspeth.core.landscape.reuses import Reuse, reuses_of_row
from elspeth.core.landscape.rows import TrailRow, TrailRows, TrailState

__all__ = ["Lineage"]

_TELLING_CALLS = "('files.create', 'batches.create', 'files.content')"


class _Batch(NamedTuple):
    """A batch, and the ids of the calls that tell of its rows."""

    node_no: int
    attempt: int
    call_ids: list[str]


class Lineage:
    """Explains rows of one run as its trail stands; what holds for all of them is looked up once."""

    def __init__(self, reader: LandscapeReader, run: RunHeader) -> None:
        self._reader = reader
        self._run = run
        self._payloads = Payloads(reader, run)
        self._rows = TrailRows(reader, run, self._payloads)
        self._batches: dict[int, _Batch] = {}
        self._nodes = {
            number: (name, read_word(NodeKind, kind, f"nodes {run.run_no}/{number}"), plugin, expression)
            for number, name, kind, plugin, expression in reader.query(
                "SELECT node_no, name, kind, plugin, expression FROM nodes WHERE run_no = ?", run.run_no
            )
        }

    @cached_property
    def _is_simulated(self) -> bool:
        return self._reader.is_simulated(self._run)

    @cached_property
    def _purged(self) -> Sequence[PurgeMark]:
        return keeping_of(self._reader, self._run).marks

    @cached_property
    def _paths(self) -> dict[int, str]:
        """Where the sinks that have ended wrote."""
        found = self._reader.query("SELECT node_no, path FROM artifacts WHERE run_no = ?", self._run.run_no)
        return {node_no: str(path) for node_no, path in found}

    def row_of_key(self, key: str) -> int:
        """The index of the row with that key."""
        found = self._reader.query("SELECT row_index FROM row_keys WHERE run_no = ? AND key = ?", self._run.run_no, key)
        if not found:
            raise MissingTrailError(
                f"run {self._run.run_id} has no row with the key {key!r}",
                hint="Keys exist where the pipeline's source names a key field; --row N always works.",
            )
        return int(found[0][0])

    def explain(self, index: int, *, key: str | None = None) -> dict[str, Any]:
        """One row as a JSON object, in the shape of ``explain --json``; a ``key`` that is known is not looked up."""
        row = self._rows.find(index)
        if row is None:
            ((count,),) = self._reader.query("SELECT COUNT(*) FROM rows WHERE run_no = ?", self._run.run_no)
            raise MissingTrailError(
                f"run {self._run.run_id} has no row {index}",
                hint=f"Its rows are 0 to {count - 1}." if count else "It has read no row yet.",
            )
        return {
            "schema_version": 1,
            "run": self._run.run_id,
            "pipeline": self._run.pipeline,
            "simulated": self._is_simulated,
            "purged": [mark.as_json() for mark in self._purged],
            "row": self._source_row(row, key),
            "steps": list(self._steps(row)),
            "outcomes": self._outcomes(index),
        }

    def steps(self, index: int) -> list[dict[str, Any]]:
        """What each step made of a row, in the same shape; nothing for a record that never became one."""
        (row,) = self._rows.fetch([index])
        return list(self._steps(row))

    def _source_row(self, row: TrailRow, key: str | None) -> dict[str, Any]:
        known = self._key(row.index) if key is None else key
        shown: dict[str, Any] = {"index": row.index, "line": row.line, "key": known}
        if row.is_rejected:
            error = row.states[0].error
            shown["data"] = None
            try:
                shown["raw"] = _text(self._rows.raw(row))
            except PurgedError as purged:
                shown |= {"raw": None, "purged": purged.mark.as_json()}
            shown["error"] = {"code": error.get("code"), "message": error.get("message")}
            if "detail" in error:
                shown["error"]["detail"] = error["detail"]
        else:
            try:
                shown["data"] = self._value(row, (0, row.data_hash, row.commit_no))
            except PurgedError as purged:
                shown |= {"data": None, "purged": purged.mark.as_json()}
        shown["hash"] = row.data_hash.hex()
        return shown

    def _key(self, index: int) -> str | None:
        """The row's key. Keys are clustered by key, so a run without any is told apart first."""
        if self._run.key_field is None:
            return None
        found = self._reader.query(
            "SELECT key FROM row_keys WHERE run_no = ? AND row_index = ?", self._run.run_no, index
        )
        return str(found[0][0]) if found else None

    def _steps(self, row: TrailRow) -> Iterator[dict[str, Any]]:
        attempts = self._attempts(row.index)
        for state in row.states:
            if state.node_no != 0:
                yield self._step(row, state, attempts.pop(state.node_no, []))
        for node_no, waiting in attempts.items():
            name, _, plugin, _ = self._nodes[node_no]
            shown = {
                "name": name,
                "plugin": plugin,
                "status": "waiting",
                **self._values(row, node_no, has_output=False),
            }
            yield {**shown, "attempts": waiting}

    def _step(self, row: TrailRow, state: TrailState, attempts: list[dict[str, Any]]) -> dict[str, Any]:
        name, kind, plugin, expression = self._nodes[state.node_no]
        shown: dict[str, Any] = {"name": name, "plugin": plugin or "gate", "status": state.status.word}
        shown |= self._values(row, state.node_no, has_output=state.status is not StateStatus.FAILED)
        if state.status is StateStatus.FAILED:
            shown["error"] = state.error
        if kind is NodeKind.GATE and expression is not None:
            before = shown["input"]
            values = None if before is None else _parsed(expression).values(before)
            shown["gate"] = {"expression": expression, "values": values, "route": state.route}
        if attempts:
            shown["attempts"] = attempts
        return shown

    def _values(self, row: TrailRow, node_no: int, *, has_output: bool) -> dict[str, Any]:
        """What a row was before and after a node; hashes and the mark of the purge where the bytes are gone."""
        before, after = row.version_before(node_no), row.version_before(node_no + 1)
        try:
            return {"input": self._value(row, before), "output": self._value(row, after) if has_output else None}
        except PurgedError as purged:
            hashes = {"input_hash": before[1].hex(), "output_hash": after[1].hex() if has_output else None}
            return {"input": None, "output": None, **hashes, "purged": purged.mark.as_json()}

    def _value(self, row: TrailRow, version: tuple[int, bytes, int]) -> dict[str, Any]:
        """A version of the row, found by its hash and so checked."""
        value = json.loads(self._rows.data(row, version))
        if not isinstance(value, dict):
            raise TrailError(f"row {row.index} of run {self._run.run_id} is not an object")
        return value

    def _attempts(self, index: int) -> dict[int, list[dict[str, Any]]]:
        """What was asked and answered, by the step that asked."""
        found: dict[int, list[dict[str, Any]]] = {}
        slices = self._reader.query(
            "SELECT batch_no, role, segment_no, position, start, length, line_hash FROM batch_members "
            "WHERE run_no = ? AND row_index = ? ORDER BY batch_no, path, role",
            self._run.run_no,
            index,
        )
        for batch_no, members in groupby(slices, key=itemgetter(0)):
            batch = self._batch(batch_no)
            shown: dict[str, Any] = {"batch": batch_no, "attempt": batch.attempt, "request": None, "reply": None}
            shown |= {"shared_with": None, "reused_from": None}
            for _, role, segment_no, position, start, length, line_hash in members:
                word = read_word(FileRole, role, f"batch_members {self._run.run_no}/{index}/{batch_no}")
                part = {"file": word.word, "file_line": position + 1, "sha256": line_hash.hex()}
                try:
                    line = self._payloads.segment(segment_no).read(start, length)
                except PurgedError as purged:
                    part |= {"line": None, "purged": purged.mark.as_json()}
                else:
                    if sha256(line) != line_hash:
                        place = f"the {word.word} line of row {index} in batch {batch_no}"
                        raise TrailError(f"{place} does not have its hash")
                    part["line"] = _text(line)
                    if word is FileRole.REQUEST:
                        shown["shared_with"] = _owner(line, index)
                shown["request" if word is FileRole.REQUEST else "reply"] = part
            shown["call_ids"] = list(batch.call_ids)
            shown["error"] = None
            found.setdefault(batch.node_no, []).append(shown)
        for reuse in reuses_of_row(self._reader, self._run, index):
            found.setdefault(reuse.node_no, []).append(self._taken(reuse))
        return found

    def _taken(self, reuse: Reuse) -> dict[str, Any]:
        """An answer that was there already: no batch and no call of the row's own."""
        lines = (
            ("request", FileRole.REQUEST, reuse.request_ref, reuse.request_hash),
            ("reply", reuse.role, reuse.reply_ref, reuse.reply_hash),
        )
        shown: dict[str, Any] = {"batch": None, "attempt": 0}
        for name, role, ref, digest in lines:
            part: dict[str, Any] = {"file": role.word, "file_line": None, "sha256": digest.hex()}
            try:
                part["line"] = _text(self._payloads.body_at(ref, digest))
            except PurgedError as purged:
                part |= {"line": None, "purged": purged.mark.as_json()}
            shown[name] = part
        origin = {
            "run": reuse.from_run,
            "row": reuse.from_row,
            "batch": reuse.from_batch,
            "attempt": reuse.from_attempt,
        }
        return {**shown, "shared_with": None, "reused_from": origin, "call_ids": [], "error": None}

    def _batch(self, batch_no: int) -> _Batch:
        """What holds for all rows of a batch. Without the index all polls of the run would be gone through."""
        if batch_no not in self._batches:
            wanted = (self._run.run_no, batch_no)
            found = self._reader.query(
                "SELECT node_no, attempt FROM batches WHERE run_no = ? AND batch_no = ?", *wanted
            )
            if not found:
                raise TrailError(f"run {self._run.run_id} has members of batch {batch_no}, but no such batch")
            calls = self._reader.query(
                "SELECT call_no FROM calls INDEXED BY calls_by_batch WHERE run_no = ? AND batch_no = ? "
                f"AND operation IN {_TELLING_CALLS} ORDER BY call_no",
                *wanted,
            )
            node_no, attempt = found[0]
            call_ids = [f"{self._run.run_id}:{call_no}" for (call_no,) in calls]
            self._batches[batch_no] = _Batch(node_no, attempt, call_ids)
        return self._batches[batch_no]

    def _outcomes(self, index: int) -> list[dict[str, Any]]:
        outcomes = []
        for path, outcome, step_no, sink_no, line, reason in self._reader.query(
            "SELECT path, outcome, step_no, sink_no, sink_line, reason FROM outcomes "
            "WHERE run_no = ? AND row_index = ? ORDER BY path",
            self._run.run_no,
            index,
        ):
            place = f"outcomes {self._run.run_no}/{index}"
            outcomes.append(
                {
                    "token": f"{index}{'/' + path.hex() if path else ''}",
                    "outcome": read_word(Outcome, outcome, place).word,
                    "step": None if step_no is None else self._nodes[step_no][0],
                    "sink": None if sink_no is None else self._nodes[sink_no][0],
                    "path": None if sink_no is None else self._paths.get(sink_no),
                    "line": line,
                    "reason": reason,
                }
            )
        return outcomes


@lru_cache(maxsize=64)
def _parsed(text: str) -> Expression:
    """A gate's expression, compiled once for all rows that it decided on."""
    return Expression.parse(text)


def _owner(line: bytes, index: int) -> dict[str, int] | None:
    """The row that a request line names, where that is another one."""
    named = asked_by(line)
    return None if named is None or named[0] == index else {"row": named[0]}


def _text(data: bytes) -> str:
    """Bytes as text; what is not UTF-8 as base64 with a mark."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()
