"""Segments of zstd frames."""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import zstandard
from tests.core.payloads.conftest import at_once, reader_of, written

from elspeth.contracts import BodyRef, TrailError
from elspeth.core.payloads import FRAME_BYTES, Frame, SegmentStream, SegmentWriter, content_digest, parse_reference


def test_the_stored_file_is_what_zstdcat_reads(tmp_path: Path) -> None:
    path = tmp_path / "s.zst"
    written(path, b"first\n", b"second\n" * 1000, b"third\n")

    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert b"first\n" + b"second\n" * 1000 + b"third\n" == reader.read()


def test_a_frame_is_cut_when_it_is_full(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "s.zst", submit=at_once)
    line = b"x" * 1023 + b"\n"
    starts = [writer.append(line) for _ in range(FRAME_BYTES // 1024 * 2 + 1)]
    writer.cut()
    frames, extent = writer.sync()
    writer.close()

    assert [index * 1024 for index in range(len(starts))] == starts
    assert [(0, FRAME_BYTES), (FRAME_BYTES, FRAME_BYTES), (2 * FRAME_BYTES, 1024)] == [
        (frame.start, frame.size) for frame in frames
    ]
    stored = (tmp_path / "s.zst").read_bytes()
    assert extent is not None
    assert (0, len(stored), hashlib.sha256(stored).digest()) == (extent.start, extent.length, extent.sha256)


def test_the_rows_of_a_micro_batch_are_one_frame_however_large(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "s.zst", submit=at_once)
    writer.append(b"before")
    assert 6 == writer.append_frame(b"y" * 3 * FRAME_BYTES, first_row=5, last_row=9)
    writer.cut()
    frames, _ = writer.sync()
    writer.close()

    assert [(0, 6, None, None), (6, 3 * FRAME_BYTES, 5, 9)] == [
        (frame.start, frame.size, frame.first_row, frame.last_row) for frame in frames
    ]


def test_a_writer_goes_on_where_the_trail_says_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "s.zst"
    (first,) = written(path, b"one\n")
    with path.open("ab") as file:
        file.write(b"torn frame")
    writer = SegmentWriter(path, submit=at_once, size=4, stored_size=first.stored_size)
    writer.append(b"two\n")
    writer.cut()
    frames, _ = writer.sync()
    writer.close()

    assert b"one\ntwo\n" == reader_of(path, [first, *frames]).read(0, 8)


def test_a_second_cut_makes_no_empty_frame(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "s.zst", submit=at_once)
    writer.cut()
    writer.append(b"")
    writer.cut()

    assert ([], None) == writer.sync()


def test_reading_more_than_there_is_is_an_error(tmp_path: Path) -> None:
    reader = reader_of(tmp_path / "s.zst", written(tmp_path / "s.zst", b"abc", b"def"))

    assert (b"bcde", b"", b"cdef") == (reader.read(1, 4), reader.read(9, 0), reader.read(2, 4))
    with pytest.raises(TrailError, match="holds 4 of the 5 bytes from 2 on"):
        reader.read(2, 5)
    with pytest.raises(TrailError, match="no frame is recorded for byte 6"):
        reader.read(6, 1)


def test_a_frame_that_is_not_recorded_is_missed(tmp_path: Path) -> None:
    first, _, third = written(tmp_path / "s.zst", b"aaaaaaaa", b"b", b"cccccccc")
    reader = reader_of(tmp_path / "s.zst", [first, third])

    with pytest.raises(TrailError, match="no frame is recorded for byte 8"):
        reader.read(4, 8)
    with pytest.raises(TrailError, match="no frame is recorded for byte 8"):
        list(reader.chunks())


def test_a_body_in_pieces_is_checked_at_its_end(tmp_path: Path) -> None:
    reader = reader_of(tmp_path / "s.zst", written(tmp_path / "s.zst", b"abc", b"def"))

    assert [b"c", b"de"] == list(reader.pieces(2, 3, hashlib.sha256(b"cde").digest()))
    assert [] == list(reader.pieces(2, 0, hashlib.sha256(b"").digest()))
    with pytest.raises(TrailError, match="does not have the hash"):
        list(reader.pieces(2, 3, bytes(32)))


def test_every_flipped_byte_is_found_by_zstd_or_by_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "s.zst"
    content = b"the quick brown fox " * 20
    frames = written(path, content)
    sound = path.read_bytes()
    found = 0
    for at in range(len(sound)):
        for bit in (1, 16, 128):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ bit]) + sound[at + 1 :])
            try:
                list(reader_of(path, frames).pieces(0, len(content), hashlib.sha256(content).digest()))
            except TrailError:
                found += 1
            else:  # it decompresses unchanged: that is what extents are for
                assert hashlib.sha256(sound).digest() != hashlib.sha256(path.read_bytes()).digest()

    assert found >= len(sound) * 3 * 0.8


