"""The tables of the Landscape, described once.

From this one description come the SQLite definition (`definition`), the recorder's statements,
the strict reader's checks and the tables of docs/audit-format.md (a test holds
them equal). It is plain data, so that a run imports no SQL toolkit; a second
database needs a second renderer of the same description (docs/adr/0005).

Every table begins with the run's number and is clustered by its key; there is no
secondary index on anything that is written for every row. Evidence is never
updated or deleted: triggers stop accidents, verification finds the rest.
"""

from __future__ import annotations

from msgspec.structs import replace

from elspeth.contracts.enums import (
    BatchPhase,
    CallStatus,
    CallType,
    FileRole,
    NodeKind,
    Outcome,
    PayloadClass,
    PurgeAction,
    RunStatus,
    StateStatus,
    Word,
)
from elspeth.core.landscape.columns import Column, Table

__all__ = ["EVIDENCE", "SCHEMA_VERSION", "TABLES", "table"]

SCHEMA_VERSION = 5


def _integer(name: str, meaning: str) -> Column:
    return Column(name, "INTEGER", meaning)


def _text(name: str, meaning: str) -> Column:
    return Column(name, "TEXT", meaning)


def _blob(name: str, meaning: str) -> Column:
    return Column(name, "BLOB", meaning)


def _word(name: str, words: type[Word], meaning: str = "") -> Column:
    return Column(name, "INTEGER", words.__name__ + meaning, words=words)


def _maybe(column: Column) -> Column:
    return replace(column, is_required=False)


def _derived(column: Column) -> Column:
    return replace(column, is_derived=True)


_RUN = _integer("run_no", "the run's number in this database")
_COMMIT = _integer("commit_no", "the commit that wrote this record")
_ROW = _integer("row_index", "0-based index of the record in the source, rejected ones counted")
_PATH = _blob("path", "the token's path within its row; empty on a line")
_NODE = _integer("node_no", "the node, by topological position")
_JOURNEY = _integer("journey_no", "the journey, numbered within the commit from 0")
_AT = _integer("at", "when it was recorded")
_BATCH = _integer("batch_no", "the batch, numbered within the run from 1")
_SEGMENT = _integer("segment_no", "the payload segment, numbered within the run from 1")

