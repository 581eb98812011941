from __future__ import annotations

from elspeth.core.landscape import Slot
from elspeth.engine.sharing import Sharing

SLOT = Slot(2, 5, 0, 0, 9, bytes(32))


def test_a_line_belongs_to_the_row_that_it_names() -> None:
    sharing = Sharing({3: 17})

    assert 17 == sharing.owner(40, 3)
    assert 40 == sharing.owner(40, 4)


def test_only_a_shared_line_is_found_again_at_the_next_attempt() -> None:
    sharing = Sharing({3: 17})
    assert sharing.next_slot(3) is None
    sharing.asked_again(3, SLOT)
    sharing.asked_again(4, SLOT)

    assert SLOT == sharing.next_slot(3)
    assert sharing.next_slot(4) is None
