"""What an insider does to the tables: changes of one value, records taken away, added and exchanged.

Whatever the tables will be, the schema's description leads to them: nothing here knows a table by its name
but the one that has the runs themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tamper.trail import findings_of

from elspeth.app.verification import Verification
from elspeth.core.landscape.columns import Column, Table
from elspeth.core.landscape.schema import TABLES

Record = tuple[Any, ...]


@contextmanager
def insider(database: Path, *, is_lax: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that nothing stops; afterwards the database is defined as it was, word for word.

    The triggers are taken out of the schema's own table and put back. ``is_lax``: meanwhile there is no STRICT
    and no NOT NULL either.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        triggers = connection.execute("SELECT * FROM sqlite_master WHERE type = 'trigger'").fetchall()
        tables = connection.execute("SELECT sql, name FROM sqlite_master WHERE type = 'table'").fetchall()
        with _schema_of(connection):
            connection.execute("DELETE FROM sqlite_master WHERE type = 'trigger'")
            if is_lax:
                lax = [(_without_constraints(sql), name) for sql, name in tables]
                connection.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", lax)
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
        with _schema_of(connection):
            connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", triggers)
            connection.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", tables)


@contextmanager
def _schema_of(connection: sqlite3.Connection) -> Iterator[None]:
    """Within the block the schema's own table can be written to; then SQLite reads it anew."""
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("BEGIN")
    yield
    ((version,),) = connection.execute("PRAGMA schema_version").fetchall()
    connection.execute(f"PRAGMA schema_version={version + 1}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA writable_schema=RESET")


def _without_constraints(sql: str) -> str:
    return sql.replace(" NOT NULL", "").replace(" STRICT, WITHOUT", " WITHOUT").removesuffix(" STRICT")


def records_of(connection: sqlite3.Connection, entry: Table, run_no: int | None = None) -> list[Record]:
    """The records of a table, of one run or of all, by key."""
    names = ", ".join(entry.column_names)
    sql = f"SELECT {names} FROM {entry.name} WHERE ?1 IS NULL OR run_no = ?1 ORDER BY {', '.join(entry.key)}"
    return connection.execute(sql, (run_no,)).fetchall()


@dataclass(frozen=True)
class Change:
    """A change of the value in one column; ``make`` gives new values, of which the first that SQLite takes is taken."""

    name: str
    make: Callable[[Column, Any], Iterator[Any]]
    is_lax: bool = False

    def is_possible(self, entry: Table, column: Column, *, has_value: bool) -> bool:
        """Whether SQLite lets it be made; ``has_value``: some record has a value in the column."""
        match self.name:
            case "another word":
                return column.words is not None and has_value
            case "no value":
                return not column.is_required and has_value
            case "no value where one must be":
                return column.is_required and column.name not in entry.key
            case "another type":
                return has_value and entry.key != (column.name,)
        return True

    def apply(self, connection: sqlite3.Connection, entry: Table, column: Column, record: Record) -> Record | None:
        """The record as it is now, None when there is nothing to change in this way."""
        old = record[entry.columns.index(column)]
        for new in self.make(column, old):
            if new == old and type(new) is type(old):
                continue
            changed = tuple(new if one is column else value for one, value in zip(entry.columns, record, strict=True))
            try:
                _update(connection, entry, record, changed)
            except sqlite3.IntegrityError:
                continue
            return changed
        return None


def _update(connection: sqlite3.Connection, entry: Table, old: Record, new: Record) -> None:
    assignments = ", ".join(f"{name} = ?" for name in entry.column_names)
    where = " AND ".join(f"{name} = ?" for name in entry.key)
    connection.execute(f"UPDATE {entry.name} SET {assignments} WHERE {where}", (*new, *_key(entry, old)))


def _key(entry: Table, record: Record) -> Record:
    return tuple(record[entry.column_names.index(name)] for name in entry.key)


def _another(column: Column, old: Any) -> Iterator[Any]:
    """Another value of the same type, close to the old one, and if that is taken, further away."""
    if old is None:
        yield {"INTEGER": 0, "TEXT": "", "BLOB": b""}[column.kind]
    elif isinstance(old, int):
        yield from (old + 1, old + 1_000)
    elif isinstance(old, str):
        at = len(old) // 2
        yield old[:at] + chr(ord(old[at]) ^ 1) + old[at + 1 :] if old else "x"
    else:
        at = len(old) // 2
        yield old[:at] + bytes([old[at] ^ 1]) + old[at + 1 :] if old else b"\x01"


def _another_word(column: Column, old: Any) -> Iterator[Any]:
    for word in column.words or ():
        if word.value != old and old is not None:
            yield word.value


def _no_value(column: Column, old: Any) -> Iterator[Any]:
    if old is not None and not column.is_required:
        yield None


def _no_value_where_one_must_be(column: Column, old: Any) -> Iterator[Any]:
    if old is not None and column.is_required:
        yield None


def _another_type(_column: Column, old: Any) -> Iterator[Any]:
    if isinstance(old, int):
        yield f"{old}?"
    elif isinstance(old, str):
        yield old.encode()
    elif isinstance(old, bytes):
        yield old.hex()