TABLES: tuple[Table, ...] = (
    Table(
        "runs",
        "One record for each run, written before anything else of it exists.",
        (
            _RUN,
            _text("run_id", "the run's external id: time-ordered, unique"),
            _text("pipeline", "the pipeline's name"),
            _text("mode", "run, or simulated when the answers come from the simulator"),
            _integer("started_at", "when the run was opened"),
            _text("folder", "the pipeline file's folder, to which relative paths belong"),
            _text("config_json", "the whole configuration as resolved, secrets by reference"),
            _blob("config_hash", "SHA-256 of config_json"),
            _text("code_version", "version of elspeth that opened the run"),
            _text("payload_folder", "folder of the run's payload segments"),
            _maybe(_integer("row_limit", "the most rows to read (--limit), if any")),
            _maybe(_integer("sample_rows", "how many rows were drawn at random (--sample), if that was wanted")),
            _maybe(_integer("sample_seed", "the seed: the rows with the smallest SHA-256 of `seed:index` were drawn")),
            _maybe(_integer("sample_of", "how many records the source had when they were drawn")),
            _maybe(_text("run_key", "the key under which at most one run of the pipeline is made (--key), if any")),
            _maybe(_text("reuse_json", "ids of the runs whose answers it takes (--reuse), those that go first first")),
        ),
        ("run_no",),
    ),
    Table(
        "run_events",
        "What happened to a run; its status is the last event's.",
        (
            _RUN,
            _integer("event_no", "0-based"),
            _COMMIT,
            _AT,
            _word("status", RunStatus),
            _text("host", "the machine that wrote it"),
            _integer("pid", "the process that wrote it"),
            _text("code_version", "version of elspeth that wrote it"),
            _maybe(_text("detail_json", "why, as JSON: message, hint, counts")),
        ),
        ("run_no", "event_no"),
    ),
    Table(
        "run_files",
        "The files that the run was configured with, verbatim: the pipeline file, templates, lookups.",
        (
            _RUN,
            _text("name", "the file's absolute path"),
            _COMMIT,
            _blob("hash", "SHA-256 of its bytes"),
            _text("ref", "where its bytes are: segment:start:length"),
        ),
        ("run_no", "name"),
    ),
    Table(
        "nodes",
        "The nodes of the run's graph.",
        (
            _RUN,
            _NODE,
            _COMMIT,
            _text("name", "the step's or sink's name"),
            _word("kind", NodeKind),
            _maybe(_text("plugin", "the plugin's name; none for a gate")),
            _maybe(_text("expression", "a gate's expression")),
            _text("fields_json", "the fields that rows have after this node (a sink: before it), with types"),
            _maybe(_text("price_json", "US dollars for a million tokens, as a batch step's costs are computed with")),
            _maybe(_text("answers_from", "who answers a batch step's requests: service, address, model; no secrets")),
        ),
        ("run_no", "node_no"),
    ),
    Table(
        "edges",
        "Where tokens can go from a node.",
        (
            _RUN,
            _integer("from_no", "the node that is left"),
            _text("label", "next, on_error, on_invalid, or route:LABEL"),
            _COMMIT,
            _maybe(_integer("to_no", "the node that is reached; none: the token is discarded")),
        ),
        ("run_no", "from_no", "label"),
    ),
    Table(
        "rows",
        "One record for each record of the source.",
        (
            _RUN,
            _ROW,
            _COMMIT,
            _integer("line", "1-based line of the source at which it begins"),
            _blob("data_hash", "SHA-256 of the row's bytes; of a rejected record, of its raw bytes"),
        ),
        ("run_no", "row_index"),
        is_of_tokens=True,
    ),
    Table(
        "row_keys",
        "The keys of the rows, where the source names a key field.",
        (
            _RUN,
            _text("key", "the key's value as text"),
            _COMMIT,
            _ROW,
        ),
        ("run_no", "key"),
        is_of_tokens=True,
    ),
    Table(
        "passages",
        "How a token went on without a pause: its journey, and what the journey's steps made of it.",
        (
            _RUN,
            _ROW,
            _PATH,
            _COMMIT,
            _JOURNEY,
            _maybe(_blob("output_hashes", "SHA-256 of the row's bytes after each step that changed them, joined")),
            _maybe(_text("error_json", "code, message and detail of the failure at the last step")),
        ),
        ("run_no", "row_index", "path", "commit_no", "journey_no"),
        is_of_tokens=True,
    ),
    Table(
        "journeys",
        "What passages have in common: a record for each step of the journey. Node 0 speaks of rejected records only.",
        (
            _RUN,
            _COMMIT,
            _JOURNEY,
            _integer("place", "0-based place of the step in the journey"),
            _integer("last_place", "place of the journey's last step, so that nobody can show less than all"),
            _NODE,
            _integer("attempt", "0-based attempt at this node"),
            _word("status", StateStatus),
            _maybe(_text("route", "the label that a gate chose")),
            _maybe(_integer("hash_no", "0-based place of its hash in output_hashes; none: the row was left unchanged")),
            _integer("started_us", "microseconds after the run's opening; that of the micro-batch"),
            _integer("duration_us", "microseconds; the micro-batch's, shared equally"),
        ),
        ("run_no", "commit_no", "journey_no", "place"),
    ),
    Table(
        "outcomes",
        "How a token ended: exactly one record for each.",
        (
            _RUN,
            _ROW,
            _PATH,
            _COMMIT,
            _word("outcome", Outcome),
            _maybe(_integer("step_no", "the node that decided it; none when it simply came to the end")),
            _maybe(_integer("sink_no", "the sink it was written to; none: discarded, still recorded")),
            _maybe(_integer("sink_line", "1-based line of the sink's file at which it begins")),
            _maybe(_text("reason", "the code of a failure")),
        ),
        ("run_no", "row_index", "path"),
        is_of_tokens=True,
    ),
    Table(
        "call_intents",
        "A request that is not safe to repeat, recorded durably before it is sent.",
        (
            _RUN,
            _integer("intent_no", "0-based"),
            _COMMIT,
            _AT,
            _text("operation", "files.create, batches.create, ..."),
            _text("method", "HTTP method"),
            _text("url", "the URL, secrets replaced"),
            _maybe(_NODE),
            _maybe(_BATCH),
            _blob("request_hash", "SHA-256 of the request's payload"),
            _text("request_ref", "where its bytes are"),
            _integer("request_bytes", "size of the payload"),
        ),
        ("run_no", "intent_no"),
    ),
    Table(
        "calls",
        "Every attempt to reach an external system, with what was sent and what came back.",
        (
            _RUN,
            _integer("call_no", "0-based"),
            _COMMIT,
            _maybe(_integer("intent_no", "the intent it belongs to, if it needed one")),
            _maybe(_NODE),
            _maybe(_BATCH),
            _maybe(_ROW),
            _word("call_type", CallType),
            _text("operation", "files.create, files.retrieve, batches.create, ..."),
            _maybe(_text("method", "HTTP method")),
            _maybe(_text("url", "the URL, secrets replaced")),
            _word("status", CallStatus),
            _maybe(_integer("http_status", "HTTP status, when there was an answer")),
            _integer("started_at", "when the request was begun"),
            _integer("latency_us", "microseconds until the answer's last byte or the failure"),
            _blob("request_hash", "SHA-256 of the request's stored payload"),
            _text("request_ref", "where its bytes are"),
            _maybe(_blob("response_hash", "SHA-256 of the stored response body")),
            _maybe(_text("response_ref", "where its bytes are")),
            _blob("envelope_hash", "SHA-256 of the envelope"),
            _text("envelope_ref", "where the envelope is: headers, parts, wire hashes, redactions"),
            _maybe(_text("provider_request_id", "the provider's own id of the request")),
            _integer("is_simulated", "1 when the answer says that it comes from a simulator"),
            _maybe(_text("error_json", "what went wrong, as JSON")),
        ),
        ("run_no", "call_no"),
    ),
    Table(
        "batches",
        "A batch of requests of one step; a retry batch names the batch whose rows it repeats.",
        (
            _RUN,
            _BATCH,
            _COMMIT,
            _NODE,
            _integer("attempt", "0-based attempt at its rows"),
            _maybe(_integer("parent_no", "the batch whose unanswered rows it carries")),
            _integer("opened_at", "when it was opened"),
        ),
        ("run_no", "batch_no"),
    ),
    Table(
        "batch_events",
        "What happened to a batch, in order; its phase is that of the last event.",
        (
            _RUN,
            _BATCH,
            _integer("event_no", "0-based within the batch"),
            _COMMIT,
            _AT,
            _text("event", "sealed, uploaded, ready, created, polled, ended, harvested, ..."),
            _word("phase", BatchPhase, " after the event"),
            _text("detail_json", "the facts, as JSON"),
        ),
        ("run_no", "batch_no", "event_no"),
    ),
    Table(
        "batch_members",
        "Where a row's line stands in a batch's request file and in its answer file.",
        (
            _RUN,
            _ROW,
            _PATH,
            _BATCH,
            _word("role", FileRole, ": request, output or error file"),
            _COMMIT,
            _SEGMENT,
            _integer("position", "0-based line number in the file"),
            _integer("start", "byte offset of the line in the file"),
            _integer("length", "bytes of the line, newline included"),
            _blob("line_hash", "SHA-256 of the line's bytes"),
        ),
        ("run_no", "row_index", "path", "batch_no", "role"),
        is_of_tokens=True,
    ),
    Table(
        "reuses",
        "A row that took an answer which had been paid for already, instead of asking; the lines are kept here, too.",
        (
            _RUN,
            _ROW,
            _PATH,
            _NODE,
            _COMMIT,
            _text("from_run", "the id of the run that asked; its own id: an earlier row of this run did"),
            _integer("from_row", "the row of that run"),
            _integer("from_batch", "the batch of that run"),
            _integer("from_attempt", "0-based attempt of that row"),
            _blob("request_hash", "SHA-256 of the request line that was answered, as it was sent"),
            _text("request_ref", "where this run keeps its bytes"),
            _word("role", FileRole, ": the file that the answer came in"),
            _blob("reply_hash", "SHA-256 of the answer's line"),
            _text("reply_ref", "where this run keeps its bytes"),
            _maybe(_integer("input_tokens", "tokens in, as the answer counts them")),
            _maybe(_integer("output_tokens", "tokens out, as the answer counts them")),
            _integer("is_simulated", "1 when the answer comes from a simulator"),
        ),
        ("run_no", "row_index", "path", "node_no"),
        is_of_tokens=True,
    ),
    Table(
        "segments",
        "The files of payloads. Each is a sequence of zstd frames; zstdcat gives back the bytes.",
        (
            _RUN,
            _SEGMENT,
            _COMMIT,
            _word("class", PayloadClass, ": rows, calls or files"),
            _text("name", "file name within the run's payload folder"),
            _maybe(_BATCH),
            _maybe(_word("role", FileRole, ", when it is a file of a batch")),
        ),
        ("run_no", "segment_no"),
    ),
    Table(
        "frames",
        "The frames of a segment: where a stretch of its bytes is stored.",
        (
            _RUN,
            _SEGMENT,
            _integer("start", "offset of the frame's first byte in the segment's content"),
            _COMMIT,
            _integer("size", "bytes of content"),
            _integer("stored_start", "offset in the stored file"),
            _integer("stored_size", "bytes stored"),
            _maybe(_integer("first_row", "lowest row index whose bytes are in it")),
            _maybe(_integer("last_row", "highest row index whose bytes are in it")),
        ),
        ("run_no", "segment_no", "start"),
    ),
    Table(
        "extents",
        "What a commit appended to a file.",
        (
            _RUN,
            _COMMIT,
            _integer("kind", "1 a segment, 2 a sink's part file"),
            _integer("file_no", "the segment's or the sink's number"),
            _integer("start", "offset of the first appended byte in the stored file"),
            _integer("length", "bytes appended"),
            _blob("hash", "SHA-256 of the appended bytes as stored"),
        ),
        ("run_no", "commit_no", "kind", "file_no"),
    ),
    Table(
        "artifacts",
        "The finished outputs.",
        (
            _RUN,
            _NODE,
            _COMMIT,
            _text("path", "where the file was put"),
            _integer("size", "bytes"),
            _blob("hash", "SHA-256 of the file"),
            _integer("records", "rows written"),
        ),
        ("run_no", "node_no"),
    ),
    Table(
        "purges",
        "What was decided and done about keeping a run's payloads: holds, releases, purges.",
        (
            _RUN,
            _integer("event_no", "0-based"),
            _COMMIT,
            _AT,
            _word("action", PurgeAction),
            _maybe(_word("class", PayloadClass, ", of a purge")),
            _text("who", "the user and the machine"),
            _text("why", "the reason that was given"),
            _maybe(_text("detail_json", "of a purge: how many files and bytes")),
        ),
        ("run_no", "event_no"),
    ),
    Table(
        "commits",
        "The checkpoints: everything that a commit wrote became durable at once.",
        (
            _RUN,
            _COMMIT,
            _AT,
            _text("frontier_json", "where the run stands: source position, watermark, sinks, open batches, outcomes"),
            _derived(_integer("leaf_count", "leaves of the commit's tree: one a token, one for each other record")),
            _derived(_blob("root", "RFC 6962 root over the leaves")),
            _derived(_blob("nonce", "32 random bytes from which the blinding of the leaves is stretched")),
            _derived(
                _blob("peaks", "roots of the full subtrees over the commits before it: a resume goes on from them")
            ),
            _derived(_blob("leaf_hints", "the first 4 bytes of each leaf's hash: they lead to a wrong one")),
            _derived(_text("table_checks_json", "CRC-32 over each table's lines: they lead to a wrong one")),
        ),
        ("run_no", "commit_no"),
    ),
    Table(
        "seals",
        "Signed checkpoints of a run's tree; the same notes stand in a file outside the database.",
        (
            _RUN,
            _integer("seal_no", "0-based"),
            _AT,
            _text("reason", "opened, minute, suspended, completed, purge, held, ..."),
            _integer("tree_size", "how many commits it covers"),
            _blob("root", "RFC 6962 root over the leaves of these commits"),
            _text("note", "the signed note: a C2SP checkpoint"),
        ),
        ("run_no", "seal_no"),
        is_signed=True,
    ),
)

EVIDENCE: tuple[str, ...] = tuple(entry.name for entry in TABLES)

_BY_NAME = {entry.name: entry for entry in TABLES}


def table(name: str) -> Table:
    """The table of that name."""
    return _BY_NAME[name]
