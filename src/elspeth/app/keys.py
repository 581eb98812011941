"""Where the signing key lives, which keys were used here before, and how one follows another.

The folder is ``$XDG_CONFIG_HOME/elspeth``, else ``~/.config/elspeth``; or that of the file which
``ELSPETH_SIGNING_KEY`` names. It is never a state folder: who copies a trail must not get the key
with it. In it are

    signing_key         the key that signs seals now; mode 0600
    known_keys          the verifier line of every key that was ever used here, under a "# since" line
    rotations           what each old key said of its successor (`elspeth.app.rotations`)
    signing_key.next    the successor, while a rotation is under way

No key signs before it is in ``known_keys``, and the old key is taken away last, so a process that
dies on its way leaves something that the next call completes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from elspeth.app.key_files import (
    PRIVATE,
    PUBLIC,
    make_folder,
    move,
    one_writer,
    read_private,
    read_public,
    write_whole,
)
from elspeth.app.rotations import Rotation, read_rotations, state_rotation
from elspeth.app.state import STATE_FOLDER
from elspeth.contracts import KeyFileError
from elspeth.core.clock import SystemClock
from elspeth.core.notes import SigningKey, VerifierKey

__all__ = ["KeyPlace", "KnownKey", "known_keys", "rotate", "signing_key"]

VARIABLE: Final = "ELSPETH_SIGNING_KEY"
_SINCE: Final = re.compile(r"# since (\d{4}-\d\d-\d\d)")


class KnownKey(Struct, frozen=True):
    """A key and the day (UTC, ISO 8601) on which it was first used here; None when the file does not say."""

    verifier: VerifierKey
    since: str | None


class KeyPlace(Struct, frozen=True):
    """The files beside one signing key; none of them need exist."""

    key_file: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> KeyPlace:
        """The place that the environment means; raises `KeyFileError` when that is inside a state folder."""
        named = environ.get(VARIABLE)
        path = Path(named) if named else _configuration(environ) / "signing_key"
        if STATE_FOLDER in path.parts or STATE_FOLDER in path.resolve().parts:
            raise KeyFileError(
                f"the signing key {path} would lie in a state folder, beside the trail that it seals",
                hint=f"Whoever copies the trail would have the key. Name a file elsewhere with {VARIABLE}.",
            )
        if named and not (path.is_absolute() and path.parent.is_dir()):
            raise KeyFileError(
                f"{VARIABLE} is {named}, which is not an absolute path into a folder that exists",
                hint="Make the folder, or correct the path.",
            )
        return cls(path)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.key_file.parent

    @property
    def known_file(self) -> Path:
        """The verifier lines of all keys ever used here."""
        return self.folder / "known_keys"

    @property
    def rotations_file(self) -> Path:
        """What old keys said of their successors."""
        return self.folder / "rotations"

    @property
    def next_file(self) -> Path:
        """The successor, from the moment it is made until it is in force."""
        return self.key_file.with_name(f"{self.key_file.name}.next")

    def current(self) -> SigningKey | None:
        """The key in force, None when there is none yet."""
        return _read_key(self.key_file)

    def to_rotate(self) -> SigningKey:
        """The key in force; raises `KeyFileError` when there is none yet."""
        key = self.current()
        if key is None:
            raise KeyFileError(
                f"there is no signing key to rotate: {self.key_file} does not exist",
                hint="elspeth keys show makes the first one.",
            )
        return key

    def known(self) -> list[KnownKey]:
        """Every key that was ever used here, the oldest first; raises `KeyFileError` for a line that is none."""
        found = []
        since = None
        for number, line in enumerate(read_public(self.known_file).split("\n"), start=1):
            if dated := _SINCE.fullmatch(line):
                since = dated.group(1)
            elif line and not line.startswith("#"):
                try:
                    found.append(KnownKey(VerifierKey.parse(line), since))
                    since = None
                except KeyFileError as error:
                    raise KeyFileError(f"{self.known_file}:{number}: {error.message}", hint=error.hint) from None
        return found

    def rotations(self) -> list[Rotation]:
        """Every rotation, the oldest first, each checked against the keys known here."""
        return read_rotations(read_public(self.rotations_file), (known.verifier for known in self.known()))


def signing_key(environ: Mapping[str, str]) -> SigningKey:
    """The key that signs here; makes one when there is none. Two processes at once get the same."""
    place = KeyPlace.of(environ)
    key = place.current()
    if key is not None and _is_known(place, key.verifier):
        return key
    if key is None:
        make_folder(place.folder)
    with one_writer(place.folder):
        key = place.current()
        if key is None:
            key = SigningKey.generate()
            _write_key(place.key_file, key)
        _make_known(place, key.verifier)
    return key


def known_keys(environ: Mapping[str, str]) -> list[VerifierKey]:
    """Every key that was ever used here, the oldest first."""
    return [known.verifier for known in KeyPlace.of(environ).known()]


def rotate(environ: Mapping[str, str]) -> Rotation:
    """Puts a new key in the place of the old one, which is removed after it has named its successor.

    1. The new key is kept beside the old one; if there is one from a rotation that did not end, that is it.
    2. The old key's statement is kept.
    3. The new key becomes a known one.
    4. The new key takes the place of the old one.

    Raises `KeyFileError` when there is no key yet.
    """
    place = KeyPlace.of(environ)
    place.to_rotate()
    old = signing_key(environ)
    with one_writer(place.folder):
        if place.current() != old:
            raise KeyFileError("another process rotated the key just now", hint="Look at it: elspeth keys show")
        new = _read_key(place.next_file)
        if new is None:
            new = SigningKey.generate()
            _write_key(place.next_file, new)
        rotation = _stated(place, old, new.verifier)
        _make_known(place, new.verifier)
        move(place.next_file, place.key_file)
    return rotation


def _configuration(environ: Mapping[str, str]) -> Path:
    """The user's folder for this program; a relative XDG_CONFIG_HOME counts as none, as its specification says."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "elspeth"


def _read_key(path: Path) -> SigningKey | None:
    text = read_private(path)
    if text is None:
        return None
    try:
        return SigningKey.parse(text.removesuffix("\n"))
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error.message}", hint=error.hint) from None


def _write_key(path: Path, key: SigningKey) -> None:
    write_whole(path, f"{key.encode()}\n", mode=PRIVATE)


def _is_known(place: KeyPlace, key: VerifierKey) -> bool:
    return any(known.verifier == key for known in place.known())


def _make_known(place: KeyPlace, key: VerifierKey) -> None:
    if not _is_known(place, key):
        text = read_public(place.known_file)
        text += "" if text.endswith("\n") or not text else "\n"
        write_whole(place.known_file, f"{text}# since {_today()}\n{key.encode()}\n", mode=PUBLIC)


def _stated(place: KeyPlace, old: SigningKey, new: VerifierKey) -> Rotation:
    """The rotation from one key to the other, stated now unless it was before."""
    for rotation in place.rotations():
        if (rotation.old, rotation.new) == (old.verifier, new):
            return rotation
    rotation = Rotation(old.verifier, new, _today())
    statement = state_rotation(old, new=new, day=rotation.day)
    write_whole(place.rotations_file, read_public(place.rotations_file) + statement, mode=PUBLIC)
    return rotation


def _today() -> str:
    return datetime.fromtimestamp(SystemClock().now_us() / 1_000_000, UTC).date().isoformat()
