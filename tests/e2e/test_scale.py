"""A hundred thousand rows: flat memory, every row accounted for, every byte kept."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.project import ELSPETH, Project
from tests.e2e.wire import of, sha256

ROWS = 100_000
MOST_MEMORY_MB = 300

pytestmark = pytest.mark.slow


# Runs a command and tells what it used. A process of its own, and a small one: a child's peak counts
# the memory of whoever started it, and a worker that has run a thousand tests is large.
MEASURE = """
import json, resource, subprocess, sys
with open("stdout", "wb") as out, open("stderr", "wb") as err:
    code = subprocess.run(sys.argv[1:], stdout=out, stderr=err).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": code, "memory_mb": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}))
"""


@pytest.fixture
def simulator_url(tmp_path: Path) -> Iterator[str]:
    """A simulator as a process of its own, so that its memory is not ours."""
    command = [ELSPETH, "simulate", "--port", "0", "--latency", "1s", "--state", tmp_path / "sim", "--exit-with-parent"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.stdin.close()
    process.wait(timeout=20)
    process.stdout.close()


def test_a_hundred_thousand_rows(project: Project, simulator_url: str) -> None:
    with project.path("tickets.csv").open("w") as file:
        file.write("id,subject,body,priority\n")
        for n in range(ROWS):
            bad = n % 1000 == 999
            file.write(f"{'x' if bad else ''}{n + 1},Subject {n},The body of ticket number {n},{n % 5 or ''}\n")
    project.write_pipeline(simulator_url, max_requests=50_000)
    measured = json.loads(
        subprocess.run(
            [sys.executable, "-c", MEASURE, ELSPETH, "run", "pipeline.yaml"],
            cwd=project.folder,
            env=project.environment(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert 0 == measured["code"], project.text("stderr")
    assert measured["memory_mb"] < MOST_MEMORY_MB
    sys.stdout.write(f"{measured['memory_mb']:.0f} MB, {measured['cpu_s']:.1f} s of CPU\n")

    line = project.text("stdout")
    total, terms = line.removeprefix("complete: ").split(" · ")[0].split(" in = ")
    assert "100,000" == total
    assert ROWS == sum(int(term.split()[0].replace(",", "")) for term in terms.split(" + "))
    assert "100 quarantined (type)" in terms
    counted = project.query("SELECT COUNT(*) AS n, COUNT(DISTINCT row_index) AS rows FROM v_outcomes")
    assert [{"n": ROWS, "rows": ROWS}] == counted

    with urllib.request.urlopen(f"{simulator_url}/_simulator/journal") as answer:
        journal = [json.loads(entry) for entry in answer.read().splitlines()]
    uploads, downloads = of(journal, "files.create"), of(journal, "files.content")
    assert (2, 2) == (len(uploads), len(downloads))
    for digest in [e["file_sha256"] for e in uploads] + [e["response_sha256"] for e in downloads]:
        assert digest == sha256(project.payload(digest))

    for row in (0, 49_999, 50_000, ROWS - 2):
        found = project.explain(row)
        if found["row"]["data"] is None:
            continue
        (attempt,) = found["steps"][1]["attempts"]
        assert f"row-{row}-0" == json.loads(attempt["request"]["line"])["custom_id"]
        assert f"row-{row}-0" == json.loads(attempt["reply"]["line"])["custom_id"]
        (outcome,) = found["outcomes"]
        written = project.path(outcome["path"]).read_text().split("\n")[outcome["line"] - 1]
        assert str(row + 1) in written
    last = project.explain(ROWS - 1)
    assert f"x{ROWS},Subject {ROWS - 1}" in last["row"]["raw"]
    assert "quarantined" == last["outcomes"][0]["outcome"]
