from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask, count, created

from elspeth.app.runs import RunResult
from elspeth.contracts import RunStatus
from elspeth.engine import harvest
from elspeth.simulator import Simulator

pytestmark = pytest.mark.usefixtures("hurried")

LABEL = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}


def harvested(bench: Project, simulator: Simulator, *, rows: int = 6, **options: Any) -> RunResult:
    """Runs rows ``say 0`` ... through one batch step."""
    bench.rows([{"text": f"say {n}"} for n in range(rows)])
    options = {"poll_interval_seconds": 1, **options}
    bench.pipeline(ask(simulator, **options), source="schema: {text: str}", sinks=["done", "failed"])
    result = bench.run()
    if result.error is None:
        assert bench.query("SELECT COUNT(*) FROM outcomes") == bench.query("SELECT COUNT(*) FROM rows") == [(rows,)]
    return result


def failures(bench: Project) -> list[tuple[str, str]]:
    return [(row["text"], row["_error"]["code"]) for row in bench.lines("failed")]


def answers(bench: Project) -> dict[str, str]:
    return {row["text"]: row["llm_response"] for row in bench.lines("done")}


def echoes(*numbers: int) -> dict[str, str]:
    return {f"say {n}": f"echo: Say say {n}" for n in numbers}


def edit(simulator: Simulator, **lines: list[str]) -> None:
    simulator.add_faults([{"operation": "batches.create", "occurrence": 1, "action": {"lines": lines}}])


def end(simulator: Simulator, occurrence: Any = 1, **ending: Any) -> None:
    simulator.add_faults([{"operation": "batches.create", "occurrence": occurrence, "action": {"end": ending}}])


def sizes(bench: Project) -> list[tuple[int, int, int | None, int]]:
    """Each batch: number, attempt, parent, requests."""
    return bench.query(
        "SELECT b.batch_no, b.attempt, b.parent_no, COUNT(m.row_index) FROM batches b JOIN batch_members m "
        "ON m.batch_no = b.batch_no AND m.role = 1 GROUP BY b.batch_no ORDER BY b.batch_no"
    )


def set_aside(bench: Project) -> list[str]:
    return [detail["kind"] for _, _, detail in bench.events("line_set_aside")]


def slices_are_the_files(bench: Project) -> int:
    """Every member's slice, cut out of its file, is a line about that row; returns how many there are."""
    from elspeth.core.landscape import LandscapeReader, Payloads

    seen = 0
    with LandscapeReader(bench.database) as reader:
        payloads = Payloads(reader, reader.run("latest"))
        for row, batch, segment, position, start, length, digest in reader.query(
            "SELECT row_index, batch_no, segment_no, position, start, length, line_hash FROM batch_members"
        ):
            content = b"".join(payloads.segment(segment).chunks())
            line = content[start : start + length]
            assert content.split(b"\n")[position] + b"\n" == line
            assert sha256(line).digest() == digest
            ((attempt,),) = reader.query("SELECT attempt FROM batches WHERE batch_no = ?", batch)
            assert json.loads(line)["custom_id"] == f"row-{row}-{attempt}"
            seen += 1
    return seen


def test_shuffled_answers_come_to_their_rows(bench: Project, serve: Serve) -> None:
    harvested(bench, serve(quirks=["shuffled_output"]), rows=20)
    assert answers(bench) == echoes(*range(20))
    assert list(answers(bench)) == [f"say {n}" for n in range(20)]
    assert slices_are_the_files(bench) == 40


