"""Whether the rows balance, and whether what the last words of a run say is what its records come to."""

from __future__ import annotations

from elspeth.contracts import RunStatus
from elspeth.core.landscape.reader import LandscapeReader, RunHeader
from elspeth.core.landscape.tally import count_outcomes, describe_outcomes, recorded_outcomes, row_equation
from elspeth.core.landscape.verify.findings import Step

__all__ = ["check_balance"]


def check_balance(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    """Every row of a complete run ended exactly once; of an unfinished one no more ended than there are."""
    status, detail = reader.status(run.run_no)
    ((rows,),) = reader.query("SELECT COUNT(*) FROM rows WHERE run_no = ?", run.run_no)
    outcomes = count_outcomes(reader, run.run_no)
    step.checked = row_equation(rows, outcomes)
    if status is RunStatus.COMPLETED:
        _check_each_ended(reader, run, step)
        if detail.get("rows") != rows:
            step.find(
                "run_events", run.run_id, f"its last event tells of {detail.get('rows')} rows, and there are {rows}"
            )
        if detail.get("outcomes") != outcomes:
            step.find("run_events", run.run_id, "its last event counts the outcomes otherwise than they are recorded")
    for (row,) in reader.query(
        "SELECT o.row_index FROM outcomes o LEFT JOIN rows r ON r.run_no = o.run_no AND r.row_index = o.row_index "
        "WHERE o.run_no = ? AND r.row_index IS NULL LIMIT 1",
        run.run_no,
    ):
        step.find("outcomes", row, "it is the end of a row that there is not")
    frontier = reader.frontier(run.run_no)
    if frontier and describe_outcomes(reader, run.run_no, recorded_outcomes(frontier)) != outcomes:
        step.find("commits", run.run_id, "the last commit counts the outcomes otherwise than they are recorded")


def _check_each_ended(reader: LandscapeReader, run: RunHeader, step: Step) -> None:
    for (row,) in reader.query(
        "SELECT r.row_index FROM rows r LEFT JOIN outcomes o ON o.run_no = r.run_no AND o.row_index = r.row_index "
        "WHERE r.run_no = ? AND o.row_index IS NULL LIMIT 1",
        run.run_no,
    ):
        step.find("rows", row, "it has no outcome")
