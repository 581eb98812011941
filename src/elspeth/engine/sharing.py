"""Rows that share request lines of one batch: whose line it is, and where it stands when it is sent again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from elspeth.contracts import FileRole, TrailError
from elspeth.core.landscape import Slot
from elspeth.core.landscape.request_lines import asked_by
from elspeth.engine.batch import Batch
from elspeth.engine.ledger import Ledger

__all__ = ["Sharing"]


class Sharing(Struct, frozen=True):
    """What a harvest knows of the lines that several rows share, by their place in the request file.

    ``owners`` are the rows that the lines name; ``again`` is filled as the harvest goes on.
    """

    owners: Mapping[int, int] = field(default_factory=dict)
    again: dict[int, Slot] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, ledger: Ledger) -> Sharing:
        """From the trail, where an interrupted harvest of the same batch has left its part."""
        owners = dict(_owners(batch, ledger))
        return cls(owners, dict(_asked_again(batch, ledger)) if owners else {})

    def owner(self, row: int, position: int) -> int:
        """The row by which the line of ``row`` is asked: itself, unless it shares the line of another one."""
        return self.owners.get(position, row)

    def next_slot(self, position: int) -> Slot | None:
        """Where the line stands at the next attempt, once a row that shares it was asked again."""
        return self.again.get(position)

    def asked_again(self, position: int, slot: Slot) -> None:
        """Notes where; lines that nobody shares need no note."""
        if position in self.owners:
            self.again[position] = slot


def _owners(batch: Batch, ledger: Ledger) -> Iterator[tuple[int, int]]:
    """Place and owner of each line that several rows share."""
    segment = ledger.payloads.segment(batch.segment_no)
    for position, start, length in ledger.reader.stream(
        "SELECT position, start, length FROM batch_members WHERE run_no = ? AND row_index BETWEEN ? AND ? "
        "AND batch_no = ? AND role = ? GROUP BY position HAVING COUNT(*) > 1 ORDER BY position",
        ledger.run.run_no,
        batch.first_row,
        batch.last_row,
        batch.number,
        FileRole.REQUEST.value,
    ):
        named = asked_by(segment.read(start, length))
        if named is None:
            raise TrailError(f"batch {batch.number}: line {position + 1} is shared, and names no row")
        yield position, named[0]


def _asked_again(batch: Batch, ledger: Ledger) -> Iterator[tuple[int, Slot]]:
    """Where lines of the batch stand at the next attempt, as far as they were put there."""
    for position, *slot in ledger.reader.stream(
        "SELECT m.position, r.batch_no, r.segment_no, r.position, r.start, r.length, r.line_hash "
        "FROM batch_members m JOIN batches b ON b.run_no = m.run_no AND b.parent_no = m.batch_no "
        "JOIN batch_members r ON r.run_no = m.run_no AND r.row_index = m.row_index AND r.path = m.path "
        "AND r.batch_no = b.batch_no AND r.role = m.role "
        "WHERE m.run_no = ? AND m.row_index BETWEEN ? AND ? AND m.batch_no = ? AND m.role = ?",
        ledger.run.run_no,
        batch.first_row,
        batch.last_row,
        batch.number,
        FileRole.REQUEST.value,
    ):
        yield position, Slot(*slot)
