"""How long a run's payloads are kept: what was decided and done, as recorded in `purges`.

    held       until ``released`` nothing of the run is deleted
    purging    the intent: durable and sealed before the first file goes; from then on the class counts as gone
    purged     every file of the class is gone

A purge that died in between has its intent, and is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from elspeth.contracts import BatchPhase, PayloadClass, PurgeAction, PurgedError, PurgeMark
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.journal import Journal
from elspeth.core.landscape.reader import LandscapeReader, RunHeader, read_json, read_word
from elspeth.core.landscape.seals import SealFolder

__all__ = [
    "Keeping",
    "Purge",
    "add_purge",
    "count_remote_batches",
    "grade_of",
    "is_sealed",
    "keeping_of",
    "last_event_at",
    "purged_classes",
    "purges_of",
    "require_unpurged",
]

_REMOTE = (BatchPhase.UPLOADED, BatchPhase.READY, BatchPhase.CREATED, BatchPhase.ENDED, BatchPhase.LOST)
"""Phases in which the provider has, or may have, what is not fetched yet and may be paid for."""


class Purge(Struct, frozen=True, kw_only=True):
    """One record of `purges`; ``at`` is microseconds since the epoch, only a purge has a class.

    ``detail`` counts the files and bytes of a purge, as they were when it was begun.
    """

    event_no: int
    at: int
    action: PurgeAction
    payload_class: PayloadClass | None
    who: str
    why: str
    detail: Mapping[str, int] = field(default_factory=dict)


class Keeping(Struct, frozen=True, kw_only=True):
    """Where a run stands: the hold on it, if any, the purges that were begun, by class, and the classes that are gone.

    Holds do not add up: one release ends them all.
    """

    hold: Purge | None
    begun: Mapping[PayloadClass, Purge]
    done: frozenset[PayloadClass]

    @property
    def unfinished(self) -> tuple[PayloadClass, ...]:
        """The classes whose purge was begun and has not come to its end."""
        return tuple(one for one in self.begun if one not in self.done)

    @property
    def marks(self) -> tuple[PurgeMark, ...]:
        """What was purged, in the order in which that was begun."""
        return tuple(
            PurgeMark(at=purge.at, by=purge.who, why=purge.why, payload_class=payload_class)
            for payload_class, purge in self.begun.items()
        )


def purges_of(reader: LandscapeReader, run: RunHeader) -> list[Purge]:
    """Every record about the keeping of a run's payloads, in order."""
    found = []
    for event_no, at, action, payload_class, who, why, detail in reader.query(
        "SELECT event_no, at, action, class, who, why, detail_json FROM purges WHERE run_no = ? ORDER BY event_no",
        run.run_no,
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
                detail=read_json(detail, place),
            )
        )
    return found


def purged_classes(reader: LandscapeReader, run: RunHeader) -> frozenset[PayloadClass]:
    """The classes whose bytes may be gone: the intent to purge them is sealed, as it is before the first file goes."""
    found = reader.query(
        "SELECT class FROM purges WHERE run_no = ?1 AND action = ?2 AND class IS NOT NULL AND commit_no < "
        "(SELECT COALESCE(MAX(tree_size), 0) FROM seals WHERE run_no = ?1)",
        run.run_no,
        PurgeAction.PURGING.value,
    )
    return frozenset(read_word(PayloadClass, payload_class, f"purges {run.run_no}") for (payload_class,) in found)


def keeping_of(reader: LandscapeReader, run: RunHeader) -> Keeping:
    """Where a run stands, from its records."""
    hold: Purge | None = None
    begun: dict[PayloadClass, Purge] = {}
    done: set[PayloadClass] = set()
    for purge in purges_of(reader, run):
        match purge.action:
            case PurgeAction.HELD:
                hold = purge
            case PurgeAction.RELEASED:
                hold = None
            case PurgeAction.PURGING if purge.payload_class is not None:
                begun.setdefault(purge.payload_class, purge)
            case PurgeAction.PURGED if purge.payload_class is not None:
                done.add(purge.payload_class)
    return Keeping(hold=hold, begun=begun, done=frozenset(done))


def grade_of(reader: LandscapeReader, run: RunHeader) -> str:
    """What the trail of a run is good for, as `v_runs` says."""
    ((grade,),) = reader.query("SELECT grade FROM v_runs WHERE run_id = ?", run.run_id)
    return str(grade)


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


def require_unpurged(reader: LandscapeReader, run: RunHeader) -> None:
    """Raises `PurgedError` for a run that nobody can go on with, since bytes that it needs are gone."""
    for mark in keeping_of(reader, run).marks:
        raise PurgedError(f"run {run.run_id} cannot go on", mark)


def is_sealed(reader: LandscapeReader, run: RunHeader) -> bool:
    """Whether the last seal of a run covers all of its commits, and stands in its file too."""
    ((commits,),) = reader.query("SELECT COUNT(*) FROM commits WHERE run_no = ?", run.run_no)
    ((size,),) = reader.query("SELECT MAX(tree_size) FROM seals WHERE run_no = ?", run.run_no)
    return size == commits and SealFolder.beside(reader.database).has_all(reader, run)


def last_event_at(reader: LandscapeReader, run: RunHeader) -> int:
    """When something happened to a run last, holds and purges aside; in microseconds since the epoch."""
    ((at,),) = reader.query("SELECT MAX(at) FROM run_events WHERE run_no = ?", run.run_no)
    return run.started_at if at is None else int(at)


def count_remote_batches(reader: LandscapeReader, run: RunHeader) -> int:
    """How many batches of a run are, or may be, with the provider, or have answers there that nobody has fetched."""
    phases = reader.query(
        "SELECT batch_no, (SELECT e.phase FROM batch_events e WHERE e.run_no = b.run_no AND e.batch_no = b.batch_no "
        "ORDER BY e.event_no DESC LIMIT 1) FROM batches b WHERE b.run_no = ?",
        run.run_no,
    )
    return sum(
        phase is not None and read_word(BatchPhase, phase, f"batch_events {run.run_no}/{batch_no}") in _REMOTE
        for batch_no, phase in phases
    )
