"""The suites find the faults that they are there to find; the fakes do what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts import (
    CallStatus,
    CallType,
    Clock,
    Context,
    Fields,
    FieldType,
    Row,
    Sink,
    Source,
    SourceBatch,
    SourceError,
    SourcePosition,
    Transform,
    TransformResult,
    WrittenBatch,
)
from elspeth.testing import FakeClock, FakeContext, SinkConformance, SourceConformance, TransformConformance


class CountingSource:
    """Five rows from nowhere; a fault can be put into what it yields."""

    def __init__(self, fault: str, *, is_altered: bool) -> None:
        self.fault = fault
        self.is_altered = is_altered

    def fields(self) -> Fields:
        return Fields({"n": FieldType.INT})

    def read(self, start: SourcePosition | None, *, size: int) -> Iterator[SourceBatch]:
        first = start.next_row if start is not None and self.fault != "forgets" else 0
        if start is not None and self.is_altered and self.fault != "trusting":
            raise SourceError("another source", hint="use the one before")
        step = size + 1 if self.fault == "greedy" else size
        for low in range(first, 5, step):
            numbers = list(range(low, min(5, low + step)))
            rows: list[Row] = [{"n": number} for number in numbers]
            if self.fault == "untyped":
                rows[0]["n"] = (1, 2)
            if self.fault == "other fields":
                rows[0]["m"] = 1
            yield SourceBatch(
                indexes=[number + 1 for number in numbers] if self.fault == "gap" else numbers,
                lines=[7] * len(rows) if self.fault == "lines" else [number + 1 for number in numbers],
                rows=rows,
                rejected=[],
                end=SourcePosition(next_row=numbers[-1] + 1, cursor={"n": numbers[-1] + 1}),
            )


class CountingSuite(SourceConformance):
    fault = ""

    def make_source(self, folder: Path) -> Source:
        return CountingSource(self.fault, is_altered=(folder / "altered").exists())

    def alter(self, folder: Path) -> None:
        (folder / "altered").touch()


class PlainSink:
    path = "x"

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.count = 0

    def header(self, fields: Fields) -> WrittenBatch:
        return WrittenBatch(data=b"header\n", lines=[1 if self.fault == "header" else 2])

    def encode(self, rows: Sequence[Row], *, first_line: int) -> WrittenBatch:
        self.count += len(rows)
        if self.fault == "writes":
            Path(self.path).write_text("x")
        if self.fault == "changes":
            for row in rows:
                row["seen"] = True
        data = b"".join(b"%r\n" % row["n"] for row in rows)
        if self.fault == "keeps":
            data = b"%d\n" % self.count * len(rows)
        if self.fault == "trailer":
            data += b"\n"
        lines = list(range(first_line, first_line + len(rows) + 1))
        return WrittenBatch(data=data, lines=[line + 1 for line in lines] if self.fault == "lines" else lines)


class PlainSinkSuite(SinkConformance):
    fault = ""

    def make_sink(self, folder: Path) -> Sink:
        sink = PlainSink(self.fault)
        sink.path = str(folder / "out")
        return sink

    def fields(self) -> Fields:
        return Fields({"n": FieldType.INT})

    def rows(self) -> Sequence[Row]:
        return [{"n": number} for number in range(4)]


SHARED: list[int] = []


class PlainTransform:
    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.count = 0

    def output_fields(self, fields: Fields) -> Fields:
        return Fields({"n": FieldType.INT, "more": FieldType.JSON})

    def process(self, row: Row, ctx: Context) -> TransformResult:
        self.count += 1
        if row["n"] < 0 and self.fault != "takes all":
            return TransformResult.error("Not A Word" if self.fault == "words" else "negative", "is negative")
        row["more"] = SHARED if self.fault == "shares" else []
        if self.fault == "counts":
            row["n"] = self.count
        if self.fault == "undeclared":
            row["surplus"] = 1
        if self.fault == "calls":
            ctx.http("somewhere")
        return TransformResult.success(row)


class PlainTransformSuite(TransformConformance):
    fault = ""

    def make_transform(self) -> Transform:
        return PlainTransform(self.fault)

    def fields(self) -> Fields:
        return Fields({"n": FieldType.INT})

    def rows(self) -> Sequence[Row]:
        return [{"n": 1}, {"n": 2}]

    def bad_rows(self) -> Sequence[Row]:
        return [{"n": -1}]


def failures(suite: type[Any], fault: str, folder: Path) -> list[str]:
    """The tests of a suite that do not hold for a plugin with this fault."""
    failed = []
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        own = folder / name
        own.mkdir()
        instance = suite()
        instance.fault = fault
        test: Callable[..., None] = getattr(instance, name)
        try:
            test(own) if "tmp_path" in test.__annotations__ else test()
        except (AssertionError, ValueError):
            failed.append(name)
    return failed


@pytest.mark.parametrize("suite", [CountingSuite, PlainSinkSuite, PlainTransformSuite])
def test_a_sound_plugin_passes(suite: type[Any], tmp_path: Path) -> None:
    assert failures(suite, "", tmp_path) == []


@pytest.mark.parametrize(
    ("suite", "fault", "test"),
    [
        (CountingSuite, "forgets", "test_reading_on_after_any_batch_gives_the_remaining_records"),
        (CountingSuite, "greedy", "test_the_size_of_a_batch_changes_no_record"),
        (CountingSuite, "gap", "test_every_record_has_the_next_index"),
        (CountingSuite, "lines", "test_columns_of_a_batch_belong_together_and_lines_go_up"),
        (CountingSuite, "untyped", "test_rows_come_back_from_their_bytes"),
        (CountingSuite, "other fields", "test_rows_have_the_fields_that_the_source_declares"),
        (CountingSuite, "trusting", "test_a_source_that_has_changed_is_refused"),
        (PlainSinkSuite, "header", "test_a_header_tells_the_line_of_the_first_row"),
        (PlainSinkSuite, "writes", "test_a_sink_writes_no_file"),
        (PlainSinkSuite, "changes", "test_a_sink_changes_no_row"),
        (PlainSinkSuite, "keeps", "test_the_same_rows_give_the_same_bytes_in_any_batches"),
        (PlainSinkSuite, "trailer", "test_no_rows_give_no_bytes"),
        (PlainSinkSuite, "lines", "test_each_row_begins_at_the_line_that_the_sink_tells"),
        (PlainTransformSuite, "takes all", "test_a_result_is_rows_or_an_error"),
        (PlainTransformSuite, "words", "test_a_result_is_rows_or_an_error"),
        (PlainTransformSuite, "shares", "test_two_rows_share_nothing_that_can_change"),
        (PlainTransformSuite, "counts", "test_the_same_row_gives_the_same_result"),
        (PlainTransformSuite, "undeclared", "test_rows_that_come_out_have_the_declared_fields"),
        (PlainTransformSuite, "calls", "test_a_result_is_rows_or_an_error"),
    ],
)
def test_a_faulty_plugin_fails_the_test_that_is_about_its_fault(
    suite: type[Any], fault: str, test: str, tmp_path: Path
) -> None:
    assert test in failures(suite, fault, tmp_path)


def test_time_passes_only_when_somebody_lets_it() -> None:
    fake = FakeClock(1_000_000)
    clock: Clock = fake
    clock.sleep_s(1.5)
    fake.advance_s(60)

    assert (clock.now_us(), fake.sleeps_s) == (62_500_000, [1.5])


def test_a_fake_context_keeps_the_calls_that_it_is_told_of() -> None:
    fake = FakeContext(step="ask")
    context: Context = fake
    ids = [
        context.record_call(CallType.SQL, CallStatus.SUCCESS, b"select 1", b"1", latency_ms=2.0),
        context.record_call(CallType.SQL, CallStatus.ERROR, {"q": 1}, error={"code": "x"}),
    ]

    assert ids == [call.call_id for call in fake.calls]
    assert [call.status for call in fake.calls] == [CallStatus.SUCCESS, CallStatus.ERROR]
    assert (context.run_id, context.step) == ("testrun", "ask")


def test_a_fake_context_gives_out_the_clients_that_it_was_given() -> None:
    import httpx2

    client = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(204)))
    fake = FakeContext(client=client)

    assert fake.http("somewhere").get("https://example.org/").status_code == 204
    assert fake.services == ["somewhere"]
    with pytest.raises(AssertionError, match="expects no call"):
        FakeContext().http("somewhere")
