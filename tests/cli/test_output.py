"""What people read of a status: every line says one thing that is true."""

from __future__ import annotations

from typing import Any

import pytest

from elspeth.cli.output import age, complete_line, print_error, status_lines
from elspeth.contracts import Diagnostic, PipelineError, UsageError

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000


def money(**changes: Any) -> dict[str, Any]:
    return {
        "spent_usd": 18.4,
        "orphaned_usd": 0.0,
        "in_flight_at_most_usd": 12.9,
        "lost_at_most_usd": 0.0,
        "unpriced_steps": [],
        "saved_usd": 0.0,
        "answers_reused": 0,
        "requests_shared": 0,
        "limit_usd": 50.0,
        **changes,
    }


def status(**changes: Any) -> dict[str, Any]:
    return {
        "run": "01k9x",
        "pipeline": "ticket-triage",
        "status": "pending",
        "is_worked_on": False,
        "simulated": False,
        "rows": {"read": 200_000, "is_source_done": True, "out": 112_000, "equation": "200,000 in = ..."},
        "batches": [
            {"batch": 1, "phase": "harvested", "opened_at": NOW},
            {
                "batch": 5,
                "phase": "created",
                "opened_at": NOW - 4 * HOUR,
                "created_at": NOW - 3 * HOUR,
                "provider_status": "in_progress",
                "total": 30_000,
                "completed": 8_120,
                "polled_at": NOW - 40_000_000,
            },
        ],
        "usage": {},
        "grade": "replayable",
        "purged": [],
        "held": None,
        "money": money(),
        "is_over_error_rate": False,
        "reason": None,
        "hint": None,
        "next": "elspeth resume 01k9x",
        **changes,
    }


def test_a_pending_run_says_what_is_out_and_how_to_go_on() -> None:
    assert status_lines(status(), now_us=NOW) == [
        "run 01k9x  ticket-triage  PENDING   1 of 2 batches done   112,000 of 200,000 rows out",
        "batch 5  in_progress  8,120/30,000  age 3h00m  polled 40s ago",
        "200,000 in = ...",
        "spent $18.40 · in flight at most $12.90 · limit $50.00",
        "Safe to close. Nothing polls until: elspeth resume 01k9x",
    ]


def test_a_killed_run_says_that_its_process_is_gone() -> None:
    lines = status_lines(status(status="running"), now_us=NOW)
    assert lines[0].startswith("run 01k9x  ticket-triage  RUNNING when its process died  ")
    assert lines[-1] == "Go on with: elspeth resume 01k9x"
    working = status_lines(status(status="running", is_worked_on=True), now_us=NOW)
    assert "died" not in working[0]
    assert "elspeth resume" not in working[-1]


def test_a_failed_run_says_why_and_how_to_go_on() -> None:
    lines = status_lines(status(status="failed", batches=[], reason="no key", hint="set KEY"), now_us=NOW)
    assert lines[-3:] == ["no key", "  hint: set KEY", "Go on with: elspeth resume 01k9x"]


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"unsure": "batches.create"}, "whether batches.create arrived is not known yet"),
        ({"is_overdue": True}, "takes longer than usual; it is still yours"),
        ({"message": "the provider no longer knows it"}, "the provider no longer knows it"),
    ],
)
def test_a_batch_with_a_trouble_says_so(fact: dict[str, Any], words: str) -> None:
    batch = {"batch": 2, "phase": "created", "opened_at": NOW, "requests": 5, **fact}
    (line,) = [line for line in status_lines(status(batches=[batch]), now_us=NOW) if line.startswith("batch 2")]
    assert words in line


def test_simulated_answers_are_never_shown_without_a_word() -> None:
    shown = status(simulated=True, usage={"gpt-4o": {"rows": 3}})
    assert "SIMULATED ANSWERS" in status_lines(shown, now_us=NOW)
    paid = {**shown, "status": "completed", "money": money(in_flight_at_most_usd=0.0)}
    assert complete_line(paid) == "complete: 200,000 in = ... · $18.40 · models: gpt-4o ×3 · SIMULATED ANSWERS"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit_usd": None}, "spent $18.40 · in flight at most $12.90"),
        ({"spent_usd": 0.00123, "in_flight_at_most_usd": 0.0, "limit_usd": None}, "spent $0.0012"),
        ({"orphaned_usd": 0.3}, "spent $18.40 · of it $0.3000 for jobs too many · in flight at most $12.90"),
        (
            {"lost_at_most_usd": 2.5, "in_flight_at_most_usd": 0.0},
            "spent $18.40 · for what is lost or was not counted at most $2.50",
        ),
        ({"spent_usd": None}, "cost unknown: the answers do not say how many tokens they used"),
        ({"spent_usd": None, "unpriced_steps": ["ask"]}, "cost unknown: no price for ask · in flight"),
        (
            {"saved_usd": 1.5, "answers_reused": 1, "requests_shared": 20, "in_flight_at_most_usd": 0.0},
            "spent $18.40 · saved $1.50 (1 answer reused, 20 requests shared)",
        ),
    ],
)
def test_money_is_told_as_far_as_it_is_known(changes: dict[str, Any], words: str) -> None:
    assert any(line.startswith(words) for line in status_lines(status(money=money(**changes)), now_us=NOW))


@pytest.mark.parametrize(
    ("microseconds", "expected"),
    [
        (0, "0s"),
        (59_999_999, "59s"),
        (61_000_000, "1m01s"),
        (3 * HOUR + 12 * 60_000_000, "3h12m"),
        (49 * HOUR, "2d01h"),
    ],
)
def test_an_age_is_told_in_its_two_largest_units(microseconds: int, expected: str) -> None:
    assert age(NOW - microseconds, NOW) == expected


def test_an_error_is_its_message_and_its_hint_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("no such run", hint="elspeth runs lists them"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "elspeth: no such run\n  hint: elspeth runs lists them\n")


def test_a_wrong_pipeline_shows_every_place_and_says_that_nothing_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    places = [
        Diagnostic(path=(), code="WRONG", message=f"wrong {n}", file="p.yaml", line=n, column=1, source_line="x: y")
        for n in (1, 2)
    ]
    print_error(PipelineError(places))
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "p.yaml:1:1: error[WRONG]: wrong 1"
    assert shown[-1] == "elspeth: 2 errors in the pipeline file; nothing was sent"


def test_what_was_purged_and_whether_a_run_is_held_is_told_with_the_reason() -> None:
    mark = {"at": "2031-05-07T09:12:44.000000Z", "by": "ana@host", "why": "90 days", "class": "rows", "is_done": True}
    lines = status_lines(
        status(
            grade="attributable",
            purged=[mark, {**mark, "class": "calls", "is_done": False}],
            held={"at": "2031-06-01T00:00:00.000000Z", "by": "bo@host", "why": "an inquiry"},
        )
    )
    assert [
        "grade attributable",
        "rows purged on 2031-05-07 by ana@host: 90 days",
        "calls purged on 2031-05-07 by ana@host: 90 days (begun, not finished: elspeth purge --resume)",
        "held since 2031-06-01 by bo@host: an inquiry",
    ] == [line for line in lines if line.startswith(("grade", "rows", "calls", "held"))]
