"""What only a person can know of a batch: which job is ours, or that one is lost.

Both are recorded with who said so. A job is adopted only when the provider itself says
that it works on the batch's file; a batch is declared lost only when nothing else can
be found out, since its rows are then paid for again.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable

from msgspec import Struct

from elspeth.contracts import BatchPhase, BatchProvider, CallScope, NotFoundError, UsageError
from elspeth.core.landscape import LandscapeRecorder
from elspeth.engine.batch import Batch
from elspeth.engine.batches import Batches
from elspeth.engine.plan import Plan, Step

__all__ = ["Decisions", "person", "take_decisions"]


class Decisions(Struct, frozen=True, kw_only=True):
    """What the person at the command line decided: a job's id at the provider, numbers of batches.

    ``cancel_now`` cancels the jobs that are with the provider and sends nothing more; ``cancel_on_stop`` cancels
    them when the process is asked to stop.
    """

    adopt: str | None = None
    lost: tuple[int, ...] = ()
    cancel_now: bool = False
    cancel_on_stop: bool = False


def take_decisions(
    decisions: Decisions,
    *,
    plan: Plan,
    batches: Batches,
    recorder: LandscapeRecorder,
    providers: Callable[[Step], BatchProvider],
) -> None:
    """Records and applies the decisions; raises `UsageError` for one that does not fit any batch."""
    who = person()
    for number in decisions.lost:
        _declare_lost(_undecided(batches, number), batches, who)
    if decisions.adopt is not None:
        _adopt(decisions.adopt, plan=plan, batches=batches, recorder=recorder, providers=providers, who=who)


def person() -> str:
    """Who decides: the user of this process, on this machine; by number where the user has no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the one before Python 3.13, the other since
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _undecided(batches: Batches, number: int) -> Batch:
    batch = batches.live.get(number)
    if batch is None or not (_waits_for_a_person(batch) or batch.is_extra):
        waiting = [str(one.number) for one in batches.live.values() if _waits_for_a_person(one)]
        raise UsageError(
            f"batch {number} is not lost",
            hint=f"A decision is due for: {', '.join(waiting)}." if waiting else "No batch waits for a decision.",
        )
    return batch


def _waits_for_a_person(batch: Batch) -> bool:
    return batch.phase is BatchPhase.LOST or (batch.phase is BatchPhase.READY and batch.unsure is not None)


def _declare_lost(batch: Batch, batches: Batches, who: str) -> None:
    """A job that never was is created again; a job without results leaves its rows unanswered.

    Of a job too many, whose end does not come, nobody waits any longer to learn what it cost.
    """
    if batch.phase is BatchPhase.READY:
        again = {"unsure": None, "tries": 0, "sends": 0, "next_at": 0, "lost_jobs": batch.lost_jobs + 1}
        again |= {"is_cancel_due": False, "cancelled_by": None}
        batches.note(batch, "declared_lost", BatchPhase.READY, {"who": who, **again})
        return
    fault = {"code": "declared_lost", "message": f"its results were declared lost by {who}"}
    here = batch.downloads
    detail = {
        "who": who,
        "faults": [fault],
        "output_file_id": batch.output_file_id if "output" in here else None,
        "error_file_id": batch.error_file_id if "error" in here else None,
        "next_at": 0,
        "lost_jobs": batch.lost_jobs + 1,
    }
    batches.note(batch, "declared_lost", BatchPhase.ENDED, detail)


def _adopt(
    batch_id: str,
    *,
    plan: Plan,
    batches: Batches,
    recorder: LandscapeRecorder,
    providers: Callable[[Step], BatchProvider],
    who: str,
) -> None:
    for batch in list(batches.live.values()):
        if not _waits_for_a_person(batch):
            continue
        with recorder.calls.on_behalf_of(CallScope(node_no=batch.node_no, batch_no=batch.number)):
            try:
                facts = providers(plan.steps[batch.node_no]).batch(batch_id)
            except NotFoundError:
                continue
        if facts.input_file_id == batch.file_id:
            anew = {"unsure": None, "tries": 0, "sends": 0, "looks": 0, "next_at": 0}
            anew |= {"created_at": batch.created_at or recorder.journal.clock.now_us()}
            anew |= {"is_cancel_due": False, "cancelled_by": None}
            batches.note(batch, "adopted_by_person", BatchPhase.CREATED, {"who": who, "batch_id": facts.id, **anew})
            return
    raise UsageError(
        f"no batch that waits for a decision is the job {batch_id!r}",
        hint="A job is adopted when the provider knows it and it works on the batch's file; see `elspeth status`.",
    )