@pytest.mark.parametrize("chunk", [1, 2, 5, 6, 7])
def test_rows_are_taken_in_groups_of_any_size(
    bench: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(harvest, "_ROWS_AT_ONCE", chunk)
    harvested(bench, serve(row_faults={"row-2-0": "429", "row-4-0": "refusal"}))
    assert answers(bench) == echoes(0, 1, 2, 3, 5)
    assert failures(bench) == [("say 4", "refusal")]


def test_an_answer_that_comes_twice_the_same_counts_once(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, duplicate=["row-1-0", "row-4-0"])
    result = harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    assert set_aside(bench) == ["duplicate", "duplicate"]
    assert result.summary["usage"]["gpt-test"]["rows"] == 6


def test_different_answers_to_one_request_fail_the_row(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, duplicate_different=["row-1-0"])
    harvested(bench, simulator)
    assert failures(bench) == [("say 1", "conflicting_answers")]
    assert set_aside(bench) == ["conflict"]


def test_an_answer_in_both_files_is_a_conflict(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, in_both_files=["row-2-0"])
    harvested(bench, simulator)
    assert failures(bench) == [("say 2", "conflicting_answers")]


def test_a_missing_answer_is_asked_for_again_alone(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, missing=["row-3-0"])
    harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    assert sizes(bench) == [(1, 0, None, 6), (2, 1, 1, 1)]


def test_an_answer_nobody_asked_for_is_an_alarm_and_nothing_else(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, extra=["row-99-0", "row-1-1"])
    harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    assert set_aside(bench) == ["alarm", "alarm"]


def test_a_broken_line_is_set_aside_with_its_place_and_its_row_asked_again(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, bad_json=["row-0-0"])
    harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    ((_, _, detail),) = bench.events("line_set_aside")
    assert (detail["kind"], detail["role"], detail["line"], detail["start"]) == ("quarantine", "output", 1, 0)
    assert sizes(bench)[1:] == [(2, 1, 1, 1)]


def test_a_set_aside_line_leaves_the_facts_of_its_batch_alone(bench: Project, serve: Serve) -> None:
    simulator = serve()
    edit(simulator, bad_json=["row-0-0"])
    harvested(bench, simulator)
    facts = {"requests", "bytes", "sha256", "name", "file_id", "batch_id"}
    assert not facts & set(bench.events("line_set_aside")[0][2])


def test_a_zero_byte_error_file_is_nothing_special(bench: Project, serve: Serve) -> None:
    harvested(bench, serve(quirks=["zero_byte_error_file", "empty_string_ids"]))
    assert answers(bench) == echoes(*range(6))
    assert set_aside(bench) == []


@pytest.mark.parametrize("undone", ["missing", "error_file"])
@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
def test_what_an_ended_job_has_done_is_kept_and_only_the_rest_is_sent_again(
    bench: Project, serve: Serve, status: str, undone: str
) -> None:
    simulator = serve()
    end(simulator, status=status, fraction=0.5, undone=undone)
    harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    assert sizes(bench) == [(1, 0, None, 6), (2, 1, 1, 3)]
    assert slices_are_the_files(bench) >= 9 + 6


def test_a_failed_job_without_files_is_sent_again_as_a_whole(bench: Project, serve: Serve) -> None:
    simulator = serve()
    end(simulator, status="failed", fraction=0.0, undone="missing")
    harvested(bench, simulator)
    assert answers(bench) == echoes(*range(6))
    assert sizes(bench) == [(1, 0, None, 6), (2, 1, 1, 6)]


def test_a_job_that_fails_for_good_fails_its_rows_with_the_providers_words(bench: Project, serve: Serve) -> None:
    result = harvested(bench, serve(deployments=["another"]), rows=2)
    assert result.exit_code == 0
    assert {code for _, code in failures(bench)} == {"batch_failed"}
    assert "model" in bench.lines("failed")[0]["_error"]["message"]
    assert len(sizes(bench)) == 1
    ((detail,), *_) = bench.query("SELECT json_extract(error_json, '$.detail.faults') FROM v_states")
    assert detail


def test_rows_are_tried_as_often_as_they_may_be_and_then_fail_with_the_providers_body(
    bench: Project, serve: Serve
) -> None:
    faults = {f"row-{row}-{attempt}": "429" for row in (1, 2) for attempt in range(3)} | {"row-2-2": "503"}
    simulator = serve(row_faults=faults)
    harvested(bench, simulator, row_attempts=3)
    assert answers(bench) == echoes(0, 3, 4, 5)
    assert [text for text, _ in failures(bench)] == ["say 1", "say 2"]
    assert sizes(bench) == [(1, 0, None, 6), (2, 1, 1, 2), (3, 2, 2, 2)]
    states = bench.query("SELECT row_index, attempt, error_json FROM v_states WHERE status = 'failed'")
    assert [(row, attempt) for row, attempt, _ in states] == [(1, 2), (2, 2)]
    assert "Rate limit reached." in states[0][2]
    assert "temporarily unavailable" in states[1][2]


def test_one_attempt_means_that_nothing_is_sent_again(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-1-0": "429"})
    harvested(bench, simulator, row_attempts=1)
    assert len(failures(bench)) == len(created(simulator)) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("content_filter", "content_filter"),
        ("completion_filtered", "content_filter"),
        ("length", "length"),
        ("refusal", "refusal"),
        ("not_json", "schema"),
        ("wrong_schema", "schema"),
    ],
)
def test_an_answer_that_cannot_be_used_fails_its_row_at_once(
    bench: Project, serve: Serve, fault: str, code: str
) -> None:
    simulator = serve(row_faults={"row-1-0": fault})
    result = harvested(bench, simulator, response_schema=LABEL)
    assert failures(bench) == [("say 1", code)]
    assert count(simulator, "batches.create") == 1
    assert result.summary["bad_rows"] == 1


