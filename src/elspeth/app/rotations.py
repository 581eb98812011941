"""The statement by which an old signing key names its successor.

It is a signed note whose text no checkpoint can have (its second line is no number):

    elspeth key rotation v1
    <verifier line of the new key>
    <UTC date>

Whoever trusts the old key may trust the new one on its word, and no further: a key that was stolen
can make such a statement too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from elspeth.contracts import NoteError
from elspeth.core.notes import SigningKey, VerifierKey, parse_note, split_notes

__all__ = ["Rotation", "read_rotation", "read_rotations", "state_rotation"]

_HEAD: Final = "elspeth key rotation v1"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


class Rotation(Struct, frozen=True):
    """On ``day`` (UTC, ISO 8601) the old key named the new one."""

    old: VerifierKey
    new: VerifierKey
    day: str


def state_rotation(old: SigningKey, *, new: VerifierKey, day: str) -> str:
    """The note of a rotation; `read_rotations` is its inverse."""
    return old.sign(f"{_HEAD}\n{new.encode()}\n{day}\n")


def read_rotations(text: str, keys: Iterable[VerifierKey]) -> list[Rotation]:
    """The rotations that notes one after the other state, each signed by one of ``keys``.

    Raises `NoteError` for a note that is no such statement, or that nobody of ``keys`` signed.
    """
    known = list(keys)
    rotations = []
    for statement in split_notes(text):
        rotation = read_rotation(statement, known)
        if rotation is None:
            raise NoteError("no known key signed this statement of a rotation")
        rotations.append(rotation)
    return rotations


def read_rotation(statement: str, keys: Iterable[VerifierKey]) -> Rotation | None:
    """The rotation that one note states, None when it bears no signature by one of ``keys``.

    Raises `NoteError` for a note that is no such statement, or whose signature does not fit, and
    `KeyFileError` for a successor that is no key.
    """
    note = parse_note(statement)
    signer = note.signed_by(keys)
    head, *lines = note.text.split("\n")
    if signer is None:
        return None
    if head != _HEAD or len(lines) != 3 or not _DAY.fullmatch(lines[1]):
        raise NoteError("this is not a statement of a rotation")
    return Rotation(signer, VerifierKey.parse(lines[0]), lines[1])
