"""A small run to verify, and what one step finds in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail
from tests.tamper.mutations import insider

from elspeth.contracts import NodeKind, Outcome, RunStatus
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder, RunHeader, SealFolder
from elspeth.core.landscape.schema import table
from elspeth.core.landscape.verify import Brought, Finding, Report, Step, verify_run
from elspeth.core.payloads import PartFile

ROWS = [b'{"id":%d}' % number for number in range(3)]
OUTPUT = b"".join(row + b"\n" for row in ROWS)
OUTCOMES = [{"outcome": "completed", "step": None, "sink": "done", "reason": None, "rows": 3}]


@dataclass(frozen=True)
class Scene:
    """A run of three rows that was completed; its output is ``output``."""

    trail: Trail
    run: RunHeader
    recorder: LandscapeRecorder
    output: Path

    def reader(self) -> LandscapeReader:
        return self.trail.reader()

    def change(self, *statements: str) -> None:
        with insider(self.trail.database, is_lax=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def verify(self, brought: Brought | None = None) -> Report:
        folder = SealFolder.beside(self.trail.database)
        return verify_run(self.reader(), self.run, brought=brought or Brought(), folder=folder)


Check = Callable[[Step], None]


def found_by(check: Check) -> list[Finding]:
    """What one check finds."""
    step = Step(1, "one")
    check(step)
    return step.findings


@pytest.fixture
def scene(trail: Trail, tmp_path: Path) -> Scene:
    run = trail.new_run()
    recorder = trail.recorder(run)
    output = tmp_path / "out" / "done.jsonl"
    part = PartFile(output, submit=recorder.journal.submit)
    recorder.journal.checkpoint_with(dict, {1: part})
    recorder.add_file("pipeline.yaml", b"name: p")
    unknown = {column.name: None for column in table("nodes").columns if not column.is_required}
    for number, (name, kind) in enumerate([("source", NodeKind.SOURCE), ("done", NodeKind.SINK)]):
        node = {**unknown, "node_no": number, "name": name, "kind": kind.value, "fields_json": "{}"}
        recorder.journal.add("nodes", **node)
    recorder.journal.commit()
    recorder.add_rows(range(3), range(1, 4), [sha256(row) for row in ROWS])
    recorder.add_row_bytes(ROWS, first_row=0, last_row=2)
    part.append(OUTPUT)
    for row in range(3):
        recorder.add_outcomes([row], outcome=Outcome.COMPLETED, step_no=None, sink_no=1, sink_lines=[row + 1])
    recorder.journal.commit()
    recorder.journal.add("artifacts", node_no=1, path=str(output), size=len(OUTPUT), hash=sha256(OUTPUT), records=3)
    recorder.add_run_event(RunStatus.COMPLETED, {"rows": 3, "outcomes": OUTCOMES})
    recorder.journal.commit()
    recorder.journal.seal("completed")
    recorder.journal.drain()
    return Scene(trail, run, recorder, output)
