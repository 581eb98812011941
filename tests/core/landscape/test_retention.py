"""What is kept, what is held, what is purged, and what the trail says of it."""

from __future__ import annotations

from tests.core.landscape.conftest import Trail

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.landscape.retention import Purge, add_purge, purges_of

START = 1_704_067_200_000_000


def test_holds_and_purges_are_read_back_in_order_by_run(trail: Trail) -> None:
    runs = [trail.new_run(), trail.new_run()]
    for number, run in enumerate(runs):
        journal = trail.recorder(run).journal
        add_purge(journal, PurgeAction.HELD, who="ana@host", why=f"inquiry {number}")
        add_purge(journal, PurgeAction.PURGED, who="bo@host", why="90 days", payload_class=PayloadClass.ROWS)
        journal.commit_durably()

    assert [
        Purge(event_no=0, at=START, action=PurgeAction.HELD, payload_class=None, who="ana@host", why="inquiry 1"),
        Purge(
            event_no=1,
            at=START,
            action=PurgeAction.PURGED,
            payload_class=PayloadClass.ROWS,
            who="bo@host",
            why="90 days",
        ),
    ] == purges_of(trail.reader(), runs[1])
