"""What a resume costs when a million rows are done and one batch is open.

    python tests/bench/resume.py [ROWS]

Two runs are made, each against a simulator of its own, and left with one batch at the provider:

    gate      all but the last 1,000 rows went straight to a sink, these to one batch
    batches   all rows went through batches of a twentieth of them; all but the last one are harvested

Then ``elspeth resume latest --no-wait`` is timed: from the start of the process to its end, with one poll at
most in between. Nothing may be left to do, so all of it is bookkeeping. The table shows medians of three.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from elspeth.simulator import Settings, Simulator

ROWS = 1_000_000
OPEN_ROWS = 1_000
BATCHES = 20
TIMES = 3
PENDING, REFUSED = 75, 4
ELSPETH = Path(sys.executable).with_name("elspeth")

PIPELINE = """\
name: resume
source:
  plugin: csv
  options: {{path: rows.csv}}
  schema: {{id: int, text: str, amount: float}}
steps:
{gate}
  - name: ask
    plugin: openai_batch_llm
    options:
      base_url: {url}/v1
      api_key: ${{KEY}}
      model: gpt-test
      template: "{{{{ row.text }}}}"
      max_requests: {max_requests}
      max_batches_in_flight: 1
      poll_interval_seconds: 0.2
    on_error: failed
sinks:
  early: {{plugin: csv, options: {{path: out/early.csv}}}}
  done: {{plugin: jsonl, options: {{path: out/done.jsonl}}}}
  failed: {{plugin: jsonl, options: {{path: out/failed.jsonl}}}}
output: done
"""
GATE = """\
  - name: sort
    gate: row['id'] < {early}
    routes: {{true: early, false: next}}
"""


def main() -> None:
    """Makes both runs and prints the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(f"{'run':10}{'rows done':>12}{'made in':>10}{'trail':>10}{'wall':>9}{'CPU':>9}{'memory':>10}")
    for name, make in (("gate", make_gated), ("batches", make_batched)):
        with tempfile.TemporaryDirectory(prefix="elspeth-bench-") as folder:
            measure(name, rows, Path(folder), make)


def measure(name: str, rows: int, folder: Path, make: Callable[[Path, int, Simulator], int]) -> None:
    """One line of the table."""
    began = time.perf_counter()
    with Simulator(Settings(latency_s=0.0)) as simulator:
        done = make(folder, rows, simulator)
        made_s = time.perf_counter() - began
        timed = [resumed(folder) for _ in range(TIMES)]
    wall, cpu = (statistics.median(column) for column in list(zip(*timed, strict=True))[:2])
    memory_mb = max(memory for _, _, memory in timed)
    trail_mb = sum(path.stat().st_size for path in (folder / ".elspeth").rglob("*") if path.is_file()) / 1e6
    line = f"{name:10}{done:12,}{made_s:8.0f} s{trail_mb:7.0f} MB{wall:7.2f} s{cpu:7.2f} s{memory_mb:7.0f} MB"
    print(line, flush=True)


def make_gated(folder: Path, rows: int, simulator: Simulator) -> int:
    """All rows but the last go past the provider. Returns how many are done."""
    early = rows - min(OPEN_ROWS, rows // 2)
    write(folder, simulator, rows, gate=GATE.format(early=early), max_requests=OPEN_ROWS)
    stick(simulator)
    elspeth(folder, "run", "pipeline.yaml", "--no-wait", code=PENDING)
    return early


def make_batched(folder: Path, rows: int, simulator: Simulator) -> int:
    """The creation of the last job is refused, so that the process ends when all others are harvested."""
    size = rows // BATCHES
    write(folder, simulator, size * BATCHES, gate="", max_requests=size)
    add_fault(simulator, {"operation": "batches.create", "occurrence": BATCHES, "action": {"status": 401}})
    elspeth(folder, "run", "pipeline.yaml", code=REFUSED)
    stick(simulator)
    elspeth(folder, "resume", "latest", "--no-wait", code=PENDING)
    return size * (BATCHES - 1)


def write(folder: Path, simulator: Simulator, rows: int, *, gate: str, max_requests: int) -> None:
    """Source and pipeline."""
    with (folder / "rows.csv").open("w") as file:
        file.write("id,text,amount\n")
        file.writelines(f"{n},Text of record number {n},{n % 1000}.25\n" for n in range(rows))
    text = PIPELINE.format(gate=gate, url=simulator.url, max_requests=max_requests)
    if not gate:
        text = text.replace("  early: {plugin: csv, options: {path: out/early.csv}}\n", "")
    (folder / "pipeline.yaml").write_text(text)


def stick(simulator: Simulator) -> None:
    """From now on no job gets any further."""
    add_fault(simulator, {"operation": "batches.retrieve", "occurrence": "every", "action": "stuck"})


def add_fault(simulator: Simulator, fault: dict[str, object]) -> None:
    """Adds to the simulator's fault plan."""
    request = urllib.request.Request(f"{simulator.url}/_simulator/faults", data=json.dumps(fault).encode())
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).close()


def resumed(folder: Path) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory in MB of one resume that has nothing to do."""
    before = time.perf_counter()
    process = start(folder, "resume", "latest", "--no-wait")
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != PENDING:
        raise SystemExit(f"the resume ended with {process.returncode}: {(folder / 'log').read_text()}")
    return wall, used.ru_utime + used.ru_stime, memory_mb_of(used)


def memory_mb_of(used: resource.struct_rusage) -> float:
    """Linux counts in kB, macOS in bytes."""
    return used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def elspeth(folder: Path, *arguments: str, code: int) -> None:
    """Runs the command to its end, which must be the one that is expected."""
    found = start(folder, *arguments).wait()
    if found != code:
        raise SystemExit(f"elspeth {arguments[0]} ended with {found}: {(folder / 'log').read_text()}")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts the command in the folder of the run."""
    environ = {**os.environ, "KEY": "sk-bench-0123456789"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([ELSPETH, *arguments], cwd=folder, env=environ, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
