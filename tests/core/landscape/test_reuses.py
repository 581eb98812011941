"""Answers that a row took instead of asking, as the trail gives them back."""

from __future__ import annotations

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.contracts import FileRole, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeRecorder, RunHeader
from elspeth.core.landscape.reuses import Reuse, ReusedLines, reused_answer, reuses_of_row

REQUEST = b'{"custom_id":"row-7-1","body":{}}\n'
REPLY = b'{"custom_id":"row-7-1","response":{}}\n'


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    return trail.new_run()


@pytest.fixture
def recorder(trail: Trail, run: RunHeader) -> LandscapeRecorder:
    return trail.recorder(run)


def record(recorder: LandscapeRecorder, row: int, node_no: int, *, is_simulated: bool = False) -> Reuse:
    request, reply = recorder.add_reused_line(REQUEST), recorder.add_reused_line(REPLY)
    reuse = Reuse(
        node_no=node_no,
        from_run="01k9x",
        from_row=7,
        from_batch=2,
        from_attempt=1,
        request_hash=request.sha256,
        request_ref=str(request),
        role=FileRole.OUTPUT,
        reply_hash=reply.sha256,
        reply_ref=str(reply),
        input_tokens=None,
        output_tokens=5,
        is_simulated=is_simulated,
    )
    recorder.add_reuse(row, reuse)
    return reuse


def test_what_is_recorded_of_a_taken_answer_is_read_back(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    second, first = record(recorder, 3, 2), record(recorder, 3, 1)
    recorder.journal.commit_durably()
    reader = trail.reader()

    assert [first, second] == list(reuses_of_row(reader, run, 3))
    assert ReusedLines(REQUEST, REPLY, FileRole.OUTPUT) == reused_answer(reader, run, 3, 2)


def test_a_row_that_took_no_answer_has_none(trail: Trail, run: RunHeader, recorder: LandscapeRecorder) -> None:
    record(recorder, 3, 1)
    recorder.journal.commit_durably()
    reader = trail.reader()

    assert [] == list(reuses_of_row(reader, run, 4))
    assert reused_answer(reader, run, 3, 2) is None
    assert reused_answer(reader, run, 4, 1) is None


def test_a_kept_line_that_does_not_have_its_hash_is_not_read(
    trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    request, reply = recorder.add_reused_line(REQUEST), recorder.add_reused_line(REPLY)
    wrong = Reuse(
        node_no=1,
        from_run="01k9x",
        from_row=7,
        from_batch=2,
        from_attempt=0,
        request_hash=request.sha256,
        request_ref=str(request),
        role=FileRole.ERROR,
        reply_hash=sha256(b"another"),
        reply_ref=str(reply),
        input_tokens=None,
        output_tokens=None,
        is_simulated=False,
    )
    recorder.add_reuse(0, wrong)
    recorder.journal.commit_durably()

    with pytest.raises(TrailError, match="does not have the hash"):
        reused_answer(trail.reader(), run, 0, 1)


@pytest.mark.parametrize("is_simulated", [True, False])
def test_a_run_whose_taken_answers_were_simulated_is_a_simulated_one(
    is_simulated: bool, trail: Trail, run: RunHeader, recorder: LandscapeRecorder
) -> None:
    record(recorder, 0, 1, is_simulated=is_simulated)
    recorder.journal.commit_durably()

    assert is_simulated == trail.reader().is_simulated(run)
