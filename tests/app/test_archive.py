"""A bundle as one file: the same bytes for the same files, and nothing else is read."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.app.archive import decode_archive, encode_archive, read_bundle
from elspeth.contracts import TrailError, UsageError

FILES = {"b.txt": b"two", "a.txt": b"one", "payloads/ab": b"\x00\xff" * 50}

names = st.builds("{}{}".format, st.sampled_from(["", "payloads/"]), st.text("abc.", min_size=1, max_size=4))


@given(st.dictionaries(names, st.binary(max_size=200), max_size=5))
def test_reading_is_the_inverse_of_writing(files: dict[str, bytes]) -> None:
    assert files == decode_archive(encode_archive(files))
    assert encode_archive(files) == encode_archive(dict(reversed(files.items())))


def test_any_unzip_reads_it_and_no_time_or_user_is_in_it() -> None:
    with zipfile.ZipFile(io.BytesIO(encode_archive(FILES))) as archive:
        entries = archive.infolist()
        assert sorted(FILES) == [entry.filename for entry in entries]
        assert {(1980, 1, 1, 0, 0, 0)} == {entry.date_time for entry in entries}
        assert {zipfile.ZIP_STORED} == {entry.compress_type for entry in entries}
        assert FILES == {entry.filename: archive.read(entry) for entry in entries}


@given(st.data())
def test_every_flipped_byte_is_refused_or_is_in_a_file(data: st.DataObject) -> None:
    archive = bytearray(encode_archive(FILES))
    archive[data.draw(st.integers(0, len(archive) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(TrailError):
        assert decode_archive(bytes(archive)) != FILES


def zipped(*, compression: int = zipfile.ZIP_STORED, comment: bytes = b"", twice: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.comment = comment
        for name in (*sorted(FILES), *(["a.txt"] if twice else [])):
            archive.writestr(zipfile.ZipInfo(name), FILES[name])
    return target.getvalue()


def test_archives_of_others_are_refused() -> None:
    with pytest.raises(TrailError, match="not as elspeth writes it") as caught:
        decode_archive(zipped(compression=zipfile.ZIP_DEFLATED))
    assert "Unzip it" in (caught.value.hint or "")
    with pytest.raises(TrailError, match="not as elspeth writes it"):
        decode_archive(zipped(comment=b"hello"))
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped(twice=True)
    with pytest.raises(TrailError, match="stands in the archive twice"):
        decode_archive(data)
    with pytest.raises(TrailError, match="damaged"):
        decode_archive(b"no archive")


def test_an_archive_that_would_unpack_to_more_than_it_has_is_not_unpacked() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10_000_000))
    with pytest.raises(TrailError, match="more bytes than it has"):
        decode_archive(target.getvalue())


def test_a_bundle_is_read_as_it_is_or_unpacked(tmp_path: Path) -> None:
    archive, folder = tmp_path / "rows.zip", tmp_path / "folder"
    archive.write_bytes(encode_archive(FILES))
    assert FILES == read_bundle(archive)
    with zipfile.ZipFile(archive) as found:
        found.extractall(folder)
    assert FILES == read_bundle(folder)
    (folder / "link").symlink_to(folder / "a.txt")
    with pytest.raises(TrailError, match="symbolic link"):
        read_bundle(folder)
    with pytest.raises(UsageError, match="cannot be read"):
        read_bundle(tmp_path / "missing.zip")
