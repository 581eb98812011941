"""What every source must do, as a suite of tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from elspeth.contracts import RejectedRow, Row, Source, SourceBatch, SourceError, SourcePosition
from elspeth.core.canonical import RowCodec
from elspeth.testing.expectations import expect, expect_equal

__all__ = ["SourceConformance"]

_SIZES = (1, 2, 3, 1000)


class SourceConformance:
    """Derive from it, call the class ``Test...``, and give `make_source` and `alter`.

    The data must have at least four records; some that are rejected make the suite stronger.
    """

    def make_source(self, folder: Path) -> Source:
        """A new source over the same data as ever, which may be put into ``folder``."""
        raise NotImplementedError

    def alter(self, folder: Path) -> None:
        """Makes the data of `make_source` in ``folder`` another than it was at its first record.

        A later `make_source` must leave it so.
        """
        raise NotImplementedError

    def test_the_same_records_come_again_from_the_start(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        first = _records(source.read(None, size=2))

        expect(len(first[0]) + len(first[1]) > 3, "the data of the suite has at least four records")
        expect_equal(_records(source.read(None, size=2)), first, "the same source gives the same records")
        again = self.make_source(tmp_path)
        expect_equal(_records(again.read(None, size=2)), first, "a new source gives the same records")

    def test_the_size_of_a_batch_changes_no_record(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        expected = _records(source.read(None, size=1))

        for size in _SIZES:
            batches = list(source.read(None, size=size))
            expect_equal(_records(batches), expected, f"batches of {size} hold the same records")
            for batch in batches:
                expect(len(batch.rows) + len(batch.rejected) <= size, f"no batch has more than {size} records")

    def test_reading_on_after_any_batch_gives_the_remaining_records(self, tmp_path: Path) -> None:
        for size in _SIZES:
            batches = list(self.make_source(tmp_path).read(None, size=size))
            for count, batch in enumerate(batches, start=1):
                kept = json.loads(json.dumps(dict(batch.end.cursor)))
                start = SourcePosition(next_row=batch.end.next_row, cursor=kept)
                rest = _records(self.make_source(tmp_path).read(start, size=2))
                expect_equal(rest, _records(batches[count:]), f"after batch {count} of size {size} comes the rest")

    def test_reading_on_ends_where_reading_from_the_start_ends(self, tmp_path: Path) -> None:
        batches = list(self.make_source(tmp_path).read(None, size=2))

        rest = list(self.make_source(tmp_path).read(batches[0].end, size=3))

        expect_equal(rest[-1].end, batches[-1].end, "both ways end at the same position")

    def test_every_record_has_the_next_index(self, tmp_path: Path) -> None:
        next_row = 0
        for batch in self.make_source(tmp_path).read(None, size=3):
            indexes = sorted([*batch.indexes, *(r.index for r in batch.rejected)])
            expect_equal(indexes, list(range(next_row, next_row + len(indexes))), "indexes go on without a gap")
            next_row += len(indexes)
            expect_equal(batch.end.next_row, next_row, "the position after a batch has the next index")

    def test_columns_of_a_batch_belong_together_and_lines_go_up(self, tmp_path: Path) -> None:
        line = 0
        for batch in self.make_source(tmp_path).read(None, size=3):
            expect_equal(len(batch.indexes), len(batch.rows), "each row has an index")
            expect_equal(len(batch.lines), len(batch.rows), "each row has a line")
            placed = [*zip(batch.indexes, batch.lines, strict=True), *((r.index, r.line) for r in batch.rejected)]
            for _, at in sorted(placed):
                expect(at > line, f"line {at} comes after line {line}")
                line = at

    def test_rows_have_the_fields_that_the_source_declares(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        fields = source.fields()

        for row in _rows(source):
            expect(set(fields.names) <= set(row), f"the row {row} has every declared field")
            expect(fields.is_open or set(row) <= set(fields.names), f"the row {row} has no other field")

    def test_rows_come_back_from_their_bytes(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        codec = RowCodec(source.fields())

        for row in _rows(source):
            back = codec.decode(codec.encode(row))
            expect_equal(repr(back), repr(row), "a row comes back with its types and its order")

    def test_a_source_that_has_changed_is_refused(self, tmp_path: Path) -> None:
        begun = next(iter(self.make_source(tmp_path).read(None, size=2)))
        self.alter(tmp_path)

        try:
            rest = list(self.make_source(tmp_path).read(begun.end, size=2))
        except SourceError as refusal:
            expect(bool(refusal.hint), "a refusal carries a hint")
        else:
            raise AssertionError(f"a changed source is read on: {rest!r:.200}")


def _rows(source: Source) -> list[Row]:
    return [row for batch in source.read(None, size=100) for row in batch.rows]


def _records(
    batches: Iterable[SourceBatch],
) -> tuple[list[tuple[int, int, str]], list[RejectedRow]]:
    """Rows with index and line, and rejected records. As text, or 1 would equal True and 1.0."""
    rows: list[tuple[int, int, str]] = []
    rejected: list[RejectedRow] = []
    for batch in batches:
        rows.extend(zip(batch.indexes, batch.lines, map(repr, batch.rows), strict=True))
        rejected.extend(batch.rejected)
    return rows, rejected
