"""Purging and holding, under each run's lock.

    lock the run, look again -> record the intent, seal it -> delete -> record that it is done, seal that

A death anywhere in it leaves an intent without its end; the next purge takes it up. One file that
cannot be deleted does not keep the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct

from elspeth.app.purge_plan import Kept, Plan, Planned, Reason, Wanted, plan_run
from elspeth.app.sealing import signing_for
from elspeth.contracts import Clock, ElspethError, PurgeAction, RunError, UsageError
from elspeth.core.landscape import Journal, LandscapeReader, RunHeader, open_journal
from elspeth.core.landscape.locks import RunLock
from elspeth.core.landscape.removal import delete_files
from elspeth.core.landscape.retention import Purge, add_purge, keeping_of
from elspeth.engine.decisions import person

__all__ = ["Keeper", "Outcome", "Taken", "carry_out", "held_runs"]


class Taken(Struct, frozen=True, kw_only=True):
    """A run that was purged, or would be; ``faults`` tell of files that could not be deleted."""

    planned: Planned
    faults: Sequence[RunError] = ()


class Outcome(Struct, frozen=True, kw_only=True):
    """What a purge came to, or would: the runs taken, those kept though asked for, and those that failed."""

    is_done: bool
    taken: Sequence[Taken]
    kept: Sequence[Kept]
    failed: Sequence[tuple[RunHeader, ElspethError]]

    @classmethod
    def of_plan(cls, plan: Plan) -> Outcome:
        """What it would come to."""
        taken = [Taken(planned=one) for one in plan.planned]
        return cls(is_done=False, taken=taken, kept=plan.kept, failed=plan.failed)


def carry_out(plan: Plan, wanted: Wanted, *, keeper: Callable[[], Keeper], why: str | None) -> Outcome:
    """Purges what was planned, run by run; one that cannot be does not keep the others.

    A run that was named and is being worked on is tried, so that the error says by whom. The ``keeper`` is made when
    there is work for it.
    """
    busy = [one for one in plan.kept if one.reason is Reason.BUSY and wanted.runs]
    taken: list[Taken] = []
    kept = [one for one in plan.kept if one not in busy]
    failed = list(plan.failed)
    runs = [one.run for one in plan.planned] + [one.run for one in busy]
    if not runs:
        return Outcome(is_done=True, taken=(), kept=kept, failed=failed)
    at_work = keeper()
    for run in runs:
        try:
            found, faults = at_work.purge(run, wanted, why=why)
        except ElspethError as error:
            failed.append((run, error))
            continue
        if isinstance(found, Planned):
            taken.append(Taken(planned=found, faults=faults))
        elif found is not None:
            kept.append(found)
    return Outcome(is_done=True, taken=taken, kept=kept, failed=failed)


class Keeper:
    """Purges and holds runs of one trail; everything that it does is recorded with who and why."""

    def __init__(self, reader: LandscapeReader, *, environ: Mapping[str, str], clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._who = person()
        self._signing = signing_for(reader, environ)
        self._signing.folder.require_current(reader)

    def purge(self, run: RunHeader, wanted: Wanted, *, why: str | None) -> tuple[Planned | Kept | None, list[RunError]]:
        """Purges one run and returns what went, with what could not be deleted.

        It is looked at again under its lock: a hold or a resume may have come in between. Raises `BusyError` when
        another process holds it, `UsageError` when a reason is wanted.
        """
        with self._lock(run):
            found = plan_run(self._reader, run, wanted, now_us=self._clock.now_us(), is_locked=True)
            if not isinstance(found, Planned):
                return found, []
            if found.new and why is None:
                raise UsageError("a purge needs --why TEXT", hint="It is recorded, and shown in place of the bytes.")
            with self._journal(run) as journal:
                return found, self._purge(journal, found, why or "")

    def _purge(self, journal: Journal, planned: Planned, why: str) -> list[RunError]:
        for one in planned.new:
            detail = {"files": one.files, "bytes": one.bytes}
            add_purge(
                journal, PurgeAction.PURGING, who=self._who, why=why, payload_class=one.payload_class, detail=detail
            )
        if planned.new:
            journal.commit_durably(seal="purge")
        begun = keeping_of(self._reader, planned.run).begun
        faults: list[RunError] = []
        for one in (*planned.begun, *planned.new):
            found = delete_files(planned.run, one.names)
            if not found:
                intent = begun[one.payload_class]
                add_purge(
                    journal,
                    PurgeAction.PURGED,
                    who=self._who,
                    why=intent.why,
                    payload_class=one.payload_class,
                    detail=intent.detail,
                )
            faults += found
        if journal.has_records:
            journal.commit_durably(seal="purged")
        elif planned.is_unsealed:
            journal.seal("purged")
            journal.drain()
        return faults

    def hold(self, run: RunHeader, *, why: str) -> None:
        """Forbids purging a run. A second hold takes the place of the first."""
        with self._lock(run), self._journal(run) as journal:
            self._record(journal, PurgeAction.HELD, why)

    def release(self, run: RunHeader, *, why: str) -> Purge:
        """Ends the hold on a run, and returns the hold that was. Raises `UsageError` when there is none."""
        with self._lock(run), self._journal(run) as journal:
            hold = keeping_of(self._reader, run).hold
            if hold is None:
                raise UsageError(f"run {run.run_id} is not held", hint="`elspeth hold` lists the runs that are.")
            self._record(journal, PurgeAction.RELEASED, why)
        return hold

    def _record(self, journal: Journal, action: PurgeAction, why: str) -> None:
        add_purge(journal, action, who=self._who, why=why)
        journal.commit_durably(seal=action.word)

    def _lock(self, run: RunHeader) -> RunLock:
        return RunLock(self._reader.database.parent, run.run_id)

    @contextmanager
    def _journal(self, run: RunHeader) -> Iterator[Journal]:
        """The run's journal; its commits repeat the frontier that a resume starts from."""
        journal = open_journal(self._reader, run, clock=self._clock, signing=self._signing)
        last = self._reader.frontier(run.run_no)
        journal.checkpoint_with(lambda: last, {})
        try:
            yield journal
        finally:
            journal.close()


def held_runs(reader: LandscapeReader) -> Iterator[tuple[RunHeader, Purge]]:
    """The runs that are held, the oldest first, each with its hold."""
    for (run_no,) in reader.query("SELECT DISTINCT run_no FROM purges ORDER BY run_no"):
        run = reader.run_numbered(run_no)
        hold = keeping_of(reader, run).hold
        if hold is not None:
            yield run, hold
