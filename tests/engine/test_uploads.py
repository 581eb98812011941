"""The request file at the provider: never two of it for long, and never waited for without end."""

from __future__ import annotations

from typing import Any

from tests.conftest import Serve
from tests.engine.test_remote import complete, fault, names, sent
from tests.engine.workbench import HurriedClock, Project, count

from elspeth.contracts import RunStatus
from elspeth.simulator import Simulator


def stray(simulator: Simulator) -> None:
    """The first upload arrives, its answer does not, and the listing is too old to have it."""
    fault(simulator, "files.create", "reset_after")
    fault(simulator, "files.list", "stale_list")


def test_a_file_that_shows_up_after_it_was_sent_again_is_recorded_and_deleted(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    stray(simulator)
    complete(bench, sent(bench, simulator))
    assert (count(simulator, "files.create"), count(simulator, "files.delete")) == (2, 1)
    ((_, _, found),) = bench.events("stray_file")
    assert bench.events("stray_deleted") == [(1, "stray_deleted", found)]
    ((used,),) = bench.query("SELECT remote_file FROM v_batches")
    assert found["stray_file_id"] != used
    (deleted,) = [entry for entry in simulator.journal() if entry["operation"] == "files.delete"]
    assert deleted["path"].endswith(found["stray_file_id"])


def test_of_two_copies_the_older_one_is_used_and_the_other_deleted(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "files.create", "reset_after", occurrence=[1, 2])
    fault(simulator, "files.list", "stale_list")
    complete(bench, sent(bench, simulator))
    assert (count(simulator, "files.create"), count(simulator, "files.delete")) == (2, 1)
    assert "adopted_file" in names(bench)


def test_a_stray_that_is_gone_already_is_as_good_as_deleted(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    stray(simulator)
    fault(simulator, "files.delete", {"status": 404})
    complete(bench, sent(bench, simulator))
    assert (len(bench.events("stray_file")), len(bench.events("stray_deleted"))) == (1, 1)


def test_a_stray_that_cannot_be_deleted_does_not_hold_up_the_run(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    stray(simulator)
    fault(simulator, "files.delete", {"status": 409})
    complete(bench, sent(bench, simulator))
    assert (len(bench.events("stray_file")), len(bench.events("stray_left"))) == (1, 1)


def test_strays_are_looked_for_again_but_not_for_ever(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    stray(simulator)
    fault(simulator, "files.list", {"status": 500}, occurrence="every")
    complete(bench, sent(bench, simulator, more="retry: {max_attempts: 3, initial_seconds: 1, max_seconds: 2}\n"))
    assert names(bench)[-2:] == ["strays_left", "harvested"]


def test_a_run_without_faults_never_lists_files(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    complete(bench, sent(bench, simulator))
    assert (count(simulator, "files.list"), count(simulator, "files.delete")) == (0, 0)


def test_a_file_that_is_never_processed_ends_the_waiting_and_not_the_run(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve(file_latency_s=1e6)
    bench.rows([{"text": "say 0"}])
    options: dict[str, Any] = {"endpoint": simulator.url, "api_key": "${KEY}", "deployment_name": "d"}
    step = {"name": "ask", "plugin": "azure_batch_llm", "options": {**options, "template": "{{ row.text }}"}}
    bench.pipeline(f"- {step}".replace("'", '"'), source="schema: {text: str}", sinks=["done"])
    result = bench.run()
    assert result.status is RunStatus.PENDING
    assert "has not made its file ready for 1.0 hours (pending)" in str(result.error and result.error.hint)
    assert names(bench)[-1] == "file_stuck"
    assert count(simulator, "files.retrieve") < 500
    assert bench.resume().status is RunStatus.PENDING
    assert count(simulator, "batches.create") == 0
