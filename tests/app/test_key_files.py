"""Files that are private, and whole or not there at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from elspeth.app.key_files import PRIVATE, PUBLIC, make_folder, move, one_writer, read_private, read_public, write_whole
from elspeth.contracts import KeyFileError


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for mode, read in ((PRIVATE, read_private), (PUBLIC, read_public)):
        path = tmp_path / str(mode)
        for text in ("one\n", "é\n", ""):
            write_whole(path, text, mode=mode)
            assert text == read(path)
    assert 2 == len(list(tmp_path.iterdir()))


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert read_private(tmp_path / "no") is None
    assert read_private(tmp_path / "no" / "no") is None
    assert "" == read_public(tmp_path / "no")


def test_an_earlier_draft_is_neither_kept_nor_followed(tmp_path: Path) -> None:
    """A draft of another mode, or a link that somebody put there, would give the secret away."""
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / ".key.draft").symlink_to(target)

    write_whole(tmp_path / "key", "secret\n", mode=PRIVATE)

    assert "untouched" == target.read_text()
    assert {"key", "target"} == {path.name for path in tmp_path.iterdir()}
    assert PRIVATE == (tmp_path / "key").stat().st_mode & 0o777


def test_a_new_file_of_another_mode_is_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_whole(path, "old\n", mode=PUBLIC)
    write_whole(path, "secret\n", mode=PRIVATE)

    assert "secret\n" == read_private(path)


def test_a_move_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", "new\n", mode=PRIVATE)
    write_whole(tmp_path / "old", "old\n", mode=PRIVATE)

    move(tmp_path / "new", tmp_path / "old")

    assert "new\n" == read_private(tmp_path / "old")
    assert ["old"] == [path.name for path in tmp_path.iterdir()]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def write() -> None:
        with one_writer(tmp_path):
            order.append("second")

    with one_writer(tmp_path):
        second = threading.Thread(target=write)
        second.start()
        second.join(0.1)
        order.append("first")
    second.join(10)

    assert ["first", "second"] == order


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    assert 0o700 == folder.stat().st_mode & 0o777
    folder.chmod(0o750)
    make_folder(folder)
    assert 0o750 == folder.stat().st_mode & 0o777


def test_every_fault_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    faults = [
        lambda: make_folder(tmp_path / "file"),
        lambda: read_public(tmp_path / "folder"),
        lambda: read_private(tmp_path / "file" / "x"),
        lambda: write_whole(tmp_path / "folder", "", mode=PUBLIC),
        lambda: write_whole(tmp_path / "gone" / "x", "", mode=PUBLIC),
        lambda: move(tmp_path / "gone", tmp_path / "x"),
        lambda: one_writer(tmp_path / "gone").__enter__(),
    ]
    for fault in faults:
        with pytest.raises(KeyFileError, match=str(tmp_path)) as told:
            fault()
        assert told.value.hint


def test_a_lock_is_given_back_by_whoever_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), one_writer(tmp_path):
        raise ZeroDivisionError

    taken = threading.Thread(target=lambda: one_writer(tmp_path).__enter__(), daemon=True)
    taken.start()
    taken.join(10)
    assert not taken.is_alive()
