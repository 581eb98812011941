"""Which keys follow the ones that a verifier brought, by what each said of its successor.

Trust goes one way: from a brought key along statements that it, or one that it led to, has signed.
A statement by any other key leads nowhere, even by one that this machine knows as its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from elspeth.app.rotations import Rotation, read_rotation
from elspeth.contracts import KeyFileError, NoteError
from elspeth.core.landscape.verify import Finding
from elspeth.core.notes import VerifierKey, split_notes

__all__ = ["Statements", "Succession", "follow"]


class Statements(Struct, frozen=True):
    """Statements of rotations, one after the other, and the name of the file that they are from."""

    source: str
    text: str


class Succession(Struct):
    """The keys that follow, each with the words that lead to it, and what is wrong with the statements."""

    chains: dict[VerifierKey, str] = field(default_factory=dict)
    doubts: list[Finding] = field(default_factory=list)


def follow(
    keys: Sequence[VerifierKey], files: Iterable[Statements], *, known: Sequence[VerifierKey] = ()
) -> Succession:
    """Follows the statements in the files from ``keys``, in whatever order they stand.

    ``known`` are trusted with nothing: a statement that names one of them and that it did not sign is a doubt.
    """
    succession = Succession()
    pending = {
        statement: f"{file.source} statement {number}"
        for file in files
        for number, statement in enumerate(split_notes(file.text))
    }
    while True:
        reached = [*keys, *succession.chains]
        left = {}
        for statement, place in pending.items():
            rotation = _read(statement, [*reached, *known], place, succession.doubts)
            if isinstance(rotation, Rotation) and rotation.old in reached:
                _add(rotation, keys, succession.chains)
            elif not isinstance(rotation, Finding):
                left[statement] = place
        if len(left) == len(pending) or not left:
            return succession
        pending = left


def _read(statement: str, keys: Sequence[VerifierKey], place: str, doubts: list[Finding]) -> Rotation | Finding | None:
    try:
        return read_rotation(statement, keys)
    except (NoteError, KeyFileError) as error:
        doubts.append(Finding("rotations", place, error.message))
        return doubts[-1]


def _add(rotation: Rotation, keys: Sequence[VerifierKey], chains: dict[VerifierKey, str]) -> None:
    if rotation.new not in keys and rotation.new not in chains:
        words = f"{rotation.old.name} named {rotation.new.name} its successor on {rotation.day}"
        before = chains.get(rotation.old)
        chains[rotation.new] = f"{before}; {words}" if before else words
