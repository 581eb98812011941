from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, count

from elspeth.app.runs import RunResult
from elspeth.contracts import CredentialsError, RunError, RunStatus
from elspeth.simulator import Simulator

GONE = {"status": 404, "body": {"error": {"code": "not_found", "message": "No such object."}}}
QUOTA = {"status": 400, "body": {"error": {"code": "token_limit_exceeded", "message": "The queue is full."}}}
HAPPY = ["opened", "sealed", "uploaded", "created", "ended", "downloaded", "harvested"]


def prepare(bench: Project, simulator: Simulator, *, rows: int = 3, more: str = "", **options: Any) -> None:
    bench.rows([{"text": f"say {n}"} for n in range(rows)])
    step = ask(simulator, **{"poll_interval_seconds": 10, **options})
    bench.pipeline(step, source="schema: {text: str}", sinks=["done", "failed"], more=more)


def sent(bench: Project, simulator: Simulator, **options: Any) -> RunResult:
    prepare(bench, simulator, **options)
    return bench.run()


def fault(simulator: Simulator, operation: str, action: Any, occurrence: Any = 1) -> None:
    simulator.add_faults([{"operation": operation, "occurrence": occurrence, "action": action}])


def names(bench: Project, batch: int = 1) -> list[str]:
    return [event for number, event, _ in bench.events() if number == batch]


def complete(bench: Project, result: RunResult, rows: int = 3) -> None:
    assert result.error is None
    assert result.status is RunStatus.COMPLETED
    assert [row["text"] for row in bench.lines("done")] == [f"say {n}" for n in range(rows)]


def test_a_batch_goes_its_way(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    complete(bench, sent(bench, simulator))
    assert names(bench) == HAPPY
    assert max(hurried.sleeps_s) <= 10


def test_on_azure_a_file_is_waited_for(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(latency_s=0.2, file_latency_s=0.1)
    bench.rows([{"text": "a"}])
    options = (
        f'{{endpoint: "{simulator.url}", api_key: "${{KEY}}", deployment_name: d, template: "{{{{ row.text }}}}"}}'
    )
    bench.pipeline(
        f"- {{name: ask, plugin: azure_batch_llm, options: {options}}}", source="schema: {text: str}", sinks=["done"]
    )
    assert bench.run().status is RunStatus.COMPLETED
    assert names(bench)[2:5] == ["uploaded", "ready", "created"]


@pytest.mark.parametrize("word", ["reset_after", {"status": 503, "act": True}, {"status": 408, "act": True}])
def test_a_job_whose_answer_was_lost_is_found_by_its_input_file(
    bench: Project, serve: Serve, hurried: HurriedClock, word: Any
) -> None:
    simulator = serve()
    fault(simulator, "batches.create", word)
    complete(bench, sent(bench, simulator))
    assert count(simulator, "batches.create") == 1
    assert names(bench)[2:5] == ["uploaded", "outcome_unknown", "adopted_job"]


def test_a_job_that_is_not_listed_is_made_again_only_after_the_grace(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "batches.create", "reset_before")
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=300))
    assert names(bench)[2:7] == ["uploaded", "outcome_unknown", "job_not_listed", "job_not_found", "created"]
    assert sum(hurried.sleeps_s) >= 300
    assert count(simulator, "batches.list") == 2


def test_a_job_that_is_listed_late_is_adopted(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "batches.create", "reset_after")
    fault(simulator, "batches.list", "stale_list")
    complete(bench, sent(bench, simulator))
    assert count(simulator, "batches.create") == 1
    assert "adopted_job" in names(bench)


def test_the_grace_counts_from_the_intent_across_processes(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "batches.create", "reset_before")
    prepare(bench, simulator, reconcile_grace_seconds=300)
    assert bench.run(wait_s=100).status is RunStatus.PENDING
    hurried.sleep_s(250)
    before = len(hurried.sleeps_s)
    complete(bench, bench.resume())
    assert max(hurried.sleeps_s[before:]) <= 10
    assert count(simulator, "batches.create") == 2


def test_a_listing_that_fails_is_never_taken_for_an_empty_one(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "batches.create", "reset_after")
    fault(simulator, "batches.list", {"status": 500}, occurrence={"from": 1, "to": 3})
    fault(simulator, "batches.list", {"patch": {"data": None}}, occurrence={"from": 4, "to": 5})
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0.001))
    assert count(simulator, "batches.create") == 1
    assert names(bench).count("failed_attempt") == 5


