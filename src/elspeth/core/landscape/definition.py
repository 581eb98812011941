"""SQLite's definition of the Landscape: the schema's tables, the indexes, the triggers that keep it insert-only."""

from __future__ import annotations

from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.schema import TABLES

__all__ = ["create_statements"]

_INDEXES = (
    "CREATE INDEX frames_by_commit ON frames (run_no, commit_no, segment_no, first_row) WHERE first_row IS NOT NULL",
    "CREATE UNIQUE INDEX runs_by_id ON runs (run_id)",
    "CREATE UNIQUE INDEX runs_by_key ON runs (pipeline, run_key) WHERE run_key IS NOT NULL",
    "CREATE INDEX calls_simulated ON calls (run_no) WHERE is_simulated = 1",
    "CREATE INDEX reuses_simulated ON reuses (run_no) WHERE is_simulated = 1",
    "CREATE INDEX calls_by_batch ON calls (run_no, batch_no, operation)",
    "CREATE INDEX calls_by_request ON calls (request_hash)",
    "CREATE INDEX calls_by_response ON calls (response_hash)",
)


def create_statements() -> list[str]:
    """SQLite's definition of the tables, their triggers and indexes, in order."""
    statements = []
    for entry in TABLES:
        statements.append(_create_table(entry))
        statements.extend(_insert_only_triggers(entry.name))
    statements.extend(_INDEXES)
    return statements


def _create_table(entry: Table) -> str:
    columns = ",\n  ".join(
        f"{c.name} {c.kind}{' NOT NULL' if c.is_required else ''} /* {c.meaning} */" for c in entry.columns
    )
    if entry.name == "runs":
        return f"CREATE TABLE runs (\n  {columns},\n  PRIMARY KEY (run_no)\n) STRICT"
    key = ", ".join(entry.key)
    return f"CREATE TABLE {entry.name} (\n  {columns},\n  PRIMARY KEY ({key})\n) STRICT, WITHOUT ROWID"


def _insert_only_triggers(name: str) -> list[str]:
    return [
        f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
        f"BEGIN SELECT RAISE(ABORT, 'the Landscape is insert-only: {name}'); END"
        for verb in ("UPDATE", "DELETE")
    ]
