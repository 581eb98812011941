"""Writes the tables and numbers of docs/audit-format.md from the code that defines them.

    python docs/generate_audit_format.py

What stands between the two marks is made here; the rest of the page is written by
hand. A test holds the page and the schema equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elspeth.contracts import (
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
from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.schema import SCHEMA_VERSION, TABLES

PAGE = Path(__file__).with_name("audit-format.md")
BEGIN = "<!-- tables: made by docs/generate_audit_format.py -->"
END = "<!-- end of tables -->"

_WORDS: tuple[type[Word], ...] = (
    RunStatus,
    NodeKind,
    StateStatus,
    Outcome,
    CallType,
    CallStatus,
    PayloadClass,
    PurgeAction,
    FileRole,
    BatchPhase,
)


def render() -> str:
    """The generated part of the page, marks included."""
    return "\n".join([BEGIN, "", f"Schema version {SCHEMA_VERSION}.", "", *_tables(), *_numbers(), END])


def with_tables(page: str) -> str:
    """The page with its generated part made anew."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} has no marks between which the tables belong")
    return before + render() + after


def _tables() -> Iterator[str]:
    for table in TABLES:
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"### `{table.name}`"
    yield ""
    yield f"{table.meaning} Key: {', '.join(f'`{name}`' for name in table.key)}."
    yield ""
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for column in table.columns:
        kind = column.kind.lower() + ("" if column.is_required else ", may be null")
        yield f"| `{column.name}` | {kind} | {column.meaning} |"
    yield ""


def _numbers() -> Iterator[str]:
    yield "### The numbers of words"
    yield ""
    yield "The tables hold the number, the views show the word. A number is never used again for another word."
    yield ""
    yield "| vocabulary | numbers and words |"
    yield "|---|---|"
    for words in _WORDS:
        yield f"| {words.__name__} | {', '.join(f'{word.value} {word.word}' for word in words)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