def test_of_several_jobs_for_one_file_one_is_kept_and_the_others_are_stopped_and_recorded(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    """The first job is hidden by a stale list until the second has been made; then its answer is lost too."""
    simulator = serve(latency_s=0.3)
    fault(simulator, "batches.create", "reset_after", occurrence=[1, 2])
    fault(simulator, "batches.list", "stale_list")
    complete(bench, sent(bench, simulator, reconcile_grace_seconds=0))
    assert count(simulator, "batches.create") == 2
    ((_, _, extra),) = bench.events("extra_job")
    kept = bench.query("SELECT remote_batch FROM v_batches")
    assert kept != [(extra["extra_batch_id"],)]
    assert extra["extra_status"]
    assert count(simulator, "batches.cancel") == 1


@pytest.mark.parametrize("word", ["reset_after", {"status": 500, "act": True}, {"status": 409, "act": True}])
def test_an_upload_whose_answer_was_lost_is_found_by_name_and_size(
    bench: Project, serve: Serve, hurried: HurriedClock, word: Any
) -> None:
    simulator = serve()
    fault(simulator, "files.create", word)
    complete(bench, sent(bench, simulator))
    assert count(simulator, "files.create") == 1
    assert names(bench)[2:4] == ["outcome_unknown", "adopted_file"]


def test_an_upload_that_did_not_arrive_is_sent_again(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "files.create", "reset_before")
    complete(bench, sent(bench, simulator))
    uploads = {entry["file_name"] for entry in simulator.journal() if entry["operation"] == "files.create"}
    assert len(uploads) == 1
    assert names(bench)[2:5] == ["outcome_unknown", "upload_not_found", "uploaded"]


@pytest.mark.parametrize("operation", ["files.create", "batches.create"])
def test_what_never_arrives_is_not_sent_for_ever(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str
) -> None:
    simulator = serve()
    fault(simulator, operation, "reset_before", occurrence="every")
    result = sent(bench, simulator, more="retry: {max_attempts: 3}\n")
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert result.error is not None
    assert operation in str(result.error.hint)
    assert count(simulator, operation) == 3
    simulator.clear_faults()
    complete(bench, bench.resume())


def test_a_file_that_is_gone_is_uploaded_again(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve(file_latency_s=0.3)
    fault(simulator, "files.retrieve", GONE)
    bench.rows([{"text": "a"}])
    options = (
        f'{{endpoint: "{simulator.url}", api_key: "${{KEY}}", deployment_name: d, template: "{{{{ row.text }}}}"}}'
    )
    bench.pipeline(f"- {{name: ask, plugin: azure_batch_llm, options: {options}}}", source="schema: {text: str}")
    assert bench.run().status is RunStatus.COMPLETED
    assert "file_gone" in names(bench)
    assert count(simulator, "files.create") == 2


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("batches.create", QUOTA),
        (
            "batches.retrieve",
            {
                "patch": {
                    "status": "failed",
                    "output_file_id": None,
                    "errors": {"data": [{"code": "token_limit_exceeded"}]},
                }
            },
        ),
    ],
)
def test_a_full_queue_of_tokens_means_later(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str, action: Any
) -> None:
    simulator = serve()
    fault(simulator, operation, action, occurrence=[1, 2, 3])
    complete(bench, sent(bench, simulator, more="retry: {max_attempts: 2}\n"))
    assert names(bench).count("queued") == 3
    assert count(simulator, "batches.create") == 4


def test_at_most_so_many_jobs_run_at_once(bench: Project, serve: Serve) -> None:
    simulator = serve(latency_s=3600.0)
    prepare(bench, simulator, rows=5, max_requests=1, max_batches_in_flight=2)
    assert bench.run(submit_only=True).status is RunStatus.PENDING
    assert count(simulator, "batches.create") == count(simulator, "files.create") == 2
    phases = bench.query("SELECT status, COUNT(*) FROM v_batches GROUP BY status ORDER BY status")
    assert phases == [("created", 2), ("sealed", 3)]


@pytest.mark.parametrize("operation", ["files.create", "batches.create"])
def test_sending_gives_up_after_some_tries_and_says_so(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str
) -> None:
    simulator = serve()
    fault(simulator, operation, {"status": 429}, occurrence="every")
    result = sent(bench, simulator, more="retry: {max_attempts: 3}\n")
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert "could not be sent" in str(result.error and result.error.hint)
    assert count(simulator, operation) == 3
    simulator.clear_faults()
    complete(bench, bench.resume())


