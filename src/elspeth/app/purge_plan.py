"""Which runs a purge would take, what would go of each, and why another one is kept.

Looking costs a few records a run: no row is read, however many there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct

from elspeth.contracts import ElspethError, PayloadClass, RunStatus, UsageError, iso_time
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.removal import ClassFiles, classes_of, files_of, unknown_files
from elspeth.core.landscape.retention import (
    Keeping,
    count_remote_batches,
    grade_of,
    is_sealed,
    keeping_of,
    last_event_at,
)

__all__ = ["Kept", "Plan", "Planned", "Reason", "Wanted", "plan_purge", "plan_run"]

_US_A_DAY = 86_400_000_000


class Reason(Enum):
    """Why a run is not purged though it was asked for; the value is the word in JSON."""

    HELD = "held"
    BUSY = "busy"
    REMOTE = "remote"
    UNFINISHED = "unfinished"
    YOUNG = "young"
    PURGED = "purged"
    NOTHING = "nothing"


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be purged: named ``runs``, or all that are old enough.

    ``older_than_us`` counts from a run's last event; without it and without names, a run is old enough when its own
    pipeline says so (`payloads.retention_days`). ``unfinished`` takes runs that did not complete and that nobody
    named; ``only_begun`` takes nothing but what an earlier purge has left undone.
    """

    runs: tuple[str, ...] = ()
    older_than_us: int | None = None
    classes: tuple[PayloadClass, ...] = tuple(PayloadClass)
    unfinished: bool = False
    only_begun: bool = False


class Planned(Struct, frozen=True, kw_only=True):
    """What would go of a run: ``new`` classes, and ``begun`` ones that an earlier purge has left undone.

    ``unknown`` files are in the folder and not in the trail: they stay. The answers of ``remote`` batches are given
    up. ``grade`` is what the run's trail is good for now; afterwards it is attributable. ``is_unsealed``: an earlier
    purge died before the seal of its last record.
    """

    run: RunHeader
    status: RunStatus
    last_at: int
    grade: str
    new: tuple[ClassFiles, ...]
    begun: tuple[ClassFiles, ...]
    unknown: int
    remote: int
    is_unsealed: bool

    @property
    def parts(self) -> tuple[ClassFiles, ...]:
        """All that would go, by class."""
        return tuple(sorted((*self.begun, *self.new), key=lambda one: one.payload_class))


class Kept(Struct, frozen=True, kw_only=True):
    """A run that is not purged, and why: in a word, and in words."""

    run: RunHeader
    reason: Reason
    message: str


class Plan(Struct, frozen=True, kw_only=True):
    """What would be purged, what is kept though it was asked for, and what cannot even be looked at."""

    planned: Sequence[Planned]
    kept: Sequence[Kept]
    failed: Sequence[tuple[RunHeader, ElspethError]]


def plan_purge(reader: LandscapeReader, wanted: Wanted, *, now_us: int) -> Plan:
    """Looks at every run that is meant. Raises `UsageError` when one that was named must not be purged."""
    planned: list[Planned] = []
    kept: list[Kept] = []
    failed: list[tuple[RunHeader, ElspethError]] = []
    for run in _candidates(reader, wanted):
        try:
            found = plan_run(reader, run, wanted, now_us=now_us)
        except ElspethError as error:
            failed.append((run, error))
            continue
        if isinstance(found, Planned):
            planned.append(found)
        elif found is not None:
            _require_allowed(found, wanted)
            kept.append(found)
    return Plan(planned=planned, kept=kept, failed=failed)


def plan_run(
    reader: LandscapeReader, run: RunHeader, wanted: Wanted, *, now_us: int, is_locked: bool = False
) -> Planned | Kept | None:
    """What would go of one run, or why nothing would; None when nobody would expect it to.

    ``is_locked``: whoever asks holds the run's lock.
    """
    keeping = keeping_of(reader, run)
    status, _ = reader.status(run.run_no)
    last_at = last_event_at(reader, run)
    present = classes_of(reader, run)
    new: list[PayloadClass] = []
    if not wanted.only_begun and _is_old_enough(run, last_at, wanted, now_us):
        new = [one for one in wanted.classes if one in present and one not in keeping.begun]
    is_unsealed = bool(keeping.begun) and not is_sealed(reader, run)
    if not new and not keeping.unfinished and not is_unsealed:
        return _nothing(run, keeping, last_at, wanted, has_any=bool(present)) if wanted.runs else None
    if not is_locked and RunLock(reader.database.parent, run.run_id).is_held:
        return Kept(run=run, reason=Reason.BUSY, message=f"run {run.run_id} is being worked on")
    remote = 0 if status is RunStatus.COMPLETED else count_remote_batches(reader, run)
    kept = _held(run, keeping) or (_not_at_its_end(run, status, wanted, remote=remote) if new else None)
    if kept is not None and (kept.reason is Reason.HELD or not keeping.unfinished):
        return kept
    files = files_of(reader, run) if new or keeping.unfinished else {}
    return Planned(
        run=run,
        status=status,
        last_at=last_at,
        grade=grade_of(reader, run),
        new=() if kept is not None else tuple(files[one] for one in new),
        begun=tuple(files[one] for one in keeping.unfinished),
        unknown=unknown_files(run, tuple(files.values())) if files else 0,
        remote=remote,
        is_unsealed=is_unsealed,
    )


