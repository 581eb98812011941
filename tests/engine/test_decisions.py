"""What only a person can know is recorded with the person, and fits a batch or changes nothing."""

from __future__ import annotations

import os
import socket

import pytest
from tests.conftest import Serve
from tests.engine.workbench import HurriedClock, Project, ask, created

from elspeth.contracts import RunStatus, UsageError
from elspeth.engine.decisions import Decisions, person
from elspeth.simulator import Simulator


@pytest.fixture
def lost(bench: Project, serve: Serve, hurried: HurriedClock) -> tuple[Project, Simulator]:
    """A run whose answers cannot be had any more: the provider has deleted the result file."""
    simulator = serve()
    simulator.add_faults([{"operation": "files.content", "occurrence": 1, "action": {"status": 404}}])
    bench.rows([{"text": "one"}, {"text": "two"}])
    bench.pipeline(ask(simulator), sinks=("done", "failed"))
    result = bench.run()
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 75)
    assert "--declare-lost 1" in (result.error.hint or "" if result.error else "")
    return bench, simulator


def test_rows_of_a_batch_declared_lost_are_sent_again_once(lost: tuple[Project, Simulator]) -> None:
    bench, simulator = lost
    result = bench.resume(decisions=Decisions(lost=(1,)))
    assert result.status is RunStatus.COMPLETED
    assert [line["text"] for line in bench.lines("done")] == ["one", "two"]
    assert len(created(simulator)) == 2
    ((batch, _, detail),) = bench.events("declared_lost")
    assert (batch, "@" in detail["who"]) == (1, True)


def test_without_a_decision_nothing_is_sent(lost: tuple[Project, Simulator]) -> None:
    bench, simulator = lost
    assert bench.resume().status is RunStatus.PENDING
    assert len(created(simulator)) == 1


def test_a_job_is_adopted_when_the_provider_says_that_it_is_ours(lost: tuple[Project, Simulator]) -> None:
    bench, simulator = lost
    ((job,),) = bench.query("SELECT remote_batch FROM v_batches")
    result = bench.resume(decisions=Decisions(adopt=job))
    assert result.status is RunStatus.COMPLETED
    assert len(created(simulator)) == 1
    assert len(bench.events("adopted_by_person")) == 1


@pytest.mark.parametrize("decisions", [Decisions(lost=(7,)), Decisions(adopt="batch_unknown")])
def test_a_decision_that_fits_no_batch_changes_nothing(lost: tuple[Project, Simulator], decisions: Decisions) -> None:
    bench, simulator = lost
    result = bench.resume(decisions=decisions)
    assert isinstance(result.error, UsageError)
    assert (result.status, result.exit_code) == (RunStatus.PENDING, 2)
    assert len(created(simulator)) == 1
    assert bench.resume(decisions=Decisions(lost=(1,))).status is RunStatus.COMPLETED


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def nameless() -> str:
        raise error("no such user")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert person() == f"uid-{os.getuid()}@{socket.gethostname()}"
