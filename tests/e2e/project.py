"""A project folder as a user has one, and the installed command run in it."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ELSPETH = Path(sys.executable).with_name("elspeth")
KEY = "test-key-0123456789"

PIPELINE = """\
name: tickets

source:
  plugin: csv
  options: {path: tickets.csv}
  schema: {id: int, subject: str, body: str, priority: int?}
  key: id
  on_invalid: %(on_invalid)s

steps:
  - name: tidy
    plugin: field_mapper
    options:
      rename: {subject: title}
    on_error: %(on_error)s

  - name: classify
    plugin: azure_batch_llm
    options:
      endpoint: %(endpoint)s
      api_key: ${AZURE_OPENAI_API_KEY}
      deployment_name: gpt-4o-batch
      poll_interval_seconds: 0.1
      reconcile_grace_seconds: 1
      max_requests: %(max_requests)s
      %(options)s
      template: |
        Classify this ticket.
        Title: {{ row.title }}
        Body: {{ row.body }}
      response_schema:
        type: object
        additionalProperties: false
        properties:
          category: {type: string, enum: [bug, billing, other]}
        required: [category]
    on_error: %(on_error)s

  - name: risk
    gate: row['category'] == 'billing'
    routes: {true: urgent, false: next}
    on_error: %(on_error)s

sinks:
  triaged:  {plugin: csv, options: {path: out/triaged.csv%(sink)s}}
  urgent:   {plugin: jsonl, options: {path: out/urgent.jsonl}}
  failed:   {plugin: jsonl, options: {path: out/failed.jsonl}}
  rejected: {plugin: jsonl, options: {path: "%(rejected)s"}}

output: triaged
retry: {max_attempts: 2, initial_seconds: 0.1, max_seconds: 0.2}
%(more)s
"""

DEFAULTS = {
    "on_invalid": "rejected",
    "on_error": "failed",
    "max_requests": 5,
    "options": "max_batches_in_flight: 4",
    "sink": "",
    "rejected": "out/{run}/rejected.jsonl",
    "more": "",
}


def tickets(count: int) -> str:
    """A source without faults."""
    rows = [f"{n + 1},Subject {n},Body number {n},{n % 3 or ''}" for n in range(count)]
    return "\n".join(["id,subject,body,priority", *rows]) + "\n"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()

    def json(self) -> dict[str, Any]:
        """The one object of ``--json``."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found


class Project:
    """A folder with a pipeline; commands run in it with no more environment than they need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        home = folder / "home"
        home.mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "error",
            "AZURE_OPENAI_API_KEY": KEY,
        }

    # Files

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_pipeline(self, endpoint: str, name: str = "pipeline.yaml", **values: Any) -> Path:
        return self.write(name, PIPELINE % {**DEFAULTS, "endpoint": endpoint, **values})

    def path(self, name: str) -> Path:
        return self.folder / name

    def text(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSONL file."""
        return [json.loads(line) for line in self.text(name).splitlines()]

    @property
    def database(self) -> Path:
        return self.folder / ".elspeth" / "audit.db"

    # Commands

    def __call__(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
    ) -> Done:
        """Runs ``elspeth`` and checks its exit code; a traceback is never right."""
        ended = subprocess.run(
            [ELSPETH, *map(str, arguments)],
            cwd=cwd or self.folder,
            env=self.environment(env),
            capture_output=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        done = Done(ended.returncode, ended.stdout, ended.stderr)
        assert "Traceback" not in done.err, done.err
        if code is not None:
            assert done.code == code, (done.code, done.out, done.err)
        return done

    def python(self, script: str) -> str:
        """What a Python script prints that runs in the project's folder."""
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, check=True)
        return done.stdout.decode()

    def start(self, *arguments: str | Path, env: Mapping[str, str | None] | None = None) -> subprocess.Popen[bytes]:
        """Starts ``elspeth`` and does not wait for it."""
        return subprocess.Popen(
            [ELSPETH, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.env, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def run_id(self) -> str:
        """The newest run."""
        return str(self.query("SELECT run_id FROM v_runs ORDER BY started_at DESC, run_id DESC LIMIT 1")[0]["run_id"])

    def explain(self, row: int, run: str = "latest") -> dict[str, Any]:
        return self("explain", run, "--row", str(row), "--json").json()

    def calls(self, run: str = "latest", *options: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("calls", run, *options, "--json").json()["calls"]
        return found

    # The trail, by plain SQL

    def query(self, sql: str, *parameters: object, database: Path | None = None) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{database or self.database}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, record, strict=True)) for record in cursor]

    def payload(self, sha256: str) -> bytes:
        return self("payload", sha256).stdout


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Leaves no process and no pipe behind, whatever the test did."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
