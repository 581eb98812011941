"""What a verification costs: time and memory, as the rows become more.

    python tests/bench/verify.py [ROWS ...]

For each number of rows one run is made (CSV, two field_mapper, a gate, two CSV sinks) and verified by the installed
command. Memory must not grow with the rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (100_000, 1_000_000)
ELSPETH = Path(sys.executable).with_name("elspeth")

CITIES = ("Berlin", "Paris", "Rome")
NOTE = "a note of some length as people write them when nobody reads them " * 2
REMARK = "and a remark that is shorter but not by much and says nothing that the note does not say"

PIPELINE = """\
name: verify
source:
  plugin: csv
  options: {path: rows.csv}
  schema: {id: int, text: str, amount: float, city: str, kind: str, count: int, note: str, remark: str}
steps:
  - {name: first, plugin: field_mapper, options: {rename: {text: words}}}
  - {name: second, plugin: field_mapper, options: {rename: {amount: money}}}
  - {name: large, gate: "row['id'] % 10 == 0", routes: {true: few, false: next}}
sinks:
  most: {plugin: csv, options: {path: out/most.csv}}
  few: {plugin: csv, options: {path: out/few.csv}}
output: most
"""


def prepare(folder: Path, rows: int) -> None:
    """The pipeline and its source: eight fields, about 300 bytes a row."""
    (folder / "pipeline.yaml").write_text(PIPELINE)
    with (folder / "rows.csv").open("w") as file:
        file.write("id,text,amount,city,kind,count,note,remark\n")
        file.writelines(
            f"{number},some words about row {number},{number / 8},{CITIES[number % 3]},{'abc'[number % 3]},"
            f"{number % 100},{NOTE},{REMARK}\n"
            for number in range(rows)
        )


def measured(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Runs the command in the folder: seconds on the clock, seconds of CPU, the most megabytes it ever held."""
    environ = {**os.environ, "HOME": str(folder)}
    started = time.perf_counter()
    process = subprocess.Popen([ELSPETH, *arguments], cwd=folder, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"elspeth {' '.join(arguments)} ended with {process.returncode}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Prints a line for each size."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    print(f"{'rows':>10} {'run s':>8} {'run cpu':>8} {'run MB':>7} {'verify s':>9} {'cpu':>7} {'MB':>5} {'µs/row':>7}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, rows)
            run = measured(folder, "run", "pipeline.yaml")
            found = measured(folder, "verify")
        print(
            f"{rows:>10,} {run[0]:>8.1f} {run[1]:>8.1f} {run[2]:>7.0f} "
            f"{found[0]:>9.1f} {found[1]:>7.1f} {found[2]:>5.0f} {found[1] / rows * 1e6:>7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
