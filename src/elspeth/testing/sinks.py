"""What every sink must do, as a suite of tests."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from elspeth.contracts import Fields, Row, Sink
from elspeth.testing.expectations import expect, expect_equal

__all__ = ["SinkConformance"]

_FIRST_LINE = 7


class SinkConformance:
    """Derive from it, call the class ``Test...``, and give `make_sink`, `fields` and `rows`."""

    def make_sink(self, folder: Path) -> Sink:
        """A new sink whose path lies in ``folder``."""
        raise NotImplementedError

    def fields(self) -> Fields:
        """The fields that the graph knows of `rows`."""
        raise NotImplementedError

    def rows(self) -> Sequence[Row]:
        """At least three rows; text with newlines, nulls and nested values make the suite stronger."""
        raise NotImplementedError

    def test_the_same_rows_give_the_same_bytes_in_any_batches(self, tmp_path: Path) -> None:
        rows = self.rows()
        expect(len(rows) > 2, "the suite has at least three rows")
        whole = self._ready(tmp_path).encode(rows, first_line=_FIRST_LINE)

        for size in (1, 2, len(rows)):
            sink = self._ready(tmp_path)
            data, line, lines = b"", _FIRST_LINE, []
            for start in range(0, len(rows), size):
                part = sink.encode(rows[start : start + size], first_line=line)
                data += part.data
                lines += list(part.lines)[:-1]
                line = part.lines[-1]
            expect_equal(data, whole.data, f"batches of {size} give the same bytes")
            expect_equal([*lines, line], list(whole.lines), f"batches of {size} give the same lines")

    def test_each_row_begins_at_the_line_that_the_sink_tells(self, tmp_path: Path) -> None:
        rows, sink = self.rows(), self._ready(tmp_path)
        written = sink.encode(rows, first_line=_FIRST_LINE)

        expect_equal(len(written.lines), len(rows) + 1, "there is a line for each row and one after the last")
        for count, line in enumerate(written.lines):
            before = sink.encode(rows[:count], first_line=1).data
            expect(written.data.startswith(before), "bytes of earlier rows come first")
            expect_equal(
                line, _FIRST_LINE + before.count(b"\n"), f"row {count} begins after the lines of the rows before"
            )

    def test_a_header_tells_the_line_of_the_first_row(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        header = sink.header(self.fields())

        expect_equal(list(header.lines), [1 + header.data.count(b"\n")], "rows begin after the header")
        expect_equal(sink.header(self.fields()), header, "a header is the same every time")
        expect_equal(self.make_sink(tmp_path).header(self.fields()), header, "a header is the same from every sink")

    def test_no_rows_give_no_bytes(self, tmp_path: Path) -> None:
        written = self._ready(tmp_path).encode([], first_line=_FIRST_LINE)

        expect_equal((written.data, list(written.lines)), (b"", [_FIRST_LINE]), "nothing comes of nothing")

    def test_a_sink_changes_no_row(self, tmp_path: Path) -> None:
        rows = self.rows()
        before = deepcopy(rows)
        self._ready(tmp_path).encode(rows, first_line=1)

        expect_equal(repr(rows), repr(before), "rows are the same after encoding")

    def test_a_sink_writes_no_file(self, tmp_path: Path) -> None:
        self._ready(tmp_path).encode(self.rows(), first_line=1)

        expect_equal(list(tmp_path.iterdir()), [], "the engine writes, the sink encodes")

    def _ready(self, folder: Path) -> Sink:
        sink = self.make_sink(folder)
        sink.header(self.fields())
        return sink
