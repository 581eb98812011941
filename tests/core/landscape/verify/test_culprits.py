"""The first wrong record of a commit, led to by its hints."""

from __future__ import annotations

import pytest

from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hashes
from elspeth.core.landscape.recorded_leaves import Leaf
from elspeth.core.landscape.verify.culprits import Suspects, first_wrong
from elspeth.core.landscape.verify.findings import Finding

NONCE = bytes(range(32))


def leaf(row: int, *, text: str | None = None) -> Leaf:
    return Leaf(7, row, (row, b""), [("rows", text or f'["rows",{row}]\n')], is_token=True)


WRITTEN = [leaf(row) for row in range(5)]
HINTS = b"".join(digest[:HINT_BYTES] for digest in leaf_hashes(NONCE, [one.text for one in WRITTEN]))


def found(
    leaves: list[Leaf], *, wrong: frozenset[str] = frozenset({"rows"}), nonce: bytes = NONCE, hints: bytes = HINTS
) -> Finding:
    return first_wrong(Suspects(commit_no=7, leaves=leaves, hints=hints, nonce=nonce, wrong_tables=wrong))


@pytest.mark.parametrize("row", range(5))
def test_a_changed_record_is_named(row: int) -> None:
    leaves = [*WRITTEN[:row], leaf(row, text="other"), *WRITTEN[row + 1 :]]

    assert Finding("rows", f"row {row}", "it is not what was recorded (commit 7)") == found(leaves)


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("count", [1, 2])
def test_missing_records_are_missed_where_they_were(row: int, count: int) -> None:
    leaves = [*WRITTEN[:row], *WRITTEN[row + count :]]
    place = f"after rows row {row - 1}" if row else "at its beginning"

    assert Finding("rows", f"commit 7, {place}", "a record is missing") == found(leaves)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("count", [1, 3])
def test_records_that_were_added_are_named(place: int, count: int) -> None:
    added = [leaf(50 + number) for number in range(count)]
    leaves = [*WRITTEN[:place], *added, *WRITTEN[place:]]

    assert Finding("rows", "row 50", "it was not in the commit (commit 7)") == found(leaves)


def test_a_commit_whose_records_are_all_gone() -> None:
    assert Finding("rows", "commit 7, at its beginning", "a record is missing") == found([])


def test_records_that_changed_places_are_found_at_the_first() -> None:
    leaves = [WRITTEN[0], WRITTEN[3], WRITTEN[2], WRITTEN[1], WRITTEN[4]]

    assert "row 3" == found(leaves).place


def test_with_every_line_as_it_was_the_commit_itself_is_wrong() -> None:
    nothing: frozenset[str] = frozenset()

    assert "its nonce was changed" in found(WRITTEN, wrong=nothing, nonce=bytes(32)).message
    assert "its root or its number of leaves" in found(WRITTEN, wrong=nothing).message
    assert {("commits", "7")} == {
        (one.where, one.place)
        for one in (found(WRITTEN, wrong=nothing), found(WRITTEN, wrong=nothing, nonce=bytes(32)))
    }


def test_hints_that_were_made_to_fit_lead_to_the_commit_alone() -> None:
    changed = [*WRITTEN[:4], leaf(4, text="other")]
    hints = b"".join(digest[:HINT_BYTES] for digest in leaf_hashes(NONCE, [one.text for one in changed]))

    assert ("commits", "7") == (found(changed, hints=hints).where, found(changed, hints=hints).place)
