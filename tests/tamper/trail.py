"""The trail that is tampered with: three runs that have everything, copied for each attempt."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.engine.workbench import HurriedClock, Project

from elspeth.app.keys import signing_key
from elspeth.app.verification import Verification, verify_all, verify_one
from elspeth.contracts import FileRole, PayloadClass, PurgeAction
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder, SealFolder, Signing, open_journal
from elspeth.core.landscape.retention import add_purge
from elspeth.core.landscape.reuses import Reuse
from elspeth.core.landscape.verify import Brought, Finding
from elspeth.core.notes import VerifierKey
from elspeth.engine import orchestrator
from elspeth.simulator import Settings, Simulator

ROWS = 11
REPLACED = "replaced"
"""The folder with the first run's outputs, which the second run replaced."""
FAULTS = {"row-4-0": "429", "row-7-0": "content_filter"}
SINKS = ("done", "routed", "failed", "rejected")
EARLY = "- {name: early, gate: \"row['id'] % 5 == 3\", routes: {true: routed, false: next}}\n"
LATE = "- {name: late, gate: \"row['id'] > 7\", routes: {true: table, false: next}, on_error: failed}\n"
TABLE = "table: {plugin: csv, options: {path: out/table.csv, fields: [id, text, llm_response]}}"
SOURCE = "schema: {id: int, text: str}\nkey: id\non_invalid: rejected"
SMALL = {"_ROWS_A_MICRO_BATCH": 4, "_ROWS_A_COMMIT": 4, "_COMMIT_EVERY_US": 1 << 60}


@dataclass(frozen=True)
class Copy:
    """A copy of the trail for one attempt; runs are numbered 1 (replaced outputs), 2 (their maker), 3 (pending)."""

    project: Project

    @property
    def database(self) -> Path:
        return self.project.database

    @property
    def seals(self) -> SealFolder:
        return SealFolder.beside(self.database)

    def payloads(self, run_no: int) -> Path:
        with LandscapeReader(self.database) as reader:
            return reader.run_numbered(run_no).payload_folder

    def run_id(self, run_no: int) -> str:
        return str(self.query("SELECT run_id FROM runs WHERE run_no = ?", run_no)[0][0])

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.project.query(sql, *parameters)

    def verify(self, run_no: int | None = None, *, brought: Brought | None = None) -> Verification:
        """What `verify` finds of one run, or of all."""
        with LandscapeReader(self.database) as reader, reader.snapshot():
            if run_no is None:
                return verify_all(reader, brought=brought or own(), on_report=lambda _report: None)
            ((run_id,),) = reader.query("SELECT run_id FROM runs WHERE run_no = ?", run_no)
            return verify_one(reader, run_id, brought=brought or own(), on_report=lambda _report: None)


def findings_of(verification: Verification) -> list[Finding]:
    """Everything that was found, of the trail as a whole and of each run."""
    found = [finding for report in verification.reports for step in report.steps for finding in step.findings]
    return [*verification.findings, *found]


def own() -> Brought:
    """What somebody brings who works on the machine that made the trail: the keys known there."""
    return Brought(known_keys=[own_key()])


def own_key() -> VerifierKey:
    return signing_key({}).verifier


def make(folder: Path) -> Copy:
    """Small commits, rejected, failed and repeated rows, two gates, two formats, a hold, a pending run."""
    project = Project(folder)
    records = [f'{{"id": {i}, "text": "row number {i}"}}\n' for i in range(ROWS)]
    records[6] = "not json\n"
    project.write("rows.jsonl", "".join(records))
    project.write("prompt.txt", "Say {{ row.text }}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elspeth.app.runs.SystemClock", lambda stop=None: HurriedClock())
        for name, value in SMALL.items():
            patch.setattr(orchestrator, name, value)
        with Simulator(Settings(latency_s=0.0, row_faults=FAULTS)) as simulator:
            write_pipeline(project, simulator)
            assert project.run().exit_code == 0
            shutil.copytree(project.folder / "out", project.folder / REPLACED)
            assert project.run(limit=9, new=True).exit_code == 0
        with Simulator(Settings(latency_s=3600.0)) as simulator:
            write_pipeline(project, simulator)
            assert project.run(new=True, submit_only=True).exit_code == 75
    keep(project.database, run_no=1)
    keep(project.database, run_no=1, action=PurgeAction.RELEASED)
    take_answers(project.database, run_no=1)
    copy = Copy(project)
    with closing(sqlite3.connect(project.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return copy


def write_pipeline(project: Project, simulator: Simulator) -> None:
    """Two gates around a batch step whose template is a file of its own."""
    options = {
        "base_url": f"{simulator.url}/v1",
        "api_key": "${KEY}",
        "model": "gpt-test",
        "template_file": "prompt.txt",
        "max_requests": 4,
        "max_batches_in_flight": 2,
        "poll_interval_seconds": 0.01,
    }
    step = f"- {{name: ask, plugin: openai_batch_llm, on_error: failed, options: {json.dumps(options)}}}\n"
    project.pipeline(EARLY + step + LATE, source=SOURCE, sinks=SINKS, csv=TABLE)


def take_answers(database: Path, *, run_no: int) -> None:
    """Records of two rows that they took an answer of another run, and seals that."""
    with LandscapeReader(database) as reader:
        signing = Signing(key=signing_key({}), folder=SealFolder.beside(database))
        journal = open_journal(reader, reader.run_numbered(run_no), clock=SystemClock(), signing=signing)
    recorder = LandscapeRecorder(journal, run_id="", started_at=0, code_version="0")
    try:
        for row in (0, 1):
            request, reply = (
                recorder.add_reused_line(f"{name} of row {row}\n".encode()) for name in ("line", "answer")
            )
            reuse = Reuse(
                node_no=2,
                from_run=f"01k9x{row}",
                from_row=row + 7,
                from_batch=row + 1,
                from_attempt=row,
                request_hash=request.sha256,
                request_ref=str(request),
                role=FileRole.OUTPUT,
                reply_hash=reply.sha256,
                reply_ref=str(reply),
                input_tokens=11 + row,
                output_tokens=None,
                is_simulated=bool(row),
            )
            recorder.add_reuse(row, reuse)
        journal.commit()
        journal.seal("minute")
        journal.drain()
    finally:
        journal.close()


def keep(
    database: Path, *, run_no: int, action: PurgeAction = PurgeAction.HELD, payload_class: PayloadClass | None = None
) -> None:
    """Records something about the keeping of a run's payloads, and seals that."""
    with LandscapeReader(database) as reader:
        signing = Signing(key=signing_key({}), folder=SealFolder.beside(database))
        journal = open_journal(reader, reader.run_numbered(run_no), clock=SystemClock(), signing=signing)
    try:
        add_purge(journal, action, who="auditor@here", why="inquiry 7", payload_class=payload_class)
        journal.commit()
        journal.seal(action.word)
        journal.drain()
    finally:
        journal.close()
