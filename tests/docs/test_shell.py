"""The shell commands of docs/audit-format.md find what they say, where the tools are installed."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing

import pytest
from tests.docs.conftest import DOCS, FinishedRun

TOOLS = ("bash", "zstdcat", "sha256sum")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")


def command(beginning: str) -> str:
    """The console command of the page that begins so, continuation lines included."""
    page = (DOCS / "audit-format.md").read_text()
    start = page.index(f"$ {beginning}") + 2
    return page[start : page.index("```", start)]


def run(finished: FinishedRun, text: str) -> str:
    script = text.replace("RUN", finished.run_id)
    done = subprocess.run(["bash", "-c", script], cwd=finished.folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def one(finished: FinishedRun, sql: str) -> tuple[str, ...]:
    with closing(finished.connect()) as connection:
        (answer,) = connection.execute(sql).fetchall()
    return tuple(answer)


def test_the_hash_of_a_batch_file(finished: FinishedRun) -> None:
    name, sha256 = one(
        finished,
        "SELECT s.name, lower(hex(i.request_hash)) FROM call_intents i JOIN segments s USING (run_no, batch_no) "
        "WHERE i.operation = 'files.create' AND s.role = 1",
    )
    text = command("zstdcat .elspeth/payloads/RUN/000004").replace("000004-classify-b0001-a0-request.jsonl.zst", name)

    assert run(finished, text).split()[0] == sha256


def test_the_hash_of_a_body(finished: FinishedRun) -> None:
    reference, sha256 = one(
        finished, "SELECT response_ref, response_hash FROM v_calls WHERE operation = 'batches.create'"
    )
    _, start, length = reference.split(":")
    text = f"start={start} length={length}; " + command("zstdcat .elspeth/payloads/RUN/calls.zst")

    assert run(finished, text).split()[0] == sha256


def test_the_bytes_of_a_row(finished: FinishedRun) -> None:
    (sha256,) = one(finished, "SELECT data_hash FROM v_rows WHERE row_index = 0")
    text = command("zstdcat .elspeth/payloads/RUN/rows.zst").replace("HASH", sha256)

    assert (
        run(finished, text) == '{"id":"T-1","subject":"Cannot log in","body":"The page says forbidden","priority":1}\n'
    )
