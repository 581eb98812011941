"""The verification of one run, in nine steps.

1. schema and triggers: the database is made as this program makes it, and SQLite finds its pages sound
2. records: every record of every commit is the one that the commit's root was computed over
3. payloads: the segments hold the bytes that the commits appended, and frames that can be read
4. tree: the commits follow each other without a gap; their tree has this root
5. seals: every seal, in the database and in its file, tells of that tree at its size
6. signatures: the seals are signed by keys that are known, or that were brought; so is what was brought
7. row equation: every row ended, once
8. references: what records point to is there, and has its hash
9. outputs: the files on the disk are the ones that the run finished

A step that cannot go on because of what it reads says so as a finding, and the next one begins.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from elspeth.contracts import NoteError, TrailError
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.retention import purged_classes
from elspeth.core.landscape.seals import SealFolder
from elspeth.core.landscape.verify.balance import check_balance
from elspeth.core.landscape.verify.files import check_payloads
from elspeth.core.landscape.verify.findings import Report, Step
from elspeth.core.landscape.verify.outputs import check_outputs
from elspeth.core.landscape.verify.records import check_records
from elspeth.core.landscape.verify.references import check_references
from elspeth.core.landscape.verify.sealing import (
    Brought,
    RunTree,
    check_brought,
    check_seals,
    check_signatures,
    check_tree,
)
from elspeth.core.landscape.verify.structure import check_structure
from elspeth.core.landscape.verify.timestamps import check_timestamps

__all__ = ["verify_run"]

_UNREADABLE = (
    TrailError,
    NoteError,
    sqlite3.Error,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What reading a changed trail may end in."""


def verify_run(
    reader: LandscapeReader,
    run: RunHeader,
    *,
    brought: Brought,
    folder: SealFolder,
    on_step: Callable[[Step], None] = lambda _step: None,
) -> Report:
    """Verifies a run; ``on_step`` hears of each step's end.

    Within a snapshot of the reader all is of one moment, also of a live run.
    """
    reader.read_any_text()
    report = Report(run.run_id, run.pipeline, _status(reader, run))
    tree = RunTree()

    def check_the_tree(step: Step) -> None:
        nonlocal tree
        tree = check_tree(reader, run, step, brought)

    def check_all_signatures(step: Step) -> None:
        check_signatures(reader, run, report, step, brought)
        check_brought(reader, run, report, step, tree, brought)
        check_timestamps(reader, run, report, step, tree, folder, brought.authorities)

    steps: tuple[tuple[str, Callable[[Step], None]], ...] = (
        ("schema and triggers", partial(check_structure, reader)),
        ("records", partial(check_records, reader, run)),
        ("payloads", lambda step: _check_kept(reader, run, step, check_payloads)),
        ("tree", check_the_tree),
        ("seals", lambda step: check_seals(reader, run, step, tree, folder)),
        ("signatures", check_all_signatures),
        ("row equation", partial(check_balance, reader, run)),
        ("references", lambda step: _check_kept(reader, run, step, check_references)),
        ("outputs", partial(check_outputs, reader, run)),
    )
    for number, (name, check) in enumerate(steps, start=1):
        step = Step(number, name)
        report.steps.append(step)
        try:
            check(step)
        except _UNREADABLE as error:
            words = error.message if isinstance(error, TrailError | NoteError) else f"{type(error).__name__}: {error}"
            step.find(name, run.run_id, f"the check could not go on: {words}")
        on_step(step)
    return report


def _check_kept(reader: LandscapeReader, run: RunHeader, step: Step, check: Callable[..., None]) -> None:
    """Checks what was not purged; once more if a purge took it away meanwhile, of which a snapshot does not know."""
    purged = purged_classes(reader, run)
    check(reader, run, step, purged=purged)
    if not step.finding_count:
        return
    with LandscapeReader(reader.database) as now:
        purged_since = purged_classes(now, run)
    if purged_since > purged:
        step.begin_again()
        step.note("payloads were purged while the run was verified")
        check(reader, run, step, purged=purged_since)


def _status(reader: LandscapeReader, run: RunHeader) -> str:
    """Where the run stands, for the heading; that its events cannot be read is found by the steps."""
    try:
        return reader.status(run.run_no)[0].word
    except TrailError:
        return "unknown"