def test_a_frame_that_claims_to_be_huge_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00")

    with pytest.raises(TrailError, match=f"has {1 << 60} bytes, not 8"):
        reader_of(path, [Frame(0, 8, 0, 16)]).read(0, 8)


def test_a_truncated_or_missing_segment_is_an_error_of_the_trail(tmp_path: Path) -> None:
    path = tmp_path / "s.zst"
    frames = written(path, os.urandom(1000))
    path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(TrailError, match="broken"):
        reader_of(path, frames).read(0, 1000)
    path.unlink()
    with pytest.raises(TrailError, match="missing"):
        reader_of(path, frames).read(0, 1000)
    path.mkdir()
    with pytest.raises(TrailError, match="cannot be read"):
        reader_of(path, frames).read(0, 1000)


def stream_of(*pieces: bytes) -> SegmentStream:
    return SegmentStream(lambda: iter(pieces), size=sum(map(len, pieces)))


def test_a_stream_reads_at_most_what_is_asked_for() -> None:
    stream = stream_of(b"abc", b"", b"def")

    assert [b"ab", b"c"] == [stream.read(2), stream.read(2)]
    assert (3, b"def") == (stream.tell(), stream.read())
    assert (6, b"") == (stream.tell(), stream.read(5))


def test_a_stream_is_measured_and_read_again() -> None:
    stream = stream_of(b"abc", b"def")
    stream.read(1)

    assert (6, b"") == (stream.seek(0, os.SEEK_END), stream.read())
    assert (0, b"abcdef") == (stream.seek(0), stream.read(None))
    for offset, whence in ((1, os.SEEK_SET), (0, os.SEEK_CUR), (-1, os.SEEK_END)):
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(offset, whence)


def test_an_empty_piece_is_not_taken_for_the_end() -> None:
    stream = stream_of(b"", b"abc", b"", b"d")
    read = iter(lambda: stream.read(64), b"")

    assert b"abcd" == b"".join(read)


def test_an_upload_of_a_stream_tells_its_length_and_can_be_sent_twice() -> None:
    content = random.Random(1).randbytes(200_000)
    pieces = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    bodies = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return httpx2.Response(200, headers=request.headers)

    stream = stream_of(*pieces)
    with httpx2.Client(transport=httpx2.MockTransport(handler)) as client:
        for _ in range(2):
            answer = client.post("http://x/files", files={"file": ("a.jsonl", stream)})
            assert str(len(bodies[-1])) == answer.headers["content-length"]
            assert "transfer-encoding" not in answer.headers
            assert content in bodies[-1]


def test_content_has_the_hash_of_its_pieces() -> None:
    assert hashlib.sha256(b"abc").digest() == content_digest([b"a", b"", b"bc"]).digest()


def test_a_reference_is_the_inverse_of_its_text() -> None:
    ref = BodyRef(3, 10, 4, b"h" * 32)

    assert ref == parse_reference(str(ref), ref.sha256)


@pytest.mark.parametrize("text", ["", "1:2", "1:2:3:4", "1:-2:3", "a:b:c", "1:2:\u0663", "../1:2:3"])
def test_anything_else_is_no_reference(text: str) -> None:
    with pytest.raises(TrailError, match="not a payload reference"):
        parse_reference(text, b"")


def test_frames_are_handed_over_together_before_they_become_many(tmp_path: Path) -> None:
    tasks: list[Callable[[], None]] = []
    writer = SegmentWriter(tmp_path / "s.zst", submit=tasks.append)
    for number in range(6):
        writer.append_frame(bytes([number]) * 500_000, first_row=number, last_row=number)
    assert 1 == len(tasks)
    writer.cut()
    assert 2 == len(tasks)
    for task in tasks:
        task()
    frames, extent = writer.sync()
    writer.close()

    assert extent is not None
    assert [(n * 500_000, 500_000, n) for n in range(6)] == [(f.start, f.size, f.first_row) for f in frames]
    assert extent.length == sum(frame.stored_size for frame in frames) == (tmp_path / "s.zst").stat().st_size
