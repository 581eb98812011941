"""Files that only grow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.core.payloads.conftest import at_once

from elspeth.contracts import RunError, TrailError
from elspeth.core.payloads import AppendedFile, Extent, PartFile


def extent(start: int, data: bytes) -> Extent:
    return Extent(start, len(data), hashlib.sha256(data).digest())


def test_an_extent_hashes_exactly_the_stored_bytes_since_the_last_one(tmp_path: Path) -> None:
    file = AppendedFile(tmp_path / "deep" / "file")
    file.append(b"ab")
    file.append(b"cd")
    first = file.sync()
    assert b"abcd" == (tmp_path / "deep" / "file").read_bytes()
    file.append(b"e")
    second = file.sync()
    third = file.sync()
    file.close()

    assert (extent(0, b"abcd"), extent(4, b"e"), None) == (first, second, third)


def test_appending_tells_where_the_bytes_start(tmp_path: Path) -> None:
    file = AppendedFile(tmp_path / "file", size=0)

    assert [0, 3, 3] == [file.append(b"abc"), file.append(b""), file.append(b"d")]
    file.close()


def test_a_file_that_gets_nothing_is_not_made(tmp_path: Path) -> None:
    file = AppendedFile(tmp_path / "file")

    assert file.sync() is None
    file.close()
    assert not (tmp_path / "file").exists()


def test_what_a_crash_left_beyond_the_recorded_size_is_cut_by_the_first_append(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"durable, torn")
    file = AppendedFile(path, size=7)
    assert b"durable, torn" == path.read_bytes()
    file.append(b"!")
    grown = file.sync()
    file.close()

    assert b"durable!" == path.read_bytes()
    assert extent(7, b"!") == grown


def test_a_file_shorter_than_recorded_is_an_error_of_the_trail(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = AppendedFile(path, size=4)

    with pytest.raises(TrailError, match=r"file is shorter than the trail says: 3 of 4 bytes"):
        file.append(b"x")
    assert b"abc" == path.read_bytes()


def test_a_missing_file_of_which_bytes_are_recorded_is_an_error_of_the_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="0 of 4 bytes"):
        AppendedFile(tmp_path / "file", size=4).append(b"x")


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_that_is_moved_away_while_it_is_written_is_an_error_of_the_run(tmp_path: Path, replace: bool) -> None:
    file = AppendedFile(tmp_path / "f")
    file.require_in_place()
    file.append(b"one")
    file.require_in_place()
    (tmp_path / "f").rename(tmp_path / "g")
    if replace:
        (tmp_path / "f").write_bytes(b"one")

    with pytest.raises(RunError, match="f was moved or removed while the run was going on"):
        file.require_in_place()
    file.close()


def test_a_part_file_knows_its_size_before_it_is_written(tmp_path: Path) -> None:
    tasks = []
    part = PartFile(tmp_path / "part", submit=tasks.append)
    part.append(b"one\n")
    part.append(b"two\n")
    part.cut()
    assert (8, False) == (part.size, part.path.exists())
    for task in tasks:
        task()

    assert extent(0, b"one\ntwo\n") == part.sync()
    part.close()


def test_a_part_file_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"one\ntorn")
    part = PartFile(tmp_path / "part", submit=at_once, size=4)
    part.append(b"two\n")
    part.cut()
    part.sync()
    part.close()

    assert (8, b"one\ntwo\n") == (part.size, part.path.read_bytes())


def test_a_part_file_hands_over_what_has_become_large(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part", submit=at_once)
    part.append(b"x" * 1_000_000)
    assert not part.path.exists()
    part.append(b"y" * 100_000)
    part.append(b"z")
    part.sync()
    part.close()

    assert (1_100_001, 1_100_000) == (part.size, part.path.stat().st_size)
