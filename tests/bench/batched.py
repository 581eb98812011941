"""The batch pipeline: CSV, a batch step with a schema, a JSONL sink. Its runs, and the script that does the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.tickets import SOURCE
from tests.bench.usage import Usage, expect
from tests.bench.workshop import Workshop, rival

__all__ = ["PLAIN", "RUN", "batch", "batched", "plain", "simulator"]

RUN, PLAIN = "batch: elspeth run", "batch: plain script"
POLL_INTERVAL_S = 0.5
PIPELINE = (
    f"name: batch\n{SOURCE}"
    + """\
steps:
  - name: ask
    plugin: openai_batch_llm
    options:
      base_url: %(url)s/v1
      api_key: ${OPENAI_API_KEY}
      model: gpt-test
      poll_interval_seconds: %(poll_interval_s)s
      template: "Classify this ticket.\\nTitle: {{ row.subject }}\\nBody: {{ row.body }}"
      response_schema:
        type: object
        additionalProperties: false
        properties:
          category: {type: string, enum: [bug, billing, other]}
          urgency: {type: integer}
        required: [category, urgency]
sinks:
  answers: {plugin: jsonl, options: {path: answers.jsonl}}
output: answers
"""
)


@contextmanager
def simulator(folder: Path) -> Iterator[str]:
    """The address of a simulator in a process of its own, so that what it uses is not counted; it keeps nothing."""
    state = folder / "simulator"
    command = [
        sys.executable,
        "-m",
        "elspeth.simulator",
        "--latency",
        "0s",
        "--state",
        str(state),
        "--exit-with-parent",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.stdin.close()
            process.wait()
    shutil.rmtree(state)


def batch(workshop: Workshop, rows: int) -> Usage:
    """One more run; every row must have its answer. The first one is kept."""

    def make(folder: Path) -> Usage:
        with simulator(folder) as url:
            values = {"source": workshop.source(rows), "url": url, "poll_interval_s": POLL_INTERVAL_S}
            (folder / "pipeline.yaml").write_text(PIPELINE % values)
            usage = workshop.elspeth(RUN, rows, folder, "run", "pipeline.yaml")
        with (folder / "answers.jsonl").open() as answers:
            expect(sum(1 for _ in answers) == rows, f"{folder / 'answers.jsonl'} has not {rows} lines")
        return usage

    return workshop.kept_once(f"batch-{rows}", make)


def batched(workshop: Workshop, rows: int) -> Path:
    """The folder of a complete run."""
    if not workshop.found(RUN, rows):
        batch(workshop, rows)
    return workshop.folder / f"batch-{rows}"


def plain(workshop: Workshop, rows: int) -> Usage:
    """The plain script, whose output must hold the same values as that of the run, row by row."""
    expected = batched(workshop, rows) / "answers.jsonl"
    folder = workshop.folder / "plain-batch"
    folder.mkdir()
    with simulator(folder) as url:
        command = rival("plain_batch.py", workshop.source(rows), "answers.jsonl", f"{url}/v1", str(POLL_INTERVAL_S))
        usage = workshop.measure(PLAIN, rows, command, folder=folder)
    with (folder / "answers.jsonl").open() as answers, expected.open() as others:
        for number, (line, other) in enumerate(zip(answers, others, strict=True), start=1):
            one, two = list(json.loads(line).items()), list(json.loads(other).items())
            expect(one == two, f"line {number} of {expected} differs from the plain script's: {other}, {line}")
    shutil.rmtree(folder)
    return usage
