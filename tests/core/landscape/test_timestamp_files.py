"""Timestamps lie beside the seals, whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail
from tests.core.landscape.test_seals import sealed_run, seals_of

from elspeth.contracts import MissingTrailError, TimestampError
from elspeth.core.landscape import SealFolder
from elspeth.core.landscape.timestamp_files import (
    keep_timestamp,
    last_seal,
    read_timestamp_file,
    timestamp_file,
    timestamp_files,
)


def test_the_last_seal_is_the_last_note_of_the_file(trail: Trail) -> None:
    run = sealed_run(trail)

    assert (3, seals_of(trail).notes(run.run_id)[-1]) == last_seal(trail.reader(), run)
    with pytest.raises(MissingTrailError, match="has no seal yet"):
        last_seal(trail.reader(), trail.new_run())


def test_what_is_kept_is_found_and_read_again(tmp_path: Path) -> None:
    folder = SealFolder(tmp_path)
    first, second = timestamp_file(folder, "01k9x", 5), timestamp_file(folder, "01k9x", 17)
    for path in (second, first):
        keep_timestamp(path, path.name.encode())
    for stray in ("01k9x.05.tsr", "01k9x.tsr", ".tsr", "01k9x.seals", "01k9x.x.tsr"):
        (tmp_path / stray).touch()

    assert [("01k9x", 17, second), ("01k9x", 5, first)] == list(timestamp_files(folder))
    assert b"01k9x.5.tsr" == read_timestamp_file(first)
    assert 0o644 == stat.S_IMODE(first.stat().st_mode)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "01k9x.5.tsr"
    path.mkdir()

    with pytest.raises(TimestampError, match=r"01k9x\.5\.tsr cannot be written"):
        keep_timestamp(path, b"answer")
    assert [path] == list(tmp_path.iterdir())
    with pytest.raises(TimestampError, match="cannot be written: No such file"):
        keep_timestamp(tmp_path / "gone" / "01k9x.5.tsr", b"answer")


def test_a_file_that_is_too_long_is_no_timestamp(tmp_path: Path) -> None:
    (tmp_path / "x.1.tsr").write_bytes(bytes(2 << 20))

    with pytest.raises(TimestampError, match="too long"):
        read_timestamp_file(tmp_path / "x.1.tsr")
    with pytest.raises(TimestampError, match="cannot be read"):
        read_timestamp_file(tmp_path / "x.2.tsr")
