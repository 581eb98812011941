"""What a replay costs beside the run that it repeats.

    python tests/bench/replay.py [ROWS]

A CSV goes through two transforms and a gate into two sinks, once without a model and once, a tenth of the rows, with a
batch step against a simulator. Both commands are timed from the start of the process to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth.simulator import Settings, Simulator

ELSPETH = Path(sys.executable).with_name("elspeth")
PIPELINE = """\
name: replay
source:
  plugin: csv
  options: {path: rows.csv}
  schema: {id: int, subject: str, body: str, priority: int}
steps:
  - {name: tidy, plugin: field_mapper, options: {rename: {subject: title}}}
  - {name: more, plugin: field_mapper, options: {rename: {priority: urgency}}}
%s  - {name: risk, gate: "row['urgency'] >= 3", routes: {true: urgent, false: next}}
sinks:
  normal: {plugin: csv, options: {path: out/normal.csv}}
  urgent: {plugin: jsonl, options: {path: out/urgent.jsonl}}
output: normal
"""
ASK = """\
  - name: ask
    plugin: openai_batch_llm
    options:
      {base_url: %s/v1, api_key: "${KEY}", model: gpt-test, template: "{{ row.body }}", poll_interval_seconds: 1}
"""
# A process of its own, and a small one: a child's peak counts the memory of whoever started it.
MEASURE = """
import json, resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@contextmanager
def prepared(folder: Path, rows: int, *, asks: bool) -> Iterator[None]:
    with (folder / "rows.csv").open("w") as file:
        file.write("id,subject,body,priority\n")
        file.writelines(f"{n},Subject {n},The body of ticket number {n},{n % 5}\n" for n in range(rows))
    with Simulator(Settings(latency_s=0.5)) as simulator:
        (folder / "pipeline.yaml").write_text(PIPELINE % (ASK % simulator.url if asks else ""))
        yield


def main(rows: int) -> None:
    print("pipeline     rows        command   wall s   CPU s      MB")
    for name, count in (("no model", rows), ("batch step", rows // 10)):
        with tempfile.TemporaryDirectory() as place, prepared(Path(place), count, asks=name != "no model"):
            for command in (["run", "pipeline.yaml"], ["replay", "latest"]):
                words = [sys.executable, "-c", MEASURE, str(ELSPETH), *command]
                env = {"PATH": "/usr/bin:/bin", "HOME": place, "KEY": "sk-bench-0123456789"}
                done = subprocess.run(words, cwd=place, env=env, check=True, stdout=subprocess.PIPE)
                wall_s, cpu_s, memory_mb = json.loads(done.stdout)
                print(f"{name:12} {count:<11,} {command[0]:8} {wall_s:7.1f} {cpu_s:7.1f} {memory_mb:7.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
