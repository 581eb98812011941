"""The vendor's SDK over a recording client, under the guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from elspeth.simulator import Settings, Simulator

SCRIPT = """
import sys
from pathlib import Path
from elspeth.contracts import CallScope
from elspeth.core.calls import NetworkGuard, Redactor
from elspeth.core.calls.client import recording_client
from elspeth.core.canonical import sha256
from elspeth.core.landscape import *
from elspeth.core.payloads import SegmentStream
from elspeth.testing import FakeClock

folder, url = Path(sys.argv[1]), sys.argv[2]
create_database(folder / "a.db")
new = NewRun(
    pipeline="p", mode="run", folder=folder, config_json="{}", payloads=folder, code_version="0", row_limit=None
)
number = create_run(folder / "a.db", new, clock=FakeClock())
with LandscapeReader(folder / "a.db") as reader:
    run = reader.run_numbered(number)
    journal = open_journal(reader, run, clock=FakeClock(), signing=Signing.throwaway(folder / "a.db"))
    calls = LandscapeRecorder(journal, run_id=run.run_id, started_at=0, code_version="0").calls
    with NetworkGuard() as guard:
        import openai
        redactor = Redactor(["sk-sentinel-01"])
        http = recording_client(log=calls, scope=lambda: calls.scope, redactor=redactor, clock=FakeClock())
        common = {"api_key": "sk-sentinel-01", "http_client": http, "max_retries": 0}
        for client in (
            openai.OpenAI(base_url=url + "/v1", **common),
            openai.AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", **common),
        ):
            line = b'{"custom_id": "0", "method": "POST", "url": "/v1/chat/completions", "body": {}}\\n'
            body = calls.store_body(line)
            with calls.on_behalf_of(CallScope(request_body=body)):
                stream = SegmentStream(lambda: iter([line]), size=len(line))
                file = client.files.create(file=("in.jsonl", stream, "application/octet-stream"), purpose="batch")
            try:
                client.batches.retrieve("batch_x")
            except openai.NotFoundError:
                pass
            client.files.content(file.id)
        guard.check()
        http.close()
    journal.commit_durably()
    asked = "SELECT operation, http_status, request_hash = ?, envelope_ref, envelope_hash FROM calls ORDER BY call_no"
    found = reader.query(asked, sha256(line))
    for record in found:
        print(*record[:3])
    headers = [Payloads(reader, run).body_at(*record[3:]) for record in found]
    print(all(b'["accept-encoding","identity"]' in one.lower() for one in headers))
    print(any(b"sk-sentinel-01" in one for one in headers))
    journal.close()
"""


def test_the_sdk_does_nothing_behind_the_engines_back(tmp_path: Path) -> None:
    with Simulator(Settings(latency_s=0)) as simulator:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), simulator.url],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": "src"},
        )

    assert "" == done.stderr
    assert [
        "files.create 200 1",
        "batches.retrieve 404 0",
        "files.content 200 0",
        "files.create 201 1",
        "batches.retrieve 404 0",
        "files.content 200 0",
        "True",
        "False",
    ] == done.stdout.splitlines()
