"""With --upstream, a real OpenAI-compatible server gives the answers."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.client import WireClient, batch_of, json_lines, request_line
from tests.simulator.conftest import Simulate
from tests.simulator.process import running

from elspeth.simulator import Settings, Simulator
from elspeth.simulator.completions import completion


class Upstream(ThreadingHTTPServer):
    """Answers with a completion that names the caller's text, or as the text commands."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.released = threading.Event()
        self.asked: list[tuple[str, str | None, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][-1]["content"]
        self.server.asked.append((self.path, self.headers["authorization"], text))
        status, answer = 200, json.dumps({**completion(body, seed="up"), "model": "a-real-model"})
        if text.startswith("status "):
            status, answer = int(text.split()[1]), json.dumps({"error": {"code": "e", "message": "no"}})
        if text == "garbage":
            answer = "<html>"
        if text == "hang":
            self.server.released.wait(10)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def test_answers_and_errors_come_from_upstream(simulate: Simulate, upstream: Upstream) -> None:
    _, client = simulate(upstream_url=upstream.url, upstream_key="up-key")
    texts = ["hello", "status 429", "status 400", "garbage", "bye"]
    batch = client.run(json_lines([request_line(f"row-{n}", text) for n, text in enumerate(texts)]))
    good, bad = client.lines(batch["output_file_id"]), client.lines(batch["error_file_id"])
    assert [row["custom_id"] for row in good] == ["row-0", "row-4"]
    assert {"a-real-model"} == {row["response"]["body"]["model"] for row in good}
    assert [row["response"]["status_code"] for row in bad] == [429, 400, 502]
    assert bad[0]["response"]["body"]["error"] == {"code": "e", "message": "no"}
    assert {("/v1/chat/completions", "Bearer up-key")} == {asked[:2] for asked in upstream.asked}


def test_rows_that_are_to_fail_are_not_asked_for(simulate: Simulate, upstream: Upstream) -> None:
    _, client = simulate(upstream_url=upstream.url, row_faults={"row-0": "500", "row-1": "length"})
    batch = client.run(batch_of(3))
    assert {"hello 1", "hello 2"} == {asked[2] for asked in upstream.asked}
    assert client.lines(batch["output_file_id"])[0]["response"]["body"]["choices"][0]["finish_reason"] == "length"


def test_an_upstream_that_is_not_there_fails_the_rows(simulate: Simulate) -> None:
    _, client = simulate(upstream_url="http://127.0.0.1:9/v1")
    batch = client.run(batch_of(2))
    assert [row["response"]["status_code"] for row in client.lines(batch["error_file_id"])] == [503, 503]


def test_a_reply_once_had_is_not_asked_for_again_after_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    settings = Settings(state_dir=tmp_path, upstream_url=upstream.url, latency_s=30)
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        batch_id = client.create(client.upload(batch_of(8)).json()["id"]).json()["id"]
        while len(upstream.asked) < 8:
            time.sleep(0.01)
    with Simulator(settings) as simulator, WireClient(simulator.url) as client:
        client.http.post(f"/batches/{batch_id}/cancel")
        assert client.batch(batch_id)["status"] == "cancelling"
    assert len(upstream.asked) == 8


def test_a_process_whose_upstream_hangs_still_ends_at_once(upstream: Upstream) -> None:
    options = ["--latency", "0", "--upstream", upstream.url, "--upstream-key-env", "UP_KEY"]
    with running(*options, environment={"UP_KEY": "from-the-environment"}) as process:
        with WireClient(process.url) as client:
            client.create(client.processed(json_lines([request_line("row", "hang")])))
        while not upstream.asked:
            time.sleep(0.01)
        started = time.monotonic()
        process.popen.terminate()
        assert process.popen.wait(5) == 0
        assert time.monotonic() - started < 1
        assert process.end() == (b"", b"")
    assert upstream.asked[0][1] == "Bearer from-the-environment"
