"""The leaves of a run, made again from its tables.

Tokens come first, in their order, each with a leaf for every commit that speaks of it; then the
records that stand for themselves, table by table. Within each commit that is the order of its
tree, so one pass over the tables gives every commit its leaves, and nothing is held in memory.

It goes on over whatever somebody wrote into the tables: a value that its column cannot hold makes
a leaf that no commit has, a commit's number that is no number is that of no commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from types import NoneType
from typing import Any

from elspeth.core.landscape.columns import Table
from elspeth.core.landscape.leaves import line_encoder
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.schema import TABLES

__all__ = ["Leaf", "leaves"]

Token = tuple[int, bytes]
"""Row index and path."""

_NO_COMMIT = -1
_SORTED_BY_SQLITE: tuple[type, ...] = (NoneType, int, float, str, bytes)


class Leaf:
    """One leaf: of which commit, at which place in its tree, with which lines of which tables.

    ``key`` is the token (row, path), or the key of a record that stands for itself. Made for every row, so slotted
    but not frozen.
    """

    __slots__ = ("commit_no", "is_token", "key", "lines", "place")

    def __init__(
        self, commit_no: int, place: int, key: tuple[Any, ...], lines: list[tuple[str, str]], *, is_token: bool
    ) -> None:
        self.commit_no = commit_no
        self.is_token = is_token
        self.place = place
        self.key = key
        self.lines = lines

    @property
    def text(self) -> str:
        """What is hashed, after the blinding."""
        return "".join([line for _, line in self.lines])

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that speak in it, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.lines))

    @property
    def label(self) -> str:
        """Where it stands: the row and its path, or the key of a record."""
        shown = "/".join([part.hex() if isinstance(part, bytes) else str(part) for part in self.key if part != b""])
        return f"row {shown}" if self.is_token else shown


def leaves(reader: LandscapeReader, run: RunHeader) -> Iterator[Leaf]:
    """Every leaf of a run."""
    places: dict[int, int] = defaultdict(int)
    for token, by_commit in _tokens(reader, run):
        for commit_no, lines in sorted(by_commit.items()):
            yield Leaf(commit_no, places[commit_no], token, lines, is_token=True)
            places[commit_no] += 1
    for entry in TABLES:
        if entry.is_of_tokens or entry.is_signed:
            continue
        for key, commit_no, line in _others(reader, run, entry):
            yield Leaf(commit_no, places[commit_no], key, [(entry.name, line)], is_token=False)
            places[commit_no] += 1


def _tokens(reader: LandscapeReader, run: RunHeader) -> Iterator[tuple[Token, dict[int, list[tuple[str, str]]]]]:
    """What the tables of tokens say of each token, by commit."""
    streams = [_by_token(reader, run, entry) for entry in TABLES if entry.is_of_tokens]
    heads = [next(stream, None) for stream in streams]
    while waiting := [head[0] for head in heads if head is not None]:
        token = _first(waiting)
        by_commit: dict[int, list[tuple[str, str]]] = {}
        for place, head in enumerate(heads):
            if head is not None and head[0] == token:
                for commit_no, name, line in head[1]:
                    by_commit.setdefault(commit_no, []).append((name, line))
                heads[place] = next(streams[place], None)
        yield token, by_commit


def _first(tokens: Sequence[Token]) -> Token:
    """The first one, also where somebody wrote rows and paths that are none: in the order in which SQLite sorts."""
    try:
        return min(tokens)
    except TypeError:
        return min(tokens, key=lambda token: [(_SORTED_BY_SQLITE.index(type(part)), part) for part in token])


def _number(commit_no: object) -> int:
    return commit_no if type(commit_no) is int else _NO_COMMIT


def _by_token(
    reader: LandscapeReader, run: RunHeader, entry: Table
) -> Iterator[tuple[Token, list[tuple[int, str, str]]]]:
    """Commit, table and line of the records of one table, by token."""
    names = entry.column_names
    has_path = "path" in names
    order = ", ".join(["row_index", *(["path"] if has_path else []), *entry.key])
    name, encode = entry.name, line_encoder(entry, is_lenient=True)
    commit_at, row_at = names.index("commit_no"), names.index("row_index")
    token_of: Callable[[Sequence[Any]], Any] = (
        itemgetter(row_at, names.index("path")) if has_path else lambda record: (record[row_at], b"")
    )
    records = reader.stream(f"SELECT {', '.join(names)} FROM {name} WHERE run_no = ? ORDER BY {order}", run.run_no)
    for token, group in groupby(records, token_of):
        yield token, [(_number(record[commit_at]), name, encode(record)) for record in group]


def _others(reader: LandscapeReader, run: RunHeader, entry: Table) -> Iterator[tuple[tuple[Any, ...], int, str]]:
    """Key, commit and line of the records of a table; the run's own record belongs to its first commit."""
    names = entry.column_names
    encode = line_encoder(entry, is_lenient=True)
    commit_at = names.index("commit_no") if "commit_no" in names else None
    key_of = [names.index(column) for column in entry.key if column != "run_no" or len(entry.key) == 1]
    for record in reader.stream(
        f"SELECT {', '.join(names)} FROM {entry.name} WHERE run_no = ? ORDER BY {', '.join(entry.key)}", run.run_no
    ):
        commit_no = 0 if commit_at is None else _number(record[commit_at])
        yield tuple(record[at] for at in key_of), commit_no, encode(record)