def test_usage_is_counted_by_model_over_all_batches(bench: Project, serve: Serve) -> None:
    result = harvested(bench, serve(row_faults={"row-0-0": "429", "row-1-0": "length"}), max_requests=4)
    lines: Counter[str] = Counter()
    from elspeth.core.landscape import LandscapeReader, Payloads

    with LandscapeReader(bench.database) as reader:
        payloads = Payloads(reader, reader.run("latest"))
        for segment, start, length in reader.query(
            "SELECT segment_no, start, length FROM batch_members WHERE role <> 1"
        ):
            body = json.loads(payloads.segment(segment).read(start, length))["response"]["body"]
            if "usage" in body:
                lines["rows"] += 1
                lines.update(body["usage"])
    assert result.summary["usage"] == {"gpt-test": dict(lines)}
    assert lines["rows"] == 6


def test_a_batch_step_after_a_batch_step_gets_the_rows_of_the_first(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-2-0": "429"})
    bench.rows([{"text": f"say {n}"} for n in range(5)])
    second = ask(simulator, name="again", template="{{ row.llm_response }}", response_field="second", max_requests=2)
    bench.pipeline(ask(simulator, max_requests=2) + second, source="schema: {text: str}", sinks=["done", "failed"])
    assert bench.run().status is RunStatus.COMPLETED
    assert [row["second"] for row in bench.lines("done")] == [f"echo: echo: Say say {n}" for n in range(5)]
    assert bench.lines("failed") == []


def test_too_many_failures_stop_what_is_not_sent_yet(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-0-0": "refusal", "row-1-0": "refusal"})
    bench.rows([{"text": f"say {n}"} for n in range(8)])
    bench.pipeline(
        ask(simulator, max_requests=2, max_batches_in_flight=1),
        source="schema: {text: str}",
        sinks=["done", "failed"],
        more="limits: {max_error_rate: 0.1}\n",
    )
    result = bench.run()
    assert (type(result.error).__name__, result.exit_code) == ("ErrorRateError", 3)
    assert count(simulator, "batches.create") == 1


def test_a_batch_that_waits_for_quota_is_not_sent_once_too_many_rows_failed(bench: Project, serve: Serve) -> None:
    """It is uploaded already, but costs nothing before its job is made."""
    simulator = serve(row_faults={"row-0-0": "refusal", "row-1-0": "refusal"})
    quota = {"status": 400, "body": {"error": {"code": "token_limit_exceeded", "message": "full"}}}
    simulator.add_faults([{"operation": "batches.create", "occurrence": [2, 3], "action": quota}])
    bench.rows([{"text": f"say {n}"} for n in range(4)])
    bench.pipeline(
        ask(simulator, max_requests=2, poll_interval_seconds=1),
        source="schema: {text: str}",
        sinks=["done", "failed"],
        more="limits: {max_error_rate: 0.1}\nretry: {initial_seconds: 30}\n",
    )
    result = bench.run()
    assert type(result.error).__name__ == "ErrorRateError"
    assert [entry["status"] for entry in created(simulator)] == [200, 400]


def test_a_completed_run_over_the_error_rate_ends_with_one(bench: Project, serve: Serve) -> None:
    simulator = serve(row_faults={"row-0-0": "refusal"})
    bench.rows([{"text": "a"}])
    bench.pipeline(
        ask(simulator), source="schema: {text: str}", sinks=["done", "failed"], more="limits: {max_error_rate: 0.1}\n"
    )
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.COMPLETED, 1)
    assert bench.resume().exit_code == 1
