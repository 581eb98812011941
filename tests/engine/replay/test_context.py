"""A step's plugin in a replay: no service is asked for a secret, and a refused request ends one row."""

from __future__ import annotations

from typing import NoReturn, cast

import pytest

from elspeth.contracts import Context, Fields, NotRecordedError, Row, TransformResult
from elspeth.engine.replay.calls import CallBook
from elspeth.engine.replay.context import WITHHELD, ReplayContext, ReplayedTransform
from elspeth.testing import FakeContext


class Asking:
    """Asks for what is not there."""

    def output_fields(self, fields: Fields) -> Fields:
        return Fields(fields.types, True)

    def process(self, row: Row, ctx: Context) -> TransformResult:
        if row["bug"]:
            raise ZeroDivisionError
        raise NotRecordedError(f"nobody answered {ctx.step}")


def forbidden() -> NoReturn:
    raise AssertionError("a replay asks no service")


def test_a_secret_is_the_mark_and_nobody_is_asked_for_it() -> None:
    context = ReplayContext(cast(CallBook, None), run_id="run", step="step", node_no=1)
    assert WITHHELD == context.fetch_secret("token", forbidden)
    context.row_index = 3
    assert 3 == context.row_index
    assert context.http("one") is context.http("one")
    context.close()
    assert context.http("one").is_closed


def test_a_refused_request_ends_the_row_and_a_bug_ends_the_replay() -> None:
    transform = ReplayedTransform(Asking())
    failure = transform.process({"bug": False}, FakeContext()).failure
    assert failure is not None
    assert ("not_recorded", "nobody answered step") == (failure.code, failure.message)
    assert transform.output_fields(Fields({})).is_open
    with pytest.raises(ZeroDivisionError):
        transform.process({"bug": True}, FakeContext())
