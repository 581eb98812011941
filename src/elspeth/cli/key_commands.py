"""The commands ``keys show``, ``keys rotate`` and ``keys rotations``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elspeth.cli.output import note, print_json, print_text

if TYPE_CHECKING:
    from elspeth.app.keys import KeyPlace, KnownKey

__all__ = ["register"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    keys = typer.Typer(help="The key that signs seals here, and the keys before it.", no_args_is_help=True)
    keys.command("show")(show)
    keys.command("rotate")(rotate)
    keys.command("rotations")(rotations)
    app.add_typer(keys, name="keys")


def show(
    all_keys: Annotated[bool, typer.Option("--all", help="Every key ever used here, the oldest first.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the verifier line that others need to check this machine's seals.

    Hand it to whoever will check a run, before the run and by another way than the trail.
    The first call makes the key when there is none.
    """
    from elspeth.app.keys import KeyPlace, signing_key

    place = KeyPlace.of(os.environ)
    is_new = place.current() is None
    current = signing_key(os.environ).verifier
    known = [key for key in place.known() if all_keys or key.verifier == current]
    if is_new:
        note(f"made the first signing key: {place.key_file}")
    if json:
        entries = [{**_entry(key), "is_current": key.verifier == current} for key in known]
        print_json({"schema_version": 1, "path": str(place.key_file), "keys": entries})
    else:
        for key in known:
            print_text(key.verifier.encode())
            note(f"{_since(key)}{f'  {place.key_file}' if key.verifier == current else ''}")
    _warn_of_half_a_rotation(place)


def rotate(
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only what would be done is said.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a new signing key; the old one names it as its successor and is removed.

    Seals that the old key signed stay valid: its verifier line stays among the known keys.
    """
    from elspeth.app import keys

    place = keys.KeyPlace.of(os.environ)
    if not yes:
        _say_what_rotate_does(place, json)
        return
    rotation = keys.rotate(os.environ)
    if json:
        old, new = ({"name": key.name, "verifier": key.encode()} for key in (rotation.old, rotation.new))
        files = {"path": str(place.key_file), "rotations": str(place.rotations_file)}
        print_json({"schema_version": 1, "rotated": True, "day": rotation.day, "old": old, "new": new, **files})
        return
    print_text(rotation.new.encode())
    note(f"{rotation.old.name} is removed; its verifier line stays in {place.known_file}")
    note(f"{rotation.old.name} names {rotation.new.name} as its successor in {place.rotations_file}")
    note("Give the new verifier line, and that statement, to whoever checks your runs.")


def rotations(json: JsonOption = False) -> None:
    """Print what each old key said of its successor, for whoever has an old verifier line.

    elspeth verify takes it with --rotations.
    """
    from elspeth.app.key_files import read_public
    from elspeth.app.keys import KeyPlace
    from elspeth.core.notes import split_notes

    place = KeyPlace.of(os.environ)
    found = place.rotations()
    statements = split_notes(read_public(place.rotations_file))
    if json:
        entries = [
            {"day": one.day, "old": one.old.encode(), "new": one.new.encode(), "statement": statement}
            for one, statement in zip(found, statements, strict=True)
        ]
        print_json({"schema_version": 1, "path": str(place.rotations_file), "rotations": entries})
        return
    if statements:
        print_text("".join(statements).removesuffix("\n"))
    else:
        note(f"no key was rotated here: {place.rotations_file} does not exist or is empty")


def _say_what_rotate_does(place: KeyPlace, json: bool) -> None:
    verifier = place.to_rotate().verifier
    if json:
        old = {"name": verifier.name, "verifier": verifier.encode()}
        print_json({"schema_version": 1, "rotated": False, "old": old, "path": str(place.key_file)})
        return
    print_text(
        f"would make a new signing key in {place.key_file}\n"
        f"would let {verifier.name} name it as its successor in {place.rotations_file}\n"
        f"would remove the private half of {verifier.name} for good; its verifier line stays in {place.known_file}"
    )
    note("nothing was changed; elspeth keys rotate --yes does it")
    _warn_of_half_a_rotation(place)


def _warn_of_half_a_rotation(place: KeyPlace) -> None:
    if place.next_file.exists():
        note(f"a rotation was begun and did not end ({place.next_file}); elspeth keys rotate --yes ends it")


def _entry(key: KnownKey) -> dict[str, Any]:
    verifier = key.verifier
    return {"name": verifier.name, "key_id": verifier.key_id.hex(), "verifier": verifier.encode(), "since": key.since}


def _since(key: KnownKey) -> str:
    return f"since {key.since}" if key.since else "since an unknown day"
