"""What a table and a column of the Landscape are; `schema` says which there are."""

from __future__ import annotations

from msgspec import Struct

from elspeth.contracts.enums import Word

__all__ = ["Column", "Table"]

_PLACE = frozenset({"run_no", "commit_no"})


class Column(Struct, frozen=True):
    """A column: ``kind`` is INTEGER, TEXT or BLOB; times are microseconds since the epoch, UTC.

    ``words`` is the closed vocabulary whose numbers it holds, if it holds such numbers. ``is_derived``: computed
    from the records of the commit, and so no part of what is hashed for it.
    """

    name: str
    kind: str
    meaning: str
    is_required: bool = True
    words: type[Word] | None = None
    is_derived: bool = False

    @property
    def is_json(self) -> bool:
        """Whether its text is one line of JSON."""
        return self.name.endswith("_json")


class Table(Struct, frozen=True):
    """A table, its columns in the order in which they are hashed, and its key.

    ``is_of_tokens``: its records are about one token, and are hashed together with whatever else the commit says
    of that token. ``is_signed``: its records carry a signature instead of being in a tree.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    is_of_tokens: bool = False
    is_signed: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def hashed_columns(self) -> tuple[Column, ...]:
        """The columns that make a record's line in its leaf.

        The number of the run in this database and of the commit are left out: the run's id and the commit's
        number stand in the leaf of the run's tree. The record of a run itself says which number it has.
        """
        left_out = _PLACE if len(self.key) > 1 else frozenset()
        return tuple(column for column in self.columns if column.name not in left_out and not column.is_derived)
