"""One real run of a small pipeline against the simulator, for all the pages that speak of one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
COMMAND = Path(sys.executable).with_name("elspeth")

SOURCE = """\
id,subject,body,priority
T-1,Cannot log in,The page says forbidden,1
T-2,Refund,I was charged twice in March,2
T-3,Idea,Please add a dark theme,
T-4,Broken export,The file is empty,high
T-1,Cannot log in,Sent twice by mistake,3
"""
PIPELINE = """\
name: ticket-triage
source:
  plugin: csv
  options: {path: tickets.csv}
  schema: {id: str, subject: str, body: str, priority: int?}
  key: id
  on_invalid: rejected
steps:
  - name: tidy
    plugin: field_mapper
    options: {rename: {subject: title}}
  - name: known
    gate: row['priority'] > 0
    routes: {true: next, false: triaged}
    on_error: failed
  - name: classify
    plugin: azure_batch_llm
    options:
      endpoint: simulator
      deployment_name: gpt-4o-batch
      template: "Classify: {{ row.title }}"
      poll_interval_seconds: 1
    on_error: failed
sinks:
  triaged: {plugin: csv, options: {path: out/triaged.csv}}
  failed: {plugin: jsonl, options: {path: out/failed.jsonl}}
  rejected: {plugin: jsonl, options: {path: out/rejected.jsonl}}
output: triaged
"""


def elspeth(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in a folder of its own."""
    environ = {**os.environ, "HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "100"}
    environ.pop("ELSPETH_LANDSCAPE_URL", None)
    return subprocess.run(
        [str(COMMAND), *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@dataclass(frozen=True)
class FinishedRun:
    """A completed run and where its trail lies."""

    folder: Path
    run_id: str
    row_count: int

    def connect(self) -> sqlite3.Connection:
        """The database, for reading."""
        return sqlite3.connect(f"file:{self.folder / '.elspeth' / 'audit.db'}?mode=ro", uri=True)

    @property
    def payloads(self) -> Path:
        """The run's payload folder."""
        return self.folder / ".elspeth" / "payloads" / self.run_id

    def content(self, name: str) -> bytes:
        """What zstdcat gives of a payload file."""
        with (self.payloads / name).open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Runs the pipeline once."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "tickets.csv").write_text(SOURCE)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    done = elspeth("run", "pipeline.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(folder / ".elspeth" / "audit.db") as connection:
        ((run_id,),) = connection.execute("SELECT run_id FROM runs").fetchall()
    connection.close()
    return FinishedRun(folder, run_id, row_count=len(SOURCE.splitlines()) - 1)
