"""Replaying a run: from the trail alone, without a network, against what is recorded of it.

The recorded pipeline needs neither its file nor any secret; each secret is the mark that
stands for it in what was recorded. An edited pipeline is loaded and checked as for a run,
and goes over the recorded rows and answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct

from elspeth.app.composition import Beginning, build_plan
from elspeth.app.recorded import recorded_beginning, recorded_pipeline
from elspeth.app.state import State
from elspeth.contracts import NodeKind, RunStatus, TrailError, UsageError
from elspeth.core.calls import NetworkGuard
from elspeth.core.canonical import RowCodec
from elspeth.core.clock import SystemClock
from elspeth.core.config import load_pipeline
from elspeth.core.landscape import LandscapeReader, Payloads, RunHeader
from elspeth.core.landscape.reader import read_word
from elspeth.core.payloads import parse_reference
from elspeth.engine.plan import Plan
from elspeth.engine.replay import (
    WITHHELD,
    Findings,
    Pairing,
    Recorded,
    ReplayedFile,
    Replayer,
    ReplayFolder,
    Rows,
)
from elspeth.plugins.registry import Registry

__all__ = ["ReplayRequest", "ReplayResult", "replay_run"]

_REPLAYS = "replays"
_FILES = "files"


class ReplayRequest(Struct, frozen=True, kw_only=True):
    """What to replay: a run; where to write; ``edited`` is a pipeline file that takes the place of the recorded one.

    ``keep`` bounds how many differences of each sort are told one by one.
    """

    reference: str
    out: Path | None = None
    edited: Path | None = None
    keep: int = 20


class ReplayResult(Struct, frozen=True, kw_only=True):
    """What came of a replay, as the JSON object of ``replay --json``."""

    content: Mapping[str, Any]

    @property
    def is_identical(self) -> bool:
        """Whether every row and every output is what is recorded."""
        return bool(self.content["is_identical"])


class _Withheld(Mapping[str, str]):
    """An environment in which each name is set, to the mark that stands for a secret."""

    def __getitem__(self, name: str) -> str:
        return WITHHELD

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def replay_run(
    request: ReplayRequest,
    *,
    state: State,
    db: str | None = None,
    environ: Mapping[str, str] = os.environ,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> ReplayResult:
    """Replays a completed run into a folder of its own.

    Raises `UsageError` for a run that is not complete or a folder that holds other things, `PipelineError` for an
    edited pipeline that could not be run. Writes nothing into the trail.
    """
    with LandscapeReader(state.to_read(db, environ)) as reader:
        run = reader.run(request.reference)
        _require_complete(reader, run)
        findings = Findings(keep=request.keep)
        folder = ReplayFolder(request.out or state.folder / _REPLAYS / run.run_id)
        if request.edited is None and _is_configuration_gone(reader, run):
            return _result(reader, run, findings, [], unreplayable={_FILES: _all_rows(reader, run)})
        plan, beside = _plan(reader, run, request.edited, environ)
        recorded = [
            (number, str(name), read_word(NodeKind, kind, f"nodes {run.run_no}/{number}"))
            for number, name, kind in reader.query("SELECT node_no, name, kind FROM nodes WHERE run_no = ?", run.run_no)
        ]
        nodes = [(node.number, node.name, node.kind) for node in plan.graph.nodes]
        with ExitStack() as stack:
            replayer = Replayer(
                plan,
                Recorded(
                    codec=RowCodec(recorded_beginning(reader, run).source_fields),
                    key_field=run.key_field,
                    names={number: name for number, name, _ in recorded},
                ),
                run=run,
                reader=reader,
                folder=folder,
                beside=beside,
                pairing=Pairing.by_name(nodes, recorded, is_edited=request.edited is not None),
                findings=findings,
                guard=stack.enter_context(NetworkGuard(is_total=True)),
                clock=SystemClock(),
            )
            for rows in replayer.replay():
                on_progress(rows)
            return _result(reader, run, findings, replayer.finish(), plan=plan)


def _require_complete(reader: LandscapeReader, run: RunHeader) -> None:
    status, _ = reader.status(run.run_no)
    if status is not RunStatus.COMPLETED:
        raise UsageError(
            f"run {run.run_id} is {status.word}: only a completed run has outputs to compare with",
            hint=f"Go on with it first: elspeth resume {run.run_id}",
        )


def _plan(
    reader: LandscapeReader, run: RunHeader, edited: Path | None, environ: Mapping[str, str]
) -> tuple[Plan, Path]:
    """The plan to go by, and the folder in which its pipeline file lies."""
    registry = Registry()
    beginning = recorded_beginning(reader, run)
    if edited is not None:
        pipeline = load_pipeline(edited, registry, environ=environ)
        begun = Beginning(source_fields=beginning.source_fields, prices=None)
        return build_plan(pipeline, registry, begun=begun), pipeline.folder
    recorded = recorded_pipeline(reader, run, registry, environ=_Withheld())
    if recorded is None:
        raise TrailError(f"run {run.run_id} is complete, and its pipeline file is not recorded")
    return build_plan(recorded, registry, begun=beginning), run.folder


def _is_configuration_gone(reader: LandscapeReader, run: RunHeader) -> bool:
    """Whether the files that the run was configured with are no longer among the payloads."""
    payloads = Payloads(reader, run)
    return any(
        payloads.is_missing(parse_reference(ref, digest).segment_no)
        for ref, digest in reader.query("SELECT ref, hash FROM run_files WHERE run_no = ?", run.run_no)
    )


def _all_rows(reader: LandscapeReader, run: RunHeader) -> Rows:
    rows = Rows()
    for (row,) in reader.stream("SELECT row_index FROM rows WHERE run_no = ? ORDER BY row_index", run.run_no):
        rows.add(row)
        rows.end_stretch()
    return rows


def _result(
    reader: LandscapeReader,
    run: RunHeader,
    findings: Findings,
    files: list[ReplayedFile],
    *,
    plan: Plan | None = None,
    unreplayable: Mapping[str, Rows] | None = None,
) -> ReplayResult:
    outputs = list(_outputs(reader, run, files, plan))
    lost = {**findings.unreplayable, **(unreplayable or {})}
    ((rows,),) = reader.query("SELECT COUNT(*) FROM rows WHERE run_no = ?", run.run_no)
    is_identical = findings.is_empty and not lost and all(output["is_identical"] for output in outputs)
    return ReplayResult(
        content={
            "schema_version": 1,
            "run": run.run_id,
            "pipeline": run.pipeline,
            "simulated": reader.is_simulated(run),
            "rows_replayed": rows - sum(found.count for found in lost.values()),
            "is_identical": is_identical,
            "outputs": outputs,
            "differences": {
                "rows": findings.differing.count,
                **{sort.value: number for sort, number in findings.counts.items()},
            },
            "rows": [difference.as_json() for difference in findings.shown],
            "unreplayable": {why: _as_json(found) for why, found in lost.items()},
            "asked_anew": {step: _as_json(found) for step, found in findings.asked_anew.items()},
            "not_recomputed": dict(findings.not_recomputed),
        }
    )


def _outputs(
    reader: LandscapeReader, run: RunHeader, files: list[ReplayedFile], plan: Plan | None
) -> Iterator[dict[str, Any]]:
    """Each output by its sink's name, with both hashes; a side that has no such output is null."""
    recorded = {
        name: (digest, size, records)
        for name, digest, size, records in reader.query(
            "SELECT n.name, a.hash, a.size, a.records FROM artifacts a "
            "JOIN nodes n ON n.run_no = a.run_no AND n.node_no = a.node_no WHERE a.run_no = ? ORDER BY a.node_no",
            run.run_no,
        )
    }
    replayed = {} if plan is None else {plan.names[file.sink_no]: file for file in files}
    for sink in {**recorded, **replayed}:
        file, record = replayed.get(sink), recorded.get(sink)
        yield {
            "sink": sink,
            "path": None if file is None else str(file.path),
            "sha256": None if file is None else file.sha256.hex(),
            "recorded_sha256": None if record is None else record[0].hex(),
            "rows": None if file is None else file.records,
            "recorded_rows": None if record is None else record[2],
            "is_identical": file is not None and record == (file.sha256, file.size, file.records),
        }


def _as_json(rows: Rows) -> dict[str, Any]:
    return {"rows": rows.count, "ranges": rows.ranges}
