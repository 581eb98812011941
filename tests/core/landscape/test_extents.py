"""What commits appended to a file, and whether the file holds it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.core.canonical import sha256
from elspeth.core.landscape.extents import PART_EXTENT, extents_of, first_wrong_extent
from elspeth.core.payloads import Extent, PartFile

EXTENTS = [Extent(0, 3, sha256(b"abc")), Extent(3, 2, sha256(b"de"))]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(b"abcde", None), (b"abcdefg", None), (b"abXde", 0), (b"abcdX", 1), (b"abcd", 1), (b"", 0)],
)
def test_the_first_stretch_that_a_file_does_not_hold(content: bytes, wrong: int | None) -> None:
    assert (None if wrong is None else EXTENTS[wrong]) == first_wrong_extent(io.BytesIO(content), EXTENTS)


def test_a_stretch_that_does_not_follow_the_one_before_it_is_wrong() -> None:
    assert EXTENTS[1] == first_wrong_extent(io.BytesIO(b"de"), EXTENTS[1:])


def test_extents_come_in_the_order_of_the_commits_or_against_it(trail: Trail, tmp_path: Path) -> None:
    run = trail.new_run()
    journal = trail.recorder(run).journal
    part = PartFile(tmp_path / "part", submit=journal.submit)
    journal.checkpoint_with(dict, {4: part})
    for data in (b"abc", b"de"):
        part.append(data)
        journal.commit_durably()
    part.close()

    assert EXTENTS == list(extents_of(trail.reader(), run.run_no, kind=PART_EXTENT, file_no=4))
    assert EXTENTS[::-1] == list(extents_of(trail.reader(), 1, kind=PART_EXTENT, file_no=4, newest_first=True))
    assert [] == list(extents_of(trail.reader(), run.run_no, kind=PART_EXTENT, file_no=5))
