"""What every transform must do, as a suite of tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

from elspeth.contracts import Context, Fields, Row, Transform, TransformResult, bulk_of
from elspeth.core.canonical import RowCodec
from elspeth.testing.expectations import expect, expect_equal
from elspeth.testing.fakes import FakeContext

__all__ = ["TransformConformance"]


class TransformConformance:
    """Derive from it, call the class ``Test...``, and give `make_transform`, `fields` and `rows`."""

    def make_transform(self) -> Transform:
        """A new transform."""
        raise NotImplementedError

    def fields(self) -> Fields:
        """The fields that `rows` have."""
        raise NotImplementedError

    def rows(self) -> Sequence[Row]:
        """Rows that the transform takes, at least one."""
        raise NotImplementedError

    def bad_rows(self) -> Sequence[Row]:
        """Rows for which it has an error."""
        return ()

    def make_context(self) -> Context:
        """The context for one row; it expects no call."""
        return FakeContext()

    def test_the_same_row_gives_the_same_result(self) -> None:
        transform = self.make_transform()
        for row in (*self.rows(), *self.bad_rows()):
            first = repr(self._process(transform, row))
            expect_equal(repr(self._process(transform, row)), first, "the transform keeps nothing of a row")
            expect_equal(repr(self._process(self.make_transform(), row)), first, "a new transform does the same")

    def test_a_result_is_rows_or_an_error(self) -> None:
        transform = self.make_transform()
        expect(len(self.rows()) > 0, "the suite has at least one row")
        for row in self.rows():
            result = self._process(transform, row)
            expect(result.failure is None and len(result.rows) > 0, f"{row} goes on: {result}")
        for row in self.bad_rows():
            result = self._process(transform, row)
            expect(result.failure is not None and not result.rows, f"{row} ends in an error: {result}")
            if result.failure is not None:
                code = result.failure.code
                expect(code.islower() and " " not in code, f"{code!r} is a short lower-case word")
                expect(bool(result.failure.message), "an error says what happened")

    def test_rows_that_come_out_have_the_declared_fields(self) -> None:
        transform = self.make_transform()
        fields = transform.output_fields(self.fields())
        codec = RowCodec(fields)
        for row in self.rows():
            for out in self._process(transform, row).rows:
                expect(
                    fields.is_open or set(out) <= set(fields.names),
                    f"{out} has only fields of {fields.names}",
                )
                expect_equal(repr(codec.decode(codec.encode(out))), repr(out), "a row comes back from its bytes")

    def test_many_rows_at_once_become_what_they_become_one_by_one(self) -> None:
        transform = self.make_transform()
        bulk = bulk_of(transform)
        if bulk is None:
            return
        for rows in (self.rows(), (*self.rows(), *self.bad_rows())):
            before = deepcopy(rows)
            given = deepcopy(rows)
            made = bulk.process_bulk(given)
            if made is None:
                expect_equal(repr(given), repr(before), "rows that are not taken are not changed")
            else:
                single = [self._process(self.make_transform(), row).rows for row in before]
                expect_equal(
                    repr([(row,) for row in made]), repr([tuple(found) for found in single]), "one row of each"
                )

    def test_two_rows_share_nothing_that_can_change(self) -> None:
        transform = self.make_transform()
        for row in self.rows():
            first, second = self._process(transform, row), self._process(transform, row)
            kept = [{id(v) for out in result.rows for v in _containers(out)} for result in (first, second)]
            expect(kept[0].isdisjoint(kept[1]), "a change of one row must not show in another")

    def _process(self, transform: Transform, row: Row) -> TransformResult:
        return transform.process(deepcopy(row), self.make_context())


def _containers(value: object) -> Iterator[object]:
    if isinstance(value, dict | list):
        yield value
        for member in value.values() if isinstance(value, dict) else value:
            yield from _containers(member)
