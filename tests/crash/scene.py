"""The run that is killed: what it is, who serves it, and the ways to go on with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash import runner
from tests.engine.workbench import KEY, Project, ask

from elspeth.simulator import Settings, Simulator

ALL = os.environ.get("ELSPETH_CRASH_POINTS") == "all"
"""Every kill point, or a sample that moves with nothing but the code."""

ROWS = 23
ROW_FAULTS = {"row-4-0": "429", "row-9-0": "500", "row-12-0": "content_filter"}
SINKS = ("done", "routed", "failed", "rejected")
EARLY = "- {name: early, gate: \"row['id'] % 7 == 3\", routes: {true: routed, false: next}}\n"
LATE = "- {name: late, gate: \"row['id'] > 15\", routes: {true: table, false: next}, on_error: failed}\n"
TABLE = "table: {plugin: csv, options: {path: out/table.csv, fields: [id, text, llm_response]}}"


class Moment(NamedTuple):
    """The n-th moment of a kind in a run, from 1, and what it is about."""

    kind: str
    number: int
    subject: str = ""


@dataclass(frozen=True)
class Ended:
    """How a process ended; ``moments`` only of one that lived to its end."""

    code: int
    moments: list[Moment]
    error: str

    @property
    def code_and_error(self) -> tuple[int, str]:
        """(0, "") of one that did what it was told."""
        return self.code, self.error


class Runner:
    """Carries out orders, each in a process that may be told when to die."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def order(self, project: Project, what: str, fatal: Moment | None = None) -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        where = None if fatal is None else [fatal.kind, fatal.number]
        order = {"folder": str(project.folder), "what": what, "fatal": where}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = {"moments": [], "error": ""}
        while "code" not in said:
            said.update(json.loads(self._process.stdout.readline()))
        counts: Counter[str] = Counter()
        moments = []
        for kind, subject in said["moments"]:
            counts[kind] += 1
            moments.append(Moment(kind, counts[kind], subject))
        return Ended(said["code"], moments, said["error"])

    def kill(self, project: Project, what: str, fatal: Moment) -> None:
        """Dies at a moment that must come."""
        ended = self.order(project, what, fatal)
        assert -signal.SIGKILL == ended.code, (fatal, ended.error)

    def go_on(self, project: Project) -> list[Moment]:
        """What anybody would do after a crash: resume the run, or begin it when there is none; its moments."""
        is_there = project.database.exists() and project.query("SELECT COUNT(*) FROM runs") != [(0,)]
        ended = self.order(project, "resume" if is_there else "run")
        assert (0, "") == (ended.code, ended.error)
        return ended.moments


@contextmanager
def started_runner(**environ: str) -> Iterator[Runner]:
    command = [sys.executable, str(Path(runner.__file__))]
    environ = {**os.environ, "KEY": KEY, **environ}
    with subprocess.Popen(command, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Runner(process)
        finally:
            process.kill()


def served(**settings: Any) -> Simulator:
    return Simulator(Settings(**{"latency_s": 0.0, "row_faults": ROW_FAULTS, **settings}))


def prepare(folder: Path, simulator: Simulator) -> Project:
    """Two batches in flight, two gates, two formats, failed and rejected rows, a batch of second attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(folder)
    records = [f'{{"id": {i}, "text": "row number {i}"}}\n' for i in range(ROWS)]
    records[6] = "not json\n"
    project.write("rows.jsonl", "".join(records))
    batches = ask(simulator, max_requests=6, max_batches_in_flight=2, poll_interval_seconds=0.01)
    source = "schema: {id: int, text: str}\nkey: id\non_invalid: rejected"
    project.pipeline(EARLY + batches + LATE, source=source, sinks=SINKS, csv=TABLE)
    return project
