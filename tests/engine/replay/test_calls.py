"""What transforms asked for by themselves is answered from the trail: calls.py, context.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.core.calls.conftest import Seen, Server
from tests.engine.replay.desk import found, replay
from tests.engine.workbench import Project

from elspeth.contracts import RunStatus

pytestmark = pytest.mark.usefixtures("odd_plugins")

SCHEMA = "schema: {url: str, ask: json, flag: str?}"
STEP = "- {name: call, plugin: call_out, on_error: failed}"
SINKS = ["done", "failed"]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Never gives the same answer twice."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:

        def count(seen: Seen) -> None:
            server.answer = f"{len(server.seen)}".encode()

        server.on_request = count
        yield server


def run(bench: Project, service: Server, *asks: list[str], **more: Any) -> None:
    bench.rows([{"url": service.url, "ask": ask, "flag": None, **more} for ask in asks])
    bench.pipeline(STEP, source=SCHEMA, sinks=SINKS)
    assert bench.run().status is RunStatus.COMPLETED


def silent(service: Server) -> int:
    return len(service.seen)


def test_the_same_request_twice_gets_the_first_answer_and_then_the_second(bench: Project, service: Server) -> None:
    run(bench, service, ["ok", "ok", "post", "post"], ["post", "ok"])
    assert [["1", "2", "3", "4"], ["5", "6"]] == [row["said"] for row in bench.lines("done")]
    asked = silent(service)
    content = replay(bench)
    assert content["is_identical"], content
    assert asked == silent(service)


def test_an_upload_is_known_by_its_parts_whatever_boundary_is_drawn(bench: Project, service: Server) -> None:
    run(bench, service, ["upload", "ok", "upload"])
    assert [["1", "2", "3"]] == [row["said"] for row in bench.lines("done")]
    assert replay(bench)["is_identical"]


def test_refusals_lost_connections_and_cut_answers_come_again(bench: Project, service: Server) -> None:
    run(bench, service, ["429", "reset", "truncated", "redirect", "large", "empty"])
    said = bench.lines("done")[0]["said"]
    assert ["status 429", "ReadError", "RemoteProtocolError"] == said[:3]
    assert replay(bench)["is_identical"]


def test_the_answers_of_a_process_that_died_are_not_those_that_count(bench: Project, service: Server) -> None:
    flag = bench.write("flag", "")
    bench.rows(
        [{"url": service.url, "ask": ["post"], "flag": None}, {"url": service.url, "ask": ["post"], "flag": str(flag)}]
    )
    bench.pipeline(STEP, source=SCHEMA, sinks=SINKS)
    with pytest.raises(ZeroDivisionError):
        bench.run()
    bench.resume()
    assert [["3"], ["4"]] == [row["said"] for row in bench.lines("done")]
    assert 4 == len(bench.query("SELECT 1 FROM calls"))
    assert replay(bench)["is_identical"]


def test_a_request_of_which_nobody_knows_the_answer_is_a_lost_connection(bench: Project, service: Server) -> None:
    run(bench, service, ["post"])
    forget(bench, "DELETE FROM calls")
    content = replay(bench)
    (field,) = [entry for entry in content["rows"] if entry["sort"] == "field"]
    assert (["1"], ["ConnectError"]) == (field["recorded"], field["replayed"])


def test_a_request_that_was_never_made_ends_its_row_and_is_named(bench: Project, service: Server) -> None:
    run(bench, service, ["ok"], ["ok"])
    forget(bench, "UPDATE calls SET url = url || '/else' WHERE row_index = 0")
    content = replay(bench)
    assert ("call", 0, "call", "call") in found(content)
    assert f"GET {service.url}/ok" in [entry.get("replayed") for entry in content["rows"]]
    assert {"call": {"rows": 1, "ranges": [[0, 0]]}} == content["asked_anew"]
    assert 1 == next(output["rows"] for output in content["outputs"] if output["sink"] == "done")


def test_a_call_that_nobody_makes_again_is_a_difference(bench: Project, service: Server) -> None:
    run(bench, service, ["ok"])
    columns = [name for _, name, *_ in bench.query("PRAGMA table_info(calls)")]
    kept = ", ".join("call_no + 1" if name == "call_no" else name for name in columns)
    forget(bench, f"INSERT INTO calls SELECT {kept} FROM calls")
    assert [("call", 0, None, "call")] == found(replay(bench))


def test_a_changed_answer_and_a_purged_one_end_the_row(bench: Project, service: Server) -> None:
    run(bench, service, ["ok"])
    forget(bench, "UPDATE calls SET response_hash = zeroblob(32)")
    content = replay(bench)
    assert {"damaged": {"rows": 1, "ranges": [[0, 0]]}} == content["unreplayable"]
    assert ("payload", 0, None, "call 0") in found(content)
    (segment,) = bench.folder.rglob("calls.zst")
    segment.unlink()
    content = replay(bench)
    assert {"calls": {"rows": 1, "ranges": [[0, 0]]}} == content["unreplayable"]
    assert {"rows": 0} == content["differences"]


def test_a_call_without_an_http_seam_is_compared(bench: Project) -> None:
    bench.rows([{"text": "a"}, {"text": "b"}])
    bench.pipeline("- {name: note, plugin: tell_call}", source="schema: {text: str}")
    bench.run()
    assert replay(bench)["is_identical"]
    forget(bench, "UPDATE calls SET status = 2, error_json = '{}' WHERE row_index = 1")
    (entry,) = replay(bench)["rows"]
    assert ("call", 1, "note", "call 1") == (entry["sort"], entry["row"], entry["step"], entry["field"])
    assert (2, 1) == (entry["recorded"]["status"], entry["replayed"]["status"])


def forget(bench: Project, change: str) -> None:
    """Does what the triggers forbid."""
    with closing(sqlite3.connect(bench.database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(change)
        connection.commit()
