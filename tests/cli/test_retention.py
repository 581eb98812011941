"""What ``purge`` says: the words of retention.py, and the commands of retention_commands.py that need no trail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from elspeth.app.purge_plan import Kept, Planned, Reason
from elspeth.app.retention import Outcome, Taken
from elspeth.cli import retention_commands
from elspeth.cli.retention import outcome_json, outcome_lines
from elspeth.contracts import BusyError, PayloadClass, RunError, RunStatus, UsageError
from elspeth.core.landscape import RunHeader
from elspeth.core.landscape.removal import ClassFiles

ROWS, CALLS, FILES = PayloadClass
RUN = RunHeader(
    run_no=1,
    run_id="01a",
    pipeline="triage",
    mode="run",
    started_at=0,
    folder=Path(),
    config_json="{}",
    payload_folder=Path("payloads/01a"),
    row_limit=None,
    sample=None,
)
FAULT = RunError("calls.zst cannot be deleted: it is a folder", hint="Mend it.")
BUSY = BusyError("run 01a is held by process 7", host="h", pid=7, since="now")


def part(payload_class: PayloadClass, files: int, size: int) -> ClassFiles:
    return ClassFiles(payload_class=payload_class, names=(), files=files, bytes=size)


def planned(**changes: Any) -> Planned:
    values: dict[str, Any] = {
        "run": RUN,
        "status": RunStatus.COMPLETED,
        "last_at": 1_800_000_000_000_000,
        "grade": "replayable",
        "new": (part(CALLS, 1, 12_345), part(FILES, 2, 8)),
        "begun": (),
        "unknown": 0,
        "remote": 0,
        "is_unsealed": False,
    }
    return Planned(**{**values, **changes})


def outcome(*taken: Taken, is_done: bool = True, **changes: Any) -> Outcome:
    return Outcome(**{"is_done": is_done, "taken": taken, "kept": (), "failed": (), **changes})


def test_each_run_is_told_by_class_and_the_sum_at_the_end() -> None:
    assert [
        "run 01a  triage  completed  last event 2027-01-15",
        "  calls  1 file, 12,345 bytes",
        "  files  2 files, 8 bytes",
        "  grade replayable -> attributable",
        "would purge 1 run: 3 files, 12,353 bytes; nothing was deleted: --yes does it",
    ] == list(outcome_lines(outcome(Taken(planned=planned()), is_done=False)))


def test_what_was_begun_what_is_unknown_and_what_is_given_up_are_told() -> None:
    taken = Taken(planned=planned(begun=(part(ROWS, 0, 0),), new=(), unknown=2, remote=3, grade="attributable"))
    assert [
        "run 01a  triage  completed  last event 2027-01-15  purged",
        "  rows   0 files, 0 bytes  (begun before)",
        "  3 batches may still be with the provider: their answers are given up",
        "  2 files there are not in the trail, and stay",
        "  grade attributable",
        "purged 1 run: 0 files, 0 bytes",
    ] == list(outcome_lines(outcome(taken)))


def test_a_run_that_is_not_whole_does_not_count() -> None:
    lines = list(outcome_lines(outcome(Taken(planned=planned(), faults=[FAULT]), Taken(planned=planned()))))
    assert lines[0].endswith("  purged in part")
    assert "purged 1 run: 3 files, 12,353 bytes" == lines[-1]


def test_a_seal_that_was_made_up_for_is_told() -> None:
    lines = list(outcome_lines(outcome(Taken(planned=planned(new=(), is_unsealed=True)))))
    assert "  what was done is sealed" == lines[1]


def test_the_same_as_one_object() -> None:
    kept = Kept(run=RUN, reason=Reason.HELD, message="run 01a is held")
    found = outcome_json(
        outcome(Taken(planned=planned(begun=(part(ROWS, 1, 2),)), faults=[FAULT]), kept=[kept], failed=[(RUN, BUSY)])
    )
    assert {"schema_version": 1, "is_done": True} == {name: found[name] for name in ("schema_version", "is_done")}
    (run,) = found["runs"]
    assert [("rows", True), ("calls", False), ("files", False)] == [
        (one["class"], one["is_begun"]) for one in run["classes"]
    ]
    assert [FAULT.message] == run["faults"]
    assert [{"run": "01a", "reason": "held", "message": "run 01a is held"}] == found["kept"]
    assert [{"run": "01a", "message": BUSY.message, "hint": None}] == found["failed"]


@pytest.mark.parametrize(
    ("faults", "failed", "code"),
    [
        ([], [], 0),
        ([FAULT], [], 3),
        ([], [(RUN, BUSY)], 6),
        ([FAULT], [(RUN, BUSY)], 3),
        ([], [(RUN, BUSY), (RUN, FAULT)], 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst(
    faults: list[RunError], failed: list[Any], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = outcome(Taken(planned=planned(), faults=faults), failed=failed)
    assert code == retention_commands._report(found, as_json=False)
    assert len(faults) + len(failed) == capsys.readouterr().err.count("elspeth: ")


def test_a_reason_is_one_line_of_text() -> None:
    assert "90 days" == retention_commands._reason(" 90 days ")
    for text in ("", " ", "two\nlines", "a\0", "\udcff"):
        with pytest.raises(UsageError):
            retention_commands._reason(text)


def test_both_commands_are_there() -> None:
    app = typer.Typer()
    retention_commands.register(app)
    for command in ("purge", "hold"):
        assert 0 == CliRunner().invoke(app, [command, "--help"]).exit_code
