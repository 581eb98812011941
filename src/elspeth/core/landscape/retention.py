"""How long a run's payloads are kept: what was decided and done, as recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth.contracts import PayloadClass, PurgeAction
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.journal import Journal
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_word

__all__ = ["Purge", "add_purge", "purged_classes", "purges_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One record of `purges`; ``at`` is microseconds since the epoch, only a purge has a class."""

    event_no: int
    at: int
    action: PurgeAction
    payload_class: PayloadClass | None
    who: str
    why: str


def purges_of(reader: LandscapeReader, run: RunHeader) -> list[Purge]:
    """Every record about the keeping of a run's payloads, in order."""
    found = []
    for event_no, at, action, payload_class, who, why in reader.query(
        "SELECT event_no, at, action, class, who, why FROM purges WHERE run_no = ? ORDER BY event_no", run.run_no
    ):
        place = f"purges {run.run_no}/{event_no}"
        found.append(
            Purge(
                event_no=event_no,
                at=at,
                action=read_word(PurgeAction, action, place),
                payload_class=None if payload_class is None else read_word(PayloadClass, payload_class, place),
                who=who,
                why=why,
            )
        )
    return found


def purged_classes(reader: LandscapeReader, run: RunHeader) -> frozenset[PayloadClass]:
    """The classes of which a purge was begun: their bytes may be gone."""
    begun = {PurgeAction.PURGING, PurgeAction.PURGED}
    return frozenset(
        purge.payload_class
        for purge in purges_of(reader, run)
        if purge.action in begun and purge.payload_class is not None
    )


def add_purge(
    journal: Journal,
    action: PurgeAction,
    *,
    who: str,
    why: str,
    payload_class: PayloadClass | None = None,
    detail: Mapping[str, int] | None = None,
) -> None:
    """Gathers a record about the keeping of the run's payloads; ``detail`` counts files and bytes."""
    journal.add(
        "purges",
        event_no=journal.counters.purge_no,
        at=journal.clock.now_us(),
        action=action.value,
        **{"class": None if payload_class is None else payload_class.value},
        who=who,
        why=why,
        detail_json=None if detail is None else compact_json(detail),
    )
    journal.counters.purge_no += 1
