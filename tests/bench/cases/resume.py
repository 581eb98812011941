"""What a resume costs when nearly all rows are done and one batch is open.

    gate      all but the last 1,000 rows went straight to a sink, these to one batch
    batches   all rows went through twenty batches, and all but the last one are harvested

Both runs are left with one batch at the provider that gets no further, so all that a resume does is bookkeeping and
one poll at most. The rows of ``batches`` are fewer, since each goes through the simulator.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.bench.batched import simulator
from tests.bench.figures import Report, Table
from tests.bench.tickets import SOURCE
from tests.bench.trails import database_bytes, payload_bytes
from tests.bench.workshop import Workshop

OPEN_ROWS = 1_000
BATCHES, LEAST_IN_A_BATCH = 20, 50
PENDING, REFUSED = 75, 4
PIPELINE = (
    f"name: resume\n{SOURCE}"
    + """\
steps:
%(gate)s
  - name: ask
    plugin: openai_batch_llm
    options:
      base_url: %(url)s/v1
      api_key: ${OPENAI_API_KEY}
      model: gpt-test
      template: "{{ row.body }}"
      max_requests: %(max_requests)s
      max_batches_in_flight: 1
      poll_interval_seconds: 0.2
sinks:
%(early)s
  done: {plugin: jsonl, options: {path: out/done.jsonl}}
output: done
"""
)
GATE = "  - {name: sort, gate: \"row['id'] < %d\", routes: {true: early, false: next}}"
EARLY = "  early: {plugin: csv, options: {path: out/early.csv}}"

Make = Callable[[Workshop, Path, str, int], int]


def report(workshop: Workshop) -> Report:
    """Makes both runs and goes on with each several times, to no effect."""
    lines, figures = [], {}
    cases: tuple[tuple[str, int, Make], ...] = (
        ("gate", workshop.rows, _make_gated),
        ("batches", workshop.moderate_rows, _make_batched),
    )
    for name, rows, make in cases:
        folder = workshop.folder / f"resume-{name}"
        folder.mkdir()
        subject = f"resume: {name}"
        with simulator(folder) as url:
            done = make(workshop, folder, url, rows)
            for _ in range(workshop.times(rows, usual=3)):
                workshop.elspeth(subject, rows, folder, "resume", "latest", "--no-wait", code=PENDING)
        trail_mb = (database_bytes(folder) + payload_bytes(folder)) / 1e6
        figures[f"{subject} cpu s {rows}"] = workshop.cpu_s(subject, rows)
        lines.append(
            [
                f"{name}, {done:,} rows done",
                f"{trail_mb:.0f}",
                workshop.wall_s(subject, rows).text("{:.2f}".format),
                workshop.cpu_s(subject, rows).text("{:.2f}".format),
                workshop.memory_mb(subject, rows).text("{:.0f}".format),
            ]
        )
    header = ("", "trail MB", "wall s", "CPU s", "MB")
    return Report(tables=[Table(title="resume", header=header, lines=lines)], figures=figures)


def _make_gated(workshop: Workshop, folder: Path, url: str, rows: int) -> int:
    """All rows but the last go past the provider. Returns how many are done."""
    early = rows - min(OPEN_ROWS, rows // 2)
    _write(workshop, folder, url, rows, gate=GATE % early, early=EARLY, max_requests=OPEN_ROWS)
    _stick(url)
    workshop.elspeth("resume: run to the gate's batch", rows, folder, "run", "pipeline.yaml", "--no-wait", code=PENDING)
    return early


def _make_batched(workshop: Workshop, folder: Path, url: str, rows: int) -> int:
    """The creation of the last job is refused, so that the process ends when all others are harvested."""
    size = max(-(-rows // BATCHES), LEAST_IN_A_BATCH)
    batches = -(-rows // size)
    _write(workshop, folder, url, rows, gate="", early="", max_requests=size)
    _add_fault(url, {"operation": "batches.create", "occurrence": batches, "action": {"status": 401}})
    workshop.elspeth("resume: run to the last batch", rows, folder, "run", "pipeline.yaml", code=REFUSED)
    _stick(url)
    words = ("resume", "latest", "--no-wait")
    workshop.elspeth("resume: submit the last batch", rows, folder, *words, code=PENDING)
    return size * (batches - 1)


def _write(workshop: Workshop, folder: Path, url: str, rows: int, **values: object) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE % {"source": workshop.source(rows), "url": url, **values})


def _stick(url: str) -> None:
    """From now on no job gets any further."""
    _add_fault(url, {"operation": "batches.retrieve", "occurrence": "every", "action": "stuck"})


def _add_fault(url: str, fault: dict[str, object]) -> None:
    """Adds to the simulator's fault plan."""
    request = urllib.request.Request(f"{url}/_simulator/faults", data=json.dumps(fault).encode())
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).close()
