"""Whatever is appended in whatever pieces is read back, wherever one starts."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.core.payloads.conftest import at_once, reader_of, written

from elspeth.contracts import TrailError
from elspeth.core.payloads import SegmentReader, SegmentStream, SegmentWriter

PIECES = st.lists(st.binary(max_size=40) | st.just(b"x" * 70_000), max_size=12)


@given(PIECES, st.sets(st.integers(0, 12)), st.data())
def test_any_stretch_of_what_was_appended_is_read_back(
    pieces: list[bytes], cuts: set[int], data: st.DataObject
) -> None:
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.zst"
        writer = SegmentWriter(path, submit=at_once)
        starts = []
        for number, piece in enumerate(pieces):
            if number in cuts:
                writer.cut()
            starts.append(writer.append(piece))
        writer.cut()
        frames, extent = writer.sync()
        writer.close()
        reader = reader_of(path, frames)
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, len(content) - start))
        stretch = content[start : start + length]

        assert [sum(map(len, pieces[:number])) for number in range(len(pieces))] == starts
        assert stretch == reader.read(start, length)
        assert stretch == b"".join(reader.pieces(start, length, hashlib.sha256(stretch).digest()))
        assert content == b"".join(reader.chunks())
        stored = path.read_bytes() if path.exists() else b""
        assert (len(stored) if stored else None) == (extent.length if extent else None)
        plain = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read()
        assert content == plain


def answer(reader: SegmentReader, start: int, length: int) -> bytes | str:
    """What a reader gives, or why it gives nothing."""
    try:
        return reader.read(start, length)
    except TrailError as error:
        return str(error)


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_what_a_reader_read_before_changes_nothing(pieces: list[bytes], data: st.DataObject) -> None:
    """It keeps the last frame, and answers from that alone; a new reader has none."""
    content = b"".join(pieces)
    places = st.integers(0, len(content) + 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.zst"
        frames = written(path, *pieces)
        reader = reader_of(path, frames)
        for start, end in map(sorted, data.draw(st.lists(st.tuples(places, places), max_size=12))):
            expected = answer(reader_of(path, frames), start, end - start)

            assert expected == answer(reader, start, end - start)
            assert end > len(content) or content[start:end] == expected


@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(1, 30)))
def test_a_stream_gives_the_content_in_whatever_bites(pieces: list[bytes], sizes: list[int]) -> None:
    content = b"".join(pieces)
    stream = SegmentStream(lambda: iter(pieces), size=len(content))
    read = []
    for size in sizes:
        read.append(stream.read(size))
        assert len(read[-1]) <= size
        assert sum(map(len, read)) == stream.tell()

    assert content == b"".join(read) + stream.read()