CHANGES: Sequence[Change] = (
    Change("another value", _another),
    Change("another word", _another_word),
    Change("no value", _no_value),
    Change("no value where one must be", _no_value_where_one_must_be, is_lax=True),
    Change("another type", _another_type, is_lax=True),
)


def change_one(connection: sqlite3.Connection, entry: Table, column: Column, change: Change) -> list[Record]:
    """Changes the column in a record of the first run, one with a value if there is one; old and new, if it did."""
    records = records_of(connection, entry, 1)
    records.sort(key=lambda record: record[entry.columns.index(column)] is None)
    middle = len([r for r in records if r[entry.columns.index(column)] is not None]) // 2
    for record in records[middle:] + records[:middle]:
        changed = change.apply(connection, entry, column, record)
        if changed is not None:
            return [record, changed]
    return []


def delete_one(connection: sqlite3.Connection, entry: Table) -> list[Record]:
    """Takes one record of the first run away, from the middle."""
    records = records_of(connection, entry, 1)
    victim = records[len(records) // 2]
    _delete(connection, entry, victim)
    return [victim]


def insert_one(connection: sqlite3.Connection, entry: Table) -> list[Record]:
    """Adds a copy of a record of the first run under another key; of a run's record under another id, too."""
    records = records_of(connection, entry, 1)
    model = records[len(records) // 2]
    changing = ("run_no", "run_id") if entry.name == "runs" else (entry.key[-1],)
    for steps in (1, 2, 3, 1_000):
        added = tuple(
            _further(column, value, steps) if column.name in changing else value
            for column, value in zip(entry.columns, model, strict=True)
        )
        with suppress(sqlite3.IntegrityError):
            _insert(connection, entry, added)
            return [added]
    return []


def _further(column: Column, value: Any, steps: int) -> Any:
    if column.words is not None:
        words = list(column.words)
        return words[(words.index(value) + steps) % len(words)].value
    if isinstance(value, int):
        return value + steps
    return value + ("x" if isinstance(value, str) else b"\x01") * steps


def swap_two(connection: sqlite3.Connection, entry: Table) -> list[Record]:
    """Exchanges what two records say: of the first run, or of two runs where it has only one."""
    records = records_of(connection, entry, None if entry.name == "runs" else 1)
    one = records[0]
    for other in reversed(records):
        swapped = [_with_values(entry, one, other), _with_values(entry, other, one)]
        if swapped != [one, other]:
            for record in (one, other):
                _delete(connection, entry, record)
            for record in swapped:
                _insert(connection, entry, record)
            return [one, other]
    return []


def _with_values(entry: Table, keyed: Record, valued: Record) -> Record:
    kept = {*entry.key, "run_no", "commit_no"}
    return tuple(a if n in kept else b for n, a, b in zip(entry.column_names, keyed, valued, strict=True))


def _delete(connection: sqlite3.Connection, entry: Table, record: Record) -> None:
    where = " AND ".join(f"{name} = ?" for name in entry.key)
    connection.execute(f"DELETE FROM {entry.name} WHERE {where}", _key(entry, record))


def _insert(connection: sqlite3.Connection, entry: Table, record: Record) -> None:
    connection.execute(f"INSERT INTO {entry.name} VALUES ({', '.join('?' * len(record))})", record)


def places_of(entry: Table, records: Sequence[Record]) -> set[str]:
    """Where a finding about these records may point: to their row, their key, or the commit that wrote them."""
    found = set()
    for record in records:
        values = dict(zip(entry.column_names, record, strict=True))
        if entry.is_of_tokens:
            found.add(f"row {values['row_index']}")
        else:
            key = [values[name] for name in entry.key if name != "run_no" or entry.name == "runs"]
            found.add("/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key))
        if "commit_no" in values:
            found.add(f"commit {values['commit_no']}")
    return found


def is_named(verification: Verification, entry: Table, records: Sequence[Record]) -> bool:
    """Whether a finding tells of the table and points to where one of these records is, or was."""
    places = places_of(entry, records)
    return any(
        entry.name in finding.where.split(" and ")
        and any(place in f"{finding.place}: {finding.message}" for place in places)
        for finding in findings_of(verification)
    )


def drop_run(database: Path, run_no: int) -> None:
    """Takes a whole run out of all tables."""
    with insider(database) as connection:
        for entry in TABLES:
            connection.execute(f"DELETE FROM {entry.name} WHERE run_no = ?", (run_no,))


def drop_commits(database: Path, *, run_no: int, since: int, with_seals: bool = False) -> None:
    """Takes the last commits out, with everything that they wrote, and if asked the seals that tell of them."""
    with insider(database) as connection:
        for entry in TABLES:
            if "commit_no" in entry.column_names:
                connection.execute(f"DELETE FROM {entry.name} WHERE run_no = ? AND commit_no >= ?", (run_no, since))
        if with_seals:
            connection.execute("DELETE FROM seals WHERE run_no = ? AND tree_size > ?", (run_no, since))


def changes_of(connection: sqlite3.Connection, entry: Table) -> list[tuple[Column, Change]]:
    """Every column of a table with every change that can be made to it in the first run."""
    records = records_of(connection, entry, 1)
    return [
        (column, change)
        for place, column in enumerate(entry.columns)
        for change in CHANGES
        if change.is_possible(entry, column, has_value=any(record[place] is not None for record in records))
    ]
