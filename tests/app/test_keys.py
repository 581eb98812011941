"""Where the signing key lives, and that none is lost, shared or shown, whenever a process dies.

The files themselves are key_files.py.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elspeth.app.keys import KeyPlace, known_keys, rotate, signing_key
from elspeth.app.rotations import Rotation, state_rotation
from elspeth.contracts import KeyFileError, NoteError
from elspeth.core.notes import SigningKey, VerifierKey

SCENE = Path(__file__).with_name("key_scene.py")
Environ = dict[str, str]


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def seed_is_in(folder: Path, key: SigningKey) -> bool:
    line = key.encode().encode()
    return any(line in path.read_bytes() for path in folder.rglob("*") if path.is_file())


# Where it is


def test_the_key_is_in_the_users_configuration(tmp_path: Path) -> None:
    assert tmp_path / "c/elspeth/signing_key" == KeyPlace.of({"XDG_CONFIG_HOME": f"{tmp_path}/c"}).key_file
    for unset in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        place = KeyPlace.of({"HOME": str(tmp_path), **unset})
        assert tmp_path / ".config/elspeth/signing_key" == place.key_file
    assert Path.home() / ".config/elspeth/signing_key" == KeyPlace.of({}).key_file


def test_the_environment_may_name_a_file_elsewhere(tmp_path: Path) -> None:
    environ = {"ELSPETH_SIGNING_KEY": str(tmp_path / "mine"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    key = signing_key(environ)

    assert f"{key.encode()}\n" == (tmp_path / "mine").read_text()
    assert [key.verifier] == known_keys(environ)
    assert {"mine", "known_keys", "lock"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("named", ["missing/key", "no-folder/key"])
def test_a_mistyped_path_makes_no_second_key(tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "missing").mkdir()
    monkeypatch.chdir(tmp_path)
    path = named if named.startswith("missing") else str(tmp_path / named)

    with pytest.raises(KeyFileError, match="not an absolute path into a folder that exists"):
        signing_key({"ELSPETH_SIGNING_KEY": path})
    assert [] == list((tmp_path / "missing").iterdir())


def test_the_key_is_never_beside_the_trail(tmp_path: Path) -> None:
    state = tmp_path / ".elspeth"
    (state / "keys").mkdir(parents=True)
    (tmp_path / "innocent").symlink_to(state)
    (tmp_path / "link").symlink_to(state / "key")

    for environ in (
        {"ELSPETH_SIGNING_KEY": str(state / "key")},
        {"ELSPETH_SIGNING_KEY": str(state / "keys" / "key")},
        {"ELSPETH_SIGNING_KEY": str(tmp_path / "innocent" / "key")},
        {"ELSPETH_SIGNING_KEY": str(tmp_path / "link")},
        {"XDG_CONFIG_HOME": str(state)},
    ):
        with pytest.raises(KeyFileError, match="would lie in a state folder") as refused:
            signing_key(environ)
        assert refused.value.hint
    assert ["keys"] == [path.name for path in state.iterdir()]


# Making it


def test_the_first_call_makes_a_key_and_the_next_ones_find_it(environ: Environ) -> None:
    assert [] == known_keys(environ)
    key = signing_key(environ)

    assert key == signing_key(environ)
    assert [key.verifier] == known_keys(environ)
    assert f"# since {today()}\n{key.verifier.encode()}\n" == KeyPlace.of(environ).known_file.read_text()


@pytest.mark.usefixtures("generous_umask")
def test_nobody_else_can_read_the_key(environ: Environ) -> None:
    signing_key(environ)
    place = KeyPlace.of(environ)

    assert (0o700, 0o600) == (mode(place.folder), mode(place.key_file))
    rotate(environ)
    assert 0o600 == mode(place.key_file)


@pytest.mark.parametrize("others", [0o640, 0o604, 0o620, 0o602, 0o660])
def test_a_key_that_others_can_read_or_write_is_refused(environ: Environ, others: int) -> None:
    signing_key(environ)
    place = KeyPlace.of(environ)
    place.key_file.chmod(others)

    for use in (signing_key, rotate):
        with pytest.raises(KeyFileError, match=f"by others \\(mode {others:04o}\\)") as refused:
            use(environ)
        assert f"chmod 600 {place.key_file}" in (refused.value.hint or "")
    place.key_file.chmod(0o400)
    assert [signing_key(environ).verifier] == known_keys(environ)


@pytest.mark.parametrize("content", ["", "nonsense\n", "\0" * 20_000, "KEY\n\n", "\udcff\n"])
def test_a_file_that_is_no_key_is_named_and_kept(environ: Environ, content: str) -> None:
    signing_key(environ)
    place = KeyPlace.of(environ)
    data = content.encode(errors="surrogateescape")
    place.key_file.write_bytes(data)

    for use in (signing_key, rotate):
        with pytest.raises(KeyFileError, match=f"{place.key_file}: this is not a"):
            use(environ)
    assert data == place.key_file.read_bytes()


def test_a_damaged_key_is_not_shown(environ: Environ) -> None:
    line = signing_key(environ).encode()
    KeyPlace.of(environ).key_file.write_text(f"{line[:-8]}AAAAAAA=\n")

    with pytest.raises(KeyFileError) as refused:
        signing_key(environ)
    assert line[-40:-8] not in f"{refused.value!r}{refused.value.message}{refused.value.hint}"


def test_what_stands_in_the_way_is_told(environ: Environ, tmp_path: Path) -> None:
    place = KeyPlace.of(environ)
    place.key_file.mkdir(parents=True)
    with pytest.raises(KeyFileError, match="is not a file"):
        signing_key(environ)
    place.key_file.rmdir()
    os.mkfifo(place.key_file, 0o600)
    with pytest.raises(KeyFileError, match="is not a file"):
        signing_key(environ)
    (tmp_path / "file").touch()
    for config in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(KeyFileError, match="cannot be"):
            signing_key({"XDG_CONFIG_HOME": str(config)})


def test_a_key_that_was_put_there_by_hand_becomes_known_before_it_signs(environ: Environ) -> None:
    key = SigningKey.generate("ministry.example/claims")
    place = KeyPlace.of(environ)
    place.folder.mkdir(parents=True)
    place.key_file.write_text(f"{key.encode()}\n")
    place.key_file.chmod(0o600)

    assert key == signing_key(environ)
    assert [key.verifier] == known_keys(environ)


def test_a_known_key_needs_no_folder_that_can_be_written(environ: Environ) -> None:
    """A key that is mounted for reading only: nothing beside it is made, not even a lock."""
    key = signing_key(environ)
    place = KeyPlace.of(environ)
    (place.folder / "lock").unlink()

    assert key == signing_key(environ)
    assert {"signing_key", "known_keys"} == {path.name for path in place.folder.iterdir()}


def test_a_key_that_cannot_become_known_does_not_sign(environ: Environ) -> None:
    """As one that is mounted for reading only, without its known_keys; the hint says what is missing."""
    key = signing_key(environ)
    place = KeyPlace.of(environ)
    place.known_file.unlink()
    (place.folder / "lock").unlink()
    (place.folder / "lock").mkdir()

    with pytest.raises(KeyFileError, match="lock cannot be locked") as refused:
        signing_key(environ)
    assert "put known_keys, with the verifier line, beside the key" in (refused.value.hint or "")
    place.known_file.write_text(f"{key.verifier.encode()}\n")
    assert key == signing_key(environ)


def test_known_keys_may_be_edited_by_people(environ: Environ) -> None:
    key, other = signing_key(environ), SigningKey.generate("other").verifier
    file = KeyPlace.of(environ).known_file
    file.write_text(f"# ours\n\n{file.read_text()}\n{other.encode()}")
    assert [(key.verifier, today()), (other, None)] == [
        (known.verifier, known.since) for known in KeyPlace.of(environ).known()
    ]

    file.write_text(f"{file.read_text()}x\n")
    with pytest.raises(KeyFileError, match=f"{file}:6: this is not an Ed25519 key"):
        signing_key(environ)


def test_a_last_line_without_its_newline_does_not_swallow_the_next_key(environ: Environ) -> None:
    key = signing_key(environ)
    file = KeyPlace.of(environ).known_file
    file.write_text(file.read_text().rstrip("\n"))

    rotation = rotate(environ)

    assert [key.verifier, rotation.new] == known_keys(environ)


# Rotation


def test_a_rotation_replaces_the_key_and_keeps_what_the_old_one_said(environ: Environ) -> None:
    old = signing_key(environ)
    rotation = rotate(environ)
    new = signing_key(environ)
    place = KeyPlace.of(environ)

    assert Rotation(old.verifier, new.verifier, today()) == rotation
    assert old != new
    assert [old.verifier, new.verifier] == known_keys(environ)
    assert [rotation] == place.rotations()
    assert state_rotation(old, new=new.verifier, day=today()) == place.rotations_file.read_text()
    assert not seed_is_in(place.folder, old)
    assert seed_is_in(place.folder, new)


def test_keys_follow_one_another_in_a_chain(environ: Environ) -> None:
    first = signing_key(environ).verifier
    chain = [rotate(environ) for _ in range(3)]

    assert [first, *(rotation.new for rotation in chain)] == known_keys(environ)
    assert [first, *(rotation.new for rotation in chain[:-1])] == [rotation.old for rotation in chain]
    assert chain == KeyPlace.of(environ).rotations()


def test_without_a_key_there_is_nothing_to_rotate(environ: Environ) -> None:
    with pytest.raises(KeyFileError, match="there is no signing key to rotate"):
        rotate(environ)
    assert not KeyPlace.of(environ).folder.exists()


def test_a_forged_statement_stops_a_rotation_before_anything_changes(environ: Environ) -> None:
    old = signing_key(environ)
    place = KeyPlace.of(environ)
    stranger = SigningKey.generate("stranger")
    place.rotations_file.write_text(state_rotation(stranger, new=stranger.verifier, day=today()))

    with pytest.raises(NoteError, match="no known key signed"):
        rotate(environ)
    assert old == signing_key(environ)


# Death and crowds


def scene(how: str, folder: Path, what: str) -> None:
    done = subprocess.run([sys.executable, SCENE, how, folder, what], capture_output=True, check=False, timeout=60)
    assert (0, b"") == (done.returncode, done.stderr)


def by_number(folder: Path) -> list[Environ]:
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    return [{"XDG_CONFIG_HOME": str(folder / str(number))} for number in numbers]


def test_whenever_the_making_of_a_key_dies_the_next_call_completes_it(tmp_path: Path) -> None:
    scene("death", tmp_path, "create")
    ends = by_number(tmp_path)

    assert len(ends) > 8
    for environ in ends:
        signed_before = [key.verifier for key in [KeyPlace.of(environ).current()] if key is not None]
        key = signing_key(environ)
        assert [key.verifier] == known_keys(environ)
        assert signed_before in ([], [key.verifier])
        files = {path.name for path in KeyPlace.of(environ).folder.iterdir()}
        assert {"lock", "signing_key", "known_keys"} == files


def test_whenever_a_rotation_dies_one_key_is_in_force_and_the_next_rotation_completes_it(tmp_path: Path) -> None:
    before = {"XDG_CONFIG_HOME": str(tmp_path / "before")}
    old = signing_key(before)
    scene("death", tmp_path, "rotate")
    ends = by_number(tmp_path)

    kept = 0
    for environ in ends:
        place = KeyPlace.of(environ)
        in_force = signing_key(environ)
        assert in_force.verifier in known_keys(environ)
        if in_force == old:
            kept += 1
            begun = place.next_file.exists()
            successor = place.next_file.read_text() if begun else ""
            rotate(environ)
            assert not begun or f"{signing_key(environ).encode()}\n" == successor
        new = signing_key(environ)
        assert [Rotation(old.verifier, new.verifier, today())] == place.rotations()
        assert [old.verifier, new.verifier] == known_keys(environ)
        assert {"lock", "signing_key", "known_keys", "rotations"} == {path.name for path in place.folder.iterdir()}
        assert not seed_is_in(place.folder, old)
    assert len(ends) > kept > 15


def test_processes_that_come_at_once_agree_on_the_first_key(tmp_path: Path) -> None:
    scene("race", tmp_path, "create")
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}

    assert [signing_key(environ).verifier] == known_keys(environ)


def test_rotations_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    chain: list[VerifierKey] = [signing_key(environ).verifier]
    scene("race", tmp_path, "rotate")
    chain += [rotation.new for rotation in KeyPlace.of(environ).rotations()]

    assert len(chain) > 1
    assert chain == known_keys(environ)
    assert chain[-1] == signing_key(environ).verifier


def test_a_copy_of_the_folder_is_all_that_a_move_to_another_machine_needs(environ: Environ, tmp_path: Path) -> None:
    signing_key(environ)
    rotation = rotate(environ)
    shutil.copytree(KeyPlace.of(environ).folder, tmp_path / "other" / "elspeth")
    other = {"XDG_CONFIG_HOME": str(tmp_path / "other")}

    assert rotation.new == signing_key(other).verifier
    assert known_keys(environ) == known_keys(other)
