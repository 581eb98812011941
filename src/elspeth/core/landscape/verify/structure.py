"""Whether the database is made as this program makes it, and whether SQLite finds its pages sound."""

from __future__ import annotations

from elspeth.core.landscape.definition import create_statements
from elspeth.core.landscape.reader import LandscapeReader
from elspeth.core.landscape.schema import SCHEMA_VERSION, TABLES
from elspeth.core.landscape.verify.findings import Step
from elspeth.core.landscape.views import view_statements

__all__ = ["check_structure"]

_MOST_PROBLEMS = 5


def check_structure(reader: LandscapeReader, step: Step) -> None:
    """Compares every statement that defines the database, and lets SQLite check its pages and constraints."""
    expected = {_named(statement): statement for statement in create_statements() + view_statements()}
    found = {
        (kind, name): sql
        for kind, name, sql in reader.query("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        if not name.startswith("sqlite_")
    }
    for place, statement in expected.items():
        if place not in found:
            step.find("schema", " ".join(place), "it is missing")
        elif found[place] != statement:
            step.find("schema", " ".join(place), "it was defined anew")
    for place in found.keys() - expected.keys():
        step.find("schema", " ".join(place), "it does not belong here")
    for (problem,) in reader.query(f"PRAGMA integrity_check({_MOST_PROBLEMS})"):
        if problem != "ok":
            step.find("database", reader.database.name, str(problem))
    triggers = sum(kind == "trigger" for kind, _ in expected)
    step.checked = f"schema version {SCHEMA_VERSION}, {len(TABLES)} tables, {triggers} triggers"


def _named(statement: str) -> tuple[str, str]:
    """What a CREATE statement makes: kind and name."""
    words = statement.replace("UNIQUE ", "").split(maxsplit=3)
    return words[1].lower(), words[2]
