from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.app import reports
from elspeth.app.explanation import explain_row
from elspeth.contracts import BusyError, CredentialsError, RunError, RunStatus, SourceError, UsageError
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.locks import OutputLock, RunLock
from elspeth.engine import orchestrator
from elspeth.simulator import Simulator

SCHEMA = "schema: {id: int, text: str}\nkey: id\non_invalid: rejected"
SINKS = ["done", "failed", "rejected"]


def prepare(bench: Project, simulator: Simulator) -> None:
    bench.write("prompt.txt", "Say {{ row.text }}")
    bench.write("rows.jsonl", "".join(f'{{"id": {n}, "text": "say {n}"}}\n' for n in range(4)) + "broken\n")
    step = ask(simulator, template_file="prompt.txt", poll_interval_seconds=0.1).replace(
        '"template": "Say {{ row.text }}", ', ""
    )
    bench.pipeline(step, source=SCHEMA, sinks=SINKS)


def test_a_completed_run_is_only_reported(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepare(bench, simulator)
    first = bench.run()
    (bench.folder / "out" / "done.jsonl").unlink()
    requests = len(simulator.journal())
    again = bench.resume()
    assert (again.status, again.exit_code, again.run_id) == (RunStatus.COMPLETED, 0, first.run_id)
    assert again.summary == first.summary
    assert len(simulator.journal()) == requests
    assert not (bench.folder / "out" / "done.jsonl").exists()


def test_a_pending_run_tells_its_state_and_explains_its_rows(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(latency_s=3600.0))
    result = bench.run(submit_only=True)
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    with LandscapeReader(bench.database) as reader:
        run = reader.run("latest")
        status = reports.run_status(reader, run)
        waiting = explain_row(reader, run, key="2").to_dict()
        rejected = explain_row(reader, run, row=4).to_dict()
        text = str(explain_row(reader, run, row=2))
    assert (status["status"], status["rows"]["read"]) == ("pending", 5)
    assert status["rows"]["is_source_done"] is True
    assert status["next"] == f"elspeth resume {result.run_id}"
    assert [batch["phase"] for batch in status["batches"]] == ["created"]
    assert waiting["row"]["data"] == {"id": 2, "text": "say 2"}
    (step,) = waiting["steps"]
    assert (step["status"], step["output"]) == ("waiting", None)
    assert json.loads(step["attempts"][0]["request"]["line"])["custom_id"] == "row-2-0"
    assert waiting["outcomes"] == []
    assert "waits for the provider" in text
    assert rejected["row"]["data"] is None
    assert rejected["row"]["raw"].strip() == "broken"


def test_failed_and_quarantined_rows_are_explained_with_their_reasons(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(row_faults={"row-1-0": "content_filter"}))
    bench.run()
    with LandscapeReader(bench.database) as reader:
        run = reader.run("latest")
        failed = explain_row(reader, run, row=1).to_dict()
        rejected = explain_row(reader, run, row=4).to_dict()
        text = str(explain_row(reader, run, row=1))
    (step,) = failed["steps"]
    assert (step["status"], step["error"]["code"]) == ("failed", "content_filter")
    assert step["attempts"][0]["reply"]["file"] == "error"
    assert failed["outcomes"][0]["sink"] == "failed"
    assert "content_filter" in text
    assert rejected["outcomes"][0]["outcome"] == "quarantined"


def test_a_resume_goes_by_what_was_recorded_whatever_became_of_the_files(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(latency_s=0.3))
    bench.run(submit_only=True)
    bench.file.unlink()
    bench.write("prompt.txt", "Shout")
    (bench.folder / "rows.jsonl").unlink()
    assert bench.resume().status is RunStatus.COMPLETED
    assert [row["llm_response"] for row in bench.lines("done")] == [f"echo: Say say {n}" for n in range(4)]


def test_an_edited_source_is_refused_with_what_changed(bench: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator, "_ROWS_A_MICRO_BATCH", 2)
    monkeypatch.setattr(orchestrator, "_ROWS_A_COMMIT", 2)
    bench.rows([{"id": n} for n in range(8)])
    bench.pipeline(source="schema: {id: int}")
    import threading

    stop = threading.Event()
    result = bench.run(stop=stop, on_progress=lambda _progress: stop.set())
    assert (result.status, result.exit_code) == (RunStatus.INTERRUPTED, 130)
    original = (bench.folder / "rows.jsonl").read_bytes()
    bench.rows([{"id": n + 100} for n in range(8)])
    refused = bench.resume()
    assert isinstance(refused.error, SourceError)
    assert "rows.jsonl" in refused.error.message
    bench.write("rows.jsonl", original)
    assert bench.resume().status is RunStatus.COMPLETED
    assert [row["id"] for row in bench.lines("done")] == list(range(8))


def test_a_second_process_is_refused_with_the_holders_name(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(latency_s=0.3))
    result = bench.run(submit_only=True)
    with RunLock(bench.database.parent, result.run_id):
        with pytest.raises(BusyError) as busy:
            bench.resume()
    import os
    import socket

    assert (busy.value.host, busy.value.pid) == (socket.gethostname(), os.getpid())
    assert busy.value.since


def test_a_second_live_run_on_an_output_is_refused_before_anything_is_sent(bench: Project, serve: Serve) -> None:
    simulator = serve()
    prepare(bench, simulator)
    with OutputLock(bench.database.parent, bench.folder / "out" / "done.jsonl"):
        refused = bench.run()
    assert (type(refused.error), refused.exit_code) == (BusyError, 6)
    assert simulator.journal() == []
    assert bench.resume().status is RunStatus.COMPLETED


def test_a_run_that_another_process_completed_meanwhile_is_only_reported(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(latency_s=0.3))
    bench.run(submit_only=True)
    pipeline_read = threading.Event()
    held = threading.Event()
    results = []

    def other() -> None:
        pipeline_read.wait(30)
        results.append(bench.resume())
        held.set()

    thread = threading.Thread(target=other)
    thread.start()

    def in_between(_run_id: str) -> None:  # called when the run has been read, and before it is locked
        pipeline_read.set()
        held.wait(30)

    late = bench.resume(on_start=in_between)
    thread.join()
    assert [result.status for result in results] == [RunStatus.COMPLETED]
    assert (late.status, late.exit_code, late.error) == (RunStatus.COMPLETED, 0, None)


def test_a_second_run_of_the_same_pipeline_is_refused_until_the_first_is_done(bench: Project, serve: Serve) -> None:
    prepare(bench, serve(latency_s=0.3))
    first = bench.run(submit_only=True)
    with pytest.raises(UsageError, match=first.run_id):
        bench.run()
    assert bench.run(new=True).status is RunStatus.COMPLETED


def test_a_missing_secret_ends_it_before_anything_is_recorded(bench: Project, serve: Serve) -> None:
    prepare(bench, serve())
    bench.environ.clear()
    with pytest.raises(CredentialsError):
        bench.run()
    assert not bench.database.exists()


def unbegun(bench: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that died after its first record and before its first commit."""

    def die(_run: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(on_start=die)
    assert bench.query("SELECT COUNT(*) FROM run_files") == [(0,)]


def test_a_run_that_died_before_its_first_commit_can_be_resumed(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, serve())
    unbegun(bench, monkeypatch)
    assert bench.resume().status is RunStatus.COMPLETED
    assert len(bench.lines("done")) == 4


def test_a_run_that_died_before_its_first_commit_goes_by_no_other_pipeline(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, serve())
    unbegun(bench, monkeypatch)
    bench.write("prompt.txt", "Shout {{ row.text }}")
    with pytest.raises(RunError, match="edited since"):
        bench.resume()
    assert not (bench.folder / "out").exists() or not list(Path(bench.folder / "out").iterdir())