def _candidates(reader: LandscapeReader, wanted: Wanted) -> Iterator[RunHeader]:
    """The runs that were named, each once, or all, the oldest first."""
    if wanted.runs:
        named = {run.run_no: run for run in map(reader.run, wanted.runs)}
        yield from named.values()
        return
    for (run_no,) in reader.query("SELECT run_no FROM runs ORDER BY run_no"):
        yield reader.run_numbered(run_no)


def _is_old_enough(run: RunHeader, last_at: int, wanted: Wanted, now_us: int) -> bool:
    if wanted.older_than_us is not None:
        return last_at <= now_us - wanted.older_than_us
    if wanted.runs:
        return True
    days = json.loads(run.config_json).get("payloads", {}).get("retention_days")
    return days is not None and last_at <= now_us - int(days) * _US_A_DAY


def _held(run: RunHeader, keeping: Keeping) -> Kept | None:
    hold = keeping.hold
    if hold is None:
        return None
    message = f"run {run.run_id} is held since {iso_time(hold.at)[:10]} by {hold.who}: {hold.why}"
    return Kept(run=run, reason=Reason.HELD, message=message)


def _not_at_its_end(run: RunHeader, status: RunStatus, wanted: Wanted, *, remote: int) -> Kept | None:
    """Why a run that did not complete is kept: somebody may still go on with it, or have paid for what is remote."""
    if status is RunStatus.COMPLETED:
        return None
    if remote and (status is RunStatus.PENDING or not wanted.runs):
        batches = f"{remote} batch{'es' if remote != 1 else ''}"
        message = f"run {run.run_id} is {status.word}, and {batches} may still be with the provider"
        return Kept(run=run, reason=Reason.REMOTE, message=message)
    if wanted.runs or wanted.unfinished:
        return None
    message = f"run {run.run_id} is {status.word} and could go on: name it, or give --unfinished"
    return Kept(run=run, reason=Reason.UNFINISHED, message=message)


def _nothing(run: RunHeader, keeping: Keeping, last_at: int, wanted: Wanted, *, has_any: bool) -> Kept:
    """Why nothing would go of a run that was named."""
    if not has_any:
        return Kept(run=run, reason=Reason.NOTHING, message=f"run {run.run_id} has no payloads")
    if wanted.only_begun:
        return Kept(run=run, reason=Reason.NOTHING, message=f"run {run.run_id}: no purge was left undone")
    gone = [mark for mark in keeping.marks if mark.payload_class in wanted.classes]
    if gone:
        words = ", ".join(f"{mark.payload_class.word} {mark}" for mark in gone)
        return Kept(run=run, reason=Reason.PURGED, message=f"run {run.run_id}: {words}")
    if wanted.older_than_us is None:
        return Kept(run=run, reason=Reason.NOTHING, message=f"run {run.run_id} has no payloads of that class")
    message = f"run {run.run_id} is too young: its last event was on {iso_time(last_at)[:10]}"
    return Kept(run=run, reason=Reason.YOUNG, message=message)


def _require_allowed(kept: Kept, wanted: Wanted) -> None:
    """Raises `UsageError` for a run that must not be purged though somebody named it: nothing is purged at all."""
    if not wanted.runs:
        return
    match kept.reason:
        case Reason.HELD:
            hint = f"Nothing was deleted. A hold is ended by: elspeth hold {kept.run.run_id} --release --why TEXT"
        case Reason.REMOTE:
            hint = f"Nothing was deleted. Go on with it, or: elspeth resume {kept.run.run_id} --cancel-remote"
        case _:
            return
    raise UsageError(kept.message, hint=hint)
