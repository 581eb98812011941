"""Payload segments: bits, frames and files that were changed, also where what they hold decompresses unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.tamper.conftest import CopyTrail
from tests.tamper.forgery import recompute
from tests.tamper.mutations import insider
from tests.tamper.trail import Copy, findings_of

from elspeth.core.canonical import sha256

Edit = Callable[[bytes], bytes | None]


def flip(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def recompressed(data: bytes) -> bytes:
    """Other bytes that hold the same content in frames of the same sizes of content."""
    frames = []
    while data:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        content = decompressor.decompress(data)
        data = decompressor.unused_data
        frames.append(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(content))
    return b"".join(frames)


EDITS: dict[str, Edit] = {
    "a bit of the magic number": lambda data: flip(data, 1),
    "the unused bit of the first frame's header": lambda data: flip(data, 4, 0x10),
    "a bit in the middle": lambda data: flip(data, len(data) // 2),
    "the last bit": lambda data: flip(data, len(data) - 1, 0x80),
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "a skippable frame more": lambda data: data + b"\x50\x2a\x4d\x18\x01\x00\x00\x00x",
    "nothing left": lambda data: data[:0],
    "compressed anew": recompressed,
    "deleted": lambda _data: None,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_every_segment_is_held_byte_for_byte(edit: Edit, copy_trail: CopyTrail) -> None:
    names = [path.name for path in copy_trail().payloads(1).iterdir()]
    assert len(names) > 9
    for name in names:
        trail = copy_trail(with_payloads=True)
        put(trail.payloads(1) / name, edit)

        found = [finding for finding in findings_of(trail.verify(1)) if finding.where == "payloads"]
        assert [name] == [finding.place.split(" ")[0] for finding in found]


def put(path: Path, edit: Edit) -> None:
    changed = edit(path.read_bytes())
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)


def test_the_unused_bit_of_a_frame_decompresses_unchanged(trail: Copy) -> None:
    """So only the hash of what is stored can find it."""
    data = (trail.payloads(1) / "rows.zst").read_bytes()
    edited = EDITS["the unused bit of the first frame's header"](data)

    assert edited is not None
    assert data != edited
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == (
        zstandard.ZstdDecompressor().decompressobj().decompress(edited)
    )


def test_two_segments_cannot_change_their_names(trail: Copy) -> None:
    one, other = sorted(trail.payloads(1).glob("*request.jsonl.zst"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)

    places = [finding.place for finding in findings_of(trail.verify(1)) if finding.where == "payloads"]
    assert [f"{one.name} byte 0", f"{other.name} byte 0"] == places


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["rows.zst", "calls.zst"])
def test_a_segment_that_is_a_folder_or_a_pipe_is_no_file(trail: Copy, name: str, make: Callable[[Path], None]) -> None:
    """Nobody waits for somebody to write into the pipe."""
    path = trail.payloads(1) / name
    path.unlink()
    make(path)

    found = {(finding.where, finding.place, finding.message) for finding in findings_of(trail.verify(1))}
    assert ("payloads", name, "it is no file") in found


def test_seals_that_are_a_pipe_are_no_file(trail: Copy) -> None:
    path = trail.seals.file(trail.run_id(1))
    path.unlink()
    os.mkfifo(path)

    assert ("seals", str(path), f"the seals {path} are no file") in {
        (finding.where, finding.place, finding.message) for finding in findings_of(trail.verify(1))
    }


def test_a_frame_that_claims_more_than_there_is_memory_for_is_found(trail: Copy) -> None:
    with insider(trail.database) as connection:
        connection.execute("UPDATE frames SET stored_size = 1 << 62, size = 1 << 62 WHERE run_no = 1 AND start = 0")

    (records, *_) = findings_of(trail.verify(1))
    assert "frames" in records.where.split(" and ")


class TestFrames:
    """Frames of the segment of rows, with the records about them adapted."""

    SQL = (
        "SELECT start, stored_start, stored_size, size FROM frames f JOIN segments s USING (run_no, segment_no) "
        "WHERE run_no = 1 AND s.name = 'rows.zst' ORDER BY start LIMIT 2"
    )

    def swapped(self, trail: Copy) -> None:
        """Exchanges the first two frames of what is stored."""
        (_, a, a_size, _), (_, b, b_size, _) = trail.query(self.SQL)
        path = trail.payloads(1) / "rows.zst"
        data = path.read_bytes()
        path.write_bytes(data[b : b + b_size] + data[a : a + a_size] + data[b + b_size :])

    def test_swapped_frames_are_found(self, trail: Copy) -> None:
        self.swapped(trail)

        assert ("payloads", "rows.zst byte 0") in {(f.where, f.place) for f in findings_of(trail.verify(1))}

    def test_swapped_frames_are_found_when_the_records_are_swapped_too(self, trail: Copy) -> None:
        (one, _, _, _), (other, _, size, _) = trail.query(self.SQL)
        self.swapped(trail)
        with insider(trail.database) as connection:
            where = "WHERE run_no = 1 AND segment_no = (SELECT segment_no FROM segments WHERE run_no = 1 AND name = ?)"
            for start, stored in ((one, size), (other, 0)):
                connection.execute(
                    f"UPDATE frames SET stored_start = ? {where} AND start = ?", (stored, "rows.zst", start)
                )

        found = {(f.where, f.place) for f in findings_of(trail.verify(1))}
        assert ("payloads", "rows.zst byte 0") in found
        assert any(where == "frames" for where, _ in found)

    def test_another_text_is_found_when_frames_and_extents_are_adapted(self, trail: Copy) -> None:
        self.retold(trail)

        (records, *_) = findings_of(trail.verify(1))
        assert ("extents", "it is not what was recorded") == (records.where, records.message.partition(" (")[0])

    def test_another_text_is_found_by_the_seals_when_the_commits_are_adapted_too(self, trail: Copy) -> None:
        self.retold(trail)
        recompute(trail.database, run_no=1)

        steps = trail.verify(1).reports[0].steps
        assert [5, 8] == [step.number for step in steps if step.finding_count]
        assert "rows" == steps[7].findings[0].where

    def retold(self, trail: Copy) -> None:
        """Puts another text of the same stored size into the first frame, and adapts its extent."""
        (_, _, stored_size, size), _ = trail.query(self.SQL)
        path = trail.payloads(1) / "rows.zst"
        data = path.read_bytes()
        content = zstandard.ZstdDecompressor().decompressobj().decompress(data[:stored_size])
        assert size == len(content)
        frame = zstandard.ZstdCompressor(level=1).compress(content.replace(b"row number 0", b"row number 5"))
        assert stored_size == len(frame)
        path.write_bytes(frame + data[stored_size:])
        ((number, length),) = trail.query(
            "SELECT segment_no, length FROM extents e JOIN segments s ON s.run_no = e.run_no "
            "AND s.segment_no = e.file_no WHERE e.run_no = 1 AND e.kind = 1 AND e.start = 0 AND s.name = 'rows.zst'"
        )
        with insider(trail.database) as connection:
            connection.execute(
                "UPDATE extents SET hash = ? WHERE run_no = 1 AND kind = 1 AND file_no = ? AND start = 0",
                (sha256(path.read_bytes()[:length]), number),
            )
