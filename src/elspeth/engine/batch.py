"""What one batch of requests is: the fold of its events.

`Batch.apply` serves the running engine, a resume and the reports alike, so they
cannot drift apart. Nothing about a batch lives anywhere else.

    open -> sealed -> uploaded -> ready -> created -> ended -> harvested
                                                  \\-> lost (a person decides)

A job too many, found when an answer was lost, is a batch as well: an *extra* one,
without rows, that is cancelled, watched and harvested for nothing but its cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from elspeth.contracts import BatchPhase, RowError, TokenEstimate, TrailError
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.reader import read_json, read_word

__all__ = ["Batch", "custom_id", "fold_batches", "has_counts", "open_intents", "tokens_of", "unanswered"]

_MAY_BE_UNSURE = frozenset({BatchPhase.SEALED, BatchPhase.READY})
INPUT_COUNTS = ("prompt_tokens", "input_tokens")
OUTPUT_COUNTS = ("completion_tokens", "output_tokens")
_INPUT_NAMES, _OUTPUT_NAMES = frozenset(INPUT_COUNTS), frozenset(OUTPUT_COUNTS)


def custom_id(row_index: int, attempt: int) -> str:
    """The name of a row's request: from the token and the attempt, never from chance or the run."""
    return f"row-{row_index}-{attempt}"


class Batch(Struct, kw_only=True):
    """One batch as its events left it. Times in microseconds; ids are the provider's.

    ``tokens`` is the estimate made when it was sealed, ``usage`` what the provider says it used, by model.
    ``tries`` counts failures in a row of whatever is being tried, ``sends`` those of uploads and creates alone.
    ``lost_jobs`` counts jobs that may have run for it and whose results nobody has, ``uncounted_rows`` answers
    that came without the tokens that they used.
    """

    number: int
    node_no: int
    attempt: int
    parent_no: int | None
    last_commit: int = -1
    segment_no: int = 0
    phase: BatchPhase = BatchPhase.OPEN
    is_canary: bool = False
    extra_of: int | None = None
    requests: int = 0
    bytes: int = 0
    first_row: int = 0
    last_row: int = 0
    sha256: str = ""
    name: str = ""
    tokens: dict[str, Any] | None = None
    file_id: str | None = None
    uploaded_at: int = 0
    may_stray: bool = False
    batch_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    provider_status: str | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    downloads: dict[str, dict[str, str]] = field(default_factory=dict)
    unsure: str | None = None
    intended_at: int = 0
    created_at: int = 0
    is_cancel_due: bool = False
    cancelled_by: str | None = None
    next_at: int = 0
    tries: int = 0
    sends: int = 0
    looks: int = 0
    times_gone: int = 0
    times_queued: int = 0
    lost_jobs: int = 0
    is_file_doubted: bool = False
    is_overdue: bool = False
    failed_requests: int = 0
    uncounted_rows: int = 0
    usage: dict[str, dict[str, int]] = field(default_factory=dict)

    def apply(self, phase: BatchPhase, detail: Mapping[str, Any]) -> None:
        """Takes what an event says: the phase, and every fact that is a field of a batch."""
        self.phase = phase
        for name in self.__struct_fields__:
            if name in detail:
                setattr(self, name, detail[name])

    @property
    def is_live(self) -> bool:
        """Whether something of it is still to come: answers for its rows, or what it has cost."""
        return self.phase is not BatchPhase.HARVESTED

    @property
    def is_extra(self) -> bool:
        """Whether it is a job too many, with the file of another batch and no rows of its own."""
        return self.extra_of is not None

    @property
    def is_with_provider(self) -> bool:
        """Whether it takes one of the places in flight."""
        return self.phase in {BatchPhase.UPLOADED, BatchPhase.READY, BatchPhase.CREATED, BatchPhase.ENDED}

    @property
    def is_enqueued(self) -> bool:
        """Whether its tokens count against the provider's queue, for all that is known."""
        return self.phase is BatchPhase.CREATED or (self.phase is BatchPhase.READY and self.unsure is not None)

    @property
    def estimate(self) -> TokenEstimate | None:
        """The tokens it may come to; None while it takes rows."""
        return None if self.tokens is None else TokenEstimate.from_json(self.tokens)

    @property
    def tokens_used(self) -> tuple[int, int]:
        """Tokens in and out, as the provider counts them."""
        used = [tokens_of(counts) for counts in self.usage.values()]
        return sum(into for into, _ in used), sum(out for _, out in used)


def fold_batches(reader: LandscapeReader, run_no: int) -> list[Batch]:
    """All batches of a run as their events left them."""
    batches = {
        number: Batch(number=number, node_no=node_no, attempt=attempt, parent_no=parent_no)
        for number, node_no, attempt, parent_no in reader.query(
            "SELECT batch_no, node_no, attempt, parent_no FROM batches WHERE run_no = ? ORDER BY batch_no", run_no
        )
    }
    for number, event_no, commit_no, phase, detail in reader.query(
        "SELECT batch_no, event_no, commit_no, phase, detail_json FROM batch_events "
        "WHERE run_no = ? ORDER BY batch_no, event_no",
        run_no,
    ):
        place = f"batch_events {run_no}/{number}/{event_no}"
        if number not in batches:
            raise TrailError(f"{place}: there is no such batch")
        batches[number].apply(read_word(BatchPhase, phase, place), read_json(detail, place))
        batches[number].last_commit = commit_no
    for batch in batches.values():
        if batch.last_commit < 0:
            raise TrailError(f"batches {run_no}/{batch.number}: it has no event")
    return list(batches.values())


def open_intents(reader: LandscapeReader, run_no: int, batches: Iterable[Batch]) -> dict[int, tuple[str, int]]:
    """The intents of which nobody knows what came, by batch: operation and time.

    Looks through them from the last one back. One that is older than its batch's last event was answered.
    """
    waiting = {batch.number: batch for batch in batches if batch.phase in _MAY_BE_UNSURE and batch.unsure is None}
    oldest = min((batch.last_commit for batch in waiting.values()), default=0)
    found: dict[int, tuple[str, int]] = {}
    for number, operation, at, commit_no in reader.stream(
        "SELECT batch_no, operation, at, commit_no FROM call_intents WHERE run_no = ? ORDER BY intent_no DESC", run_no
    ):
        if not waiting or commit_no < oldest:
            break
        batch = waiting.pop(number, None)
        if batch is not None and commit_no >= batch.last_commit:
            found[number] = (operation, at)
    return found


def has_counts(usage: Iterable[str]) -> bool:
    """Whether an answer says how many tokens it used, both ways."""
    return not (_INPUT_NAMES.isdisjoint(usage) or _OUTPUT_NAMES.isdisjoint(usage))


def unanswered(batch: Batch) -> RowError:
    """The error of a row for which a batch has no line."""
    if batch.faults:
        fault = batch.faults[0]
        return RowError(
            code="batch_failed",
            message=f"batch {batch.number} failed: {fault['code']}: {fault['message']}",
            detail={"faults": batch.faults},
        )
    return RowError(code="unanswered", message=f"batch {batch.number} ended without an answer for this row")


def tokens_of(counts: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens in and out of a provider's counts, whichever names they have; a count that is not there is nothing."""
    return _first(counts, INPUT_COUNTS), _first(counts, OUTPUT_COUNTS)


def _first(counts: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((int(counts[name]) for name in names if name in counts), 0)