def test_a_wish_to_be_asked_later_is_honoured_however_long(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "batches.create", {"status": 429, "headers": {"retry-after": "5000"}})
    complete(bench, sent(bench, simulator))
    assert sum(hurried.sleeps_s) >= 4999
    assert count(simulator, "batches.create") == 2


def test_the_time_of_the_next_attempt_outlives_the_process(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "batches.create", {"status": 429, "headers": {"retry-after": "5000"}})
    prepare(bench, simulator)
    assert bench.run(wait_s=60).status is RunStatus.PENDING
    assert bench.resume(wait_s=60).status is RunStatus.PENDING
    assert count(simulator, "batches.create") == 1
    complete(bench, bench.resume())


def test_a_poll_survives_days_of_faults(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "batches.retrieve", {"status": 503}, occurrence={"from": 1, "to": 8})
    fault(simulator, "batches.retrieve", "malformed_json", occurrence={"from": 9, "to": 12})
    fault(simulator, "batches.retrieve", {"patch": {"status": "brand_new", "request_counts": None}}, occurrence=13)
    complete(bench, sent(bench, simulator))
    assert max(hurried.sleeps_s) <= 100
    assert count(simulator, "batches.create") == 1


def test_a_job_that_the_provider_no_longer_knows_waits_for_a_person(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "batches.retrieve", GONE, occurrence="every")
    fault(simulator, "batches.list", {"patch": {"data": []}}, occurrence="every")
    result = sent(bench, simulator)
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert "no longer knows batch 1" in str(result.error and result.error.hint)
    assert names(bench)[-1] == "lost"
    assert bench.resume().status is RunStatus.PENDING
    assert count(simulator, "batches.create") == 1


def test_a_404_for_a_job_that_is_still_listed_is_only_a_hiccup(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    fault(simulator, "batches.retrieve", GONE)
    complete(bench, sent(bench, simulator))


def test_results_that_are_gone_wait_for_a_person(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    simulator = serve()
    fault(simulator, "files.content", GONE)
    result = sent(bench, simulator)
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert names(bench)[-1] == "results_lost"


@pytest.mark.parametrize("word", ["truncate", "reset_before", {"status": 500}])
def test_a_download_that_breaks_off_is_begun_again(
    bench: Project, serve: Serve, hurried: HurriedClock, word: Any
) -> None:
    simulator = serve()
    fault(simulator, "files.content", word)
    complete(bench, sent(bench, simulator))
    assert count(simulator, "files.content") == 2
    assert names(bench).count("downloaded") == 1


def test_files_that_are_told_late_are_waited_for(bench: Project, serve: Serve, hurried: HurriedClock) -> None:
    complete(bench, sent(bench, serve(quirks=["late_file_ids", "empty_string_ids"])))


@pytest.mark.parametrize("operation", ["files.create", "batches.create", "batches.retrieve", "files.content"])
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_end_the_process_and_the_run_can_be_resumed(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str, status: int
) -> None:
    simulator = serve()
    body = {"error": {"code": "401", "message": "bad key {api_key}"}}
    fault(simulator, operation, {"status": status, "body": body})
    result = sent(bench, simulator)
    assert isinstance(result.error, CredentialsError)
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 4)
    assert bench.environ["KEY"].encode() not in bench.everything()
    complete(bench, bench.resume())
    assert count(simulator, "batches.create") == (2 if operation == "batches.create" else 1)


@pytest.mark.parametrize("operation", ["files.create", "batches.create"])
def test_a_refusal_stops_the_run_with_guidance_and_loses_nothing(
    bench: Project, serve: Serve, hurried: HurriedClock, operation: str
) -> None:
    simulator = serve()
    fault(simulator, operation, {"status": 400, "body": {"error": {"code": "bad", "message": "no such SKU"}}})
    result = sent(bench, simulator)
    assert type(result.error) is RunError
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 3)
    assert "no such SKU" in result.error.message
    assert names(bench)[-1] == "refused"
    complete(bench, bench.resume())


def test_a_batch_that_takes_long_raises_one_alarm_and_is_still_ours(
    bench: Project, serve: Serve, hurried: HurriedClock
) -> None:
    simulator = serve()
    slow = {"patch": {"status": "in_progress", "output_file_id": None}}
    fault(simulator, "batches.retrieve", slow, occurrence={"from": 1, "to": 30})
    complete(bench, sent(bench, simulator, poll_interval_seconds=5, warn_after_hours=0.01))
    assert names(bench).count("overdue") == 1
