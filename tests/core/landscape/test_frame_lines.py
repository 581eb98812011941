"""Lines are found by their hash wherever they lie, and hashed no more often than that takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.canonical import sha256, sha256_each
from elspeth.core.landscape import frame_lines
from elspeth.core.landscape.frame_lines import FrameLines
from elspeth.core.payloads import Frame

CONTENT = st.lists(st.binary(max_size=6), max_size=12).map(b"\n".join)
ROW = st.integers(min_value=-3, max_value=40)


def lines_of(data: bytes, *, first_row: int | None, last_row: int | None) -> FrameLines:
    return FrameLines(Frame(0, len(data), 0, 0, first_row, last_row), data)


@given(data=CONTENT, rows=st.tuples(ROW, ROW), asked=st.lists(st.tuples(st.integers(0, 11), ROW), max_size=6))
def test_what_is_found_is_what_lies_between_the_newlines(
    data: bytes, rows: tuple[int, int], asked: list[tuple[int, int]]
) -> None:
    pieces = data.split(b"\n")
    lines = lines_of(data, first_row=rows[0], last_row=rows[1])

    for place, row in asked:
        piece = pieces[place % len(pieces)]
        assert piece == lines.find(sha256(piece), row) == lines.known(sha256(piece))
    assert lines.find(sha256(b"in no frame"), 0) is None
    assert {sha256(piece): piece for piece in pieces} == lines.all()


@given(data=CONTENT)
def test_all_lines_are_there_before_any_was_asked_for(data: bytes) -> None:
    lines = lines_of(data, first_row=None, last_row=None)

    assert {sha256(piece): piece for piece in data.split(b"\n")} == lines.all()


@pytest.mark.parametrize("row", [1000, 1001, 1128, 1254, 1255])
def test_a_row_costs_few_hashes_and_the_rest_one_each(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []

    def counted(lines: list[bytes]) -> list[bytes]:
        hashed.extend(lines)
        return sha256_each(lines)

    monkeypatch.setattr(frame_lines, "sha256_each", counted)
    versions: dict[int, list[bytes]] = {
        index: [b"%d %d %s" % (index, step, b"." * (index % 7)) for step in range(3)] for index in range(1000, 1256)
    }
    data = b"".join(line + b"\n" for lines in versions.values() for line in lines)
    lines = lines_of(data, first_row=1000, last_row=1255)

    found: list[Any] = [lines.find(sha256(version), row) for version in versions[row]]

    assert versions[row] == found
    assert len(hashed) <= 24
    another = 1255 + 1000 - row
    assert versions[another][0] == lines.find(sha256(versions[another][0]), another)
    assert sorted(data.split(b"\n")) == sorted(hashed)
    lines.all()
    assert sorted(data.split(b"\n")) == sorted(hashed)
