"""The segments of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.core.payloads.conftest import at_once, reader_of, written

from elspeth.contracts import BodyRef, FileRole, PayloadClass
from elspeth.core.canonical import sha256
from elspeth.core.payloads import BodyWriter, PayloadStore, SegmentState, sync_segments


def test_a_class_has_one_segment_and_a_batch_file_its_own(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path, submit=at_once)
    rows, _ = store.shared(PayloadClass.ROWS)
    calls, _ = store.shared(PayloadClass.CALLS)
    request, _ = store.batch_file(7, FileRole.REQUEST, name="step-b0007.jsonl")
    rejected, _ = store.shared(PayloadClass.ROWS, stem="rejected")

    assert (rows, calls) == (store.shared(PayloadClass.ROWS)[0], store.shared(PayloadClass.CALLS)[0])
    assert [
        SegmentState(number=rows, payload_class=PayloadClass.ROWS, name="rows.zst"),
        SegmentState(number=calls, payload_class=PayloadClass.CALLS, name="calls.zst"),
        SegmentState(
            number=request,
            payload_class=PayloadClass.FILES,
            name="000003-step-b0007.jsonl.zst",
            batch_no=7,
            role=FileRole.REQUEST,
        ),
        SegmentState(number=rejected, payload_class=PayloadClass.ROWS, name="rejected.zst"),
    ] == store.take_unrecorded()
    assert [1, 2, 3, 4] == [rows, calls, request, rejected]
    assert [] == store.take_unrecorded()
    store.close()


def test_a_known_segment_goes_on_where_it_ends_and_new_numbers_follow(tmp_path: Path) -> None:
    (frame,) = written(tmp_path / "calls.zst", b"before")
    known = SegmentState(
        number=5, payload_class=PayloadClass.CALLS, name="calls.zst", size=6, stored_size=frame.stored_size
    )
    store = PayloadStore(tmp_path, submit=at_once, known=(known,))
    number, segment = store.shared(PayloadClass.CALLS)
    start = segment.append(b"after")
    store.cut_all()
    (synced,) = sync_segments(store.writers())

    assert (5, 6, 5) == (number, start, synced.segment_no)
    assert b"beforeafter" == reader_of(tmp_path / "calls.zst", [frame, *synced.frames]).read(0, 11)
    assert 6 == store.shared(PayloadClass.ROWS)[0]
    store.close()


def test_a_body_is_referred_to_by_where_it_lies(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path, submit=at_once)
    closed = []
    store.shared(PayloadClass.CALLS)[1].append(b"other")
    body = BodyWriter(*store.shared(PayloadClass.CALLS), on_close=lambda: closed.append(True))
    body.write(b"ab")
    body.write(b"")
    body.write(b"c")

    assert BodyRef(1, 5, 3, sha256(b"abc")) == body.close()
    assert [True] == closed
    store.close()


def test_two_bodies_in_one_segment_at_once_are_refused(tmp_path: Path) -> None:
    store = PayloadStore(tmp_path, submit=at_once)
    first = BodyWriter(*store.shared(PayloadClass.CALLS))
    second = BodyWriter(*store.shared(PayloadClass.CALLS))
    first.write(b"one")

    with pytest.raises(RuntimeError, match="two bodies"):
        second.write(b"two")
    store.close()


def test_a_finished_segment_is_closed_after_the_next_commit_and_never_opened_again(tmp_path: Path) -> None:
    tasks: list[Callable[[], None]] = []
    store = PayloadStore(tmp_path, submit=tasks.append)
    number, segment = store.batch_file(1, FileRole.OUTPUT, name="o")
    segment.append(b"line\n")
    store.finish(number)
    store.cut_all()
    for task in tasks:
        task()
    (synced,) = sync_segments(store.writers())
    store.close_finished()

    assert 5 == synced.frames[0].size
    assert [] == store.writers()
    with pytest.raises(KeyError):
        store.writer(number)
    tasks[-1]()
