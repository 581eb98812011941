"""The views for people: names instead of numbers, lower-case words, hex hashes, ISO times.

`node_states` is for statements too, so it keeps the numbers: it puts a token's passages and their journeys together.

Their columns are a contract (docs/audit-format.md). They add nothing: whatever
they show is in the tables.
"""

from __future__ import annotations

from elspeth.contracts.enums import (
    BatchPhase,
    CallStatus,
    Outcome,
    PurgeAction,
    RunStatus,
    StateStatus,
)
from elspeth.contracts.enums import Word as _Word

__all__ = ["VIEWS", "view_statements"]


def _words(column: str, enum: type[_Word]) -> str:
    cases = " ".join(f"WHEN {member.value} THEN '{member.word}'" for member in enum)
    return f"CASE {column} {cases} END"


def _iso(column: str) -> str:
    seconds = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE {seconds} || printf('.%06dZ', {column} % 1000000) END"


def _hex(column: str) -> str:
    return f"lower(hex({column}))"


def _maybe_hex(column: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE lower(hex({column})) END"


def _last_hash(comparison: str) -> str:
    """The hash of a token's bytes just before (``<``) or just after (``<=``) the state ``s``."""
    earlier = (
        "SELECT p.output_hash FROM node_states p WHERE p.run_no = s.run_no AND p.row_index = s.row_index "
        f"AND p.path = s.path AND p.node_no {comparison} s.node_no AND p.output_hash IS NOT NULL "
        "ORDER BY p.node_no DESC, p.attempt DESC LIMIT 1"
    )
    first = "SELECT d.data_hash FROM rows d WHERE d.run_no = s.run_no AND d.row_index = s.row_index"
    return f"lower(hex(COALESCE(({earlier}), ({first}))))"


_LAST_EVENT = (
    "(SELECT e.{column} FROM {table} e WHERE e.run_no = {alias}.run_no {match} ORDER BY e.event_no DESC LIMIT 1)"
)


def _run_event(column: str) -> str:
    return _LAST_EVENT.format(column=f"{column}", table="run_events", alias="r", match="")


def _batch_event(column: str) -> str:
    return _LAST_EVENT.format(column=column, table="batch_events", alias="b", match="AND e.batch_no = b.batch_no")


def _batch_fact(field: str) -> str:
    return (
        f"(SELECT json_extract(e.detail_json, '$.{field}') FROM batch_events e WHERE e.run_no = b.run_no "
        f"AND e.batch_no = b.batch_no AND json_extract(e.detail_json, '$.{field}') IS NOT NULL "
        "ORDER BY e.event_no DESC LIMIT 1)"
    )


_ENDED_AT = (
    "(SELECT e.at FROM run_events e WHERE e.run_no = r.run_no AND e.status IN "
    f"({RunStatus.FAILED.value}, {RunStatus.COMPLETED.value}) ORDER BY e.event_no DESC LIMIT 1)"
)

_GRADE = (
    "CASE WHEN EXISTS (SELECT 1 FROM purges p WHERE p.run_no = r.run_no "
    f"AND p.action = {PurgeAction.PURGING.value}) THEN 'attributable' ELSE 'replayable' END"
)

VIEWS: dict[str, str] = {
    "node_states": f"""
        SELECT p.run_no, p.row_index, p.path, j.node_no, j.attempt, p.commit_no, j.status, j.route,
               CASE WHEN j.hash_no IS NOT NULL THEN substr(p.output_hashes, 32 * j.hash_no + 1, 32) END AS output_hash,
               j.started_us, j.duration_us,
               CASE WHEN j.status = {StateStatus.FAILED.value} THEN p.error_json END AS error_json
        FROM passages p CROSS JOIN journeys j
        ON j.run_no = p.run_no AND j.commit_no = p.commit_no AND j.journey_no = p.journey_no""",
    "v_runs": f"""
        SELECT r.run_id, r.pipeline, {_words(_run_event("status"), RunStatus)} AS status,
               {_iso("r.started_at")} AS started_at,
               CASE WHEN {_run_event("status")} IN ({RunStatus.FAILED.value}, {RunStatus.COMPLETED.value})
                    THEN {_iso(_ENDED_AT)} END AS ended_at,
               r.mode, {_GRADE} AS grade
        FROM runs r""",
    "v_rows": f"""
        SELECT r.run_id, d.row_index, d.line, {_hex("d.data_hash")} AS data_hash,
               {_words("o.outcome", Outcome)} AS outcome
        FROM rows d JOIN runs r ON r.run_no = d.run_no
        LEFT JOIN outcomes o ON o.run_no = d.run_no AND o.row_index = d.row_index AND o.path = x''""",
    "v_states": f"""
        SELECT r.run_id, s.row_index, {_hex("s.path")} AS path, n.name AS step, s.attempt,
               {_words("s.status", StateStatus)} AS status, s.route,
               {_last_hash("<")} AS input_hash,
               CASE WHEN s.status = {StateStatus.FAILED.value} THEN NULL ELSE {_last_hash("<=")} END AS output_hash,
               {_iso("(r.started_at + s.started_us)")} AS started_at, s.duration_us, s.error_json
        FROM node_states s JOIN runs r ON r.run_no = s.run_no
        JOIN nodes n ON n.run_no = s.run_no AND n.node_no = s.node_no""",
    "v_outcomes": f"""
        SELECT r.run_id, o.row_index, {_hex("o.path")} AS path, {_words("o.outcome", Outcome)} AS outcome,
               n.name AS step, k.name AS sink, o.sink_line AS line, o.reason
        FROM outcomes o JOIN runs r ON r.run_no = o.run_no
        LEFT JOIN nodes n ON n.run_no = o.run_no AND n.node_no = o.step_no
        LEFT JOIN nodes k ON k.run_no = o.run_no AND k.node_no = o.sink_no""",
    "v_reuses": f"""
        SELECT r.run_id, u.row_index, {_hex("u.path")} AS path, n.name AS step, u.from_run, u.from_row, u.from_batch,
               u.from_attempt, {_hex("u.request_hash")} AS request_hash, u.request_ref,
               {_hex("u.reply_hash")} AS reply_hash, u.reply_ref, u.input_tokens, u.output_tokens
        FROM reuses u JOIN runs r ON r.run_no = u.run_no
        JOIN nodes n ON n.run_no = u.run_no AND n.node_no = u.node_no""",
    "v_calls": f"""
        SELECT r.run_id, r.run_id || ':' || c.call_no AS call_id, n.name AS step, c.batch_no AS batch, c.row_index,
               c.operation, c.method, c.url, {_words("c.status", CallStatus)} AS status, c.http_status,
               c.latency_us / 1000.0 AS latency_ms, {_iso("c.started_at")} AS started_at,
               {_hex("c.request_hash")} AS request_hash, c.request_ref,
               {_maybe_hex("c.response_hash")} AS response_hash, c.response_ref,
               c.provider_request_id, c.error_json
        FROM calls c JOIN runs r ON r.run_no = c.run_no
        LEFT JOIN nodes n ON n.run_no = c.run_no AND n.node_no = c.node_no""",
    "v_batches": f"""
        SELECT r.run_id, b.batch_no AS batch, n.name AS step, b.attempt,
               {_batch_fact("requests")} AS requests, {_batch_fact("bytes")} AS bytes,
               {_words(_batch_event("phase"), BatchPhase)} AS status,
               {_batch_fact("file_id")} AS remote_file, {_batch_fact("batch_id")} AS remote_batch,
               (SELECT {_iso("e.at")} FROM batch_events e WHERE e.run_no = b.run_no AND e.batch_no = b.batch_no
                AND e.event = 'created' ORDER BY e.event_no DESC LIMIT 1) AS created_at,
               (SELECT {_iso("e.at")} FROM batch_events e WHERE e.run_no = b.run_no AND e.batch_no = b.batch_no
                AND e.event = 'ended' ORDER BY e.event_no DESC LIMIT 1) AS ended_at,
               {_batch_fact("provider_status")} AS provider_status
        FROM batches b JOIN runs r ON r.run_no = b.run_no
        JOIN nodes n ON n.run_no = b.run_no AND n.node_no = b.node_no""",
}


def view_statements() -> list[str]:
    """SQLite's definition of the views."""
    return [f"CREATE VIEW {name} AS {' '.join(body.split())}" for name, body in VIEWS.items()]
