"""What a plugin's context lets through, and what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.contracts import CallStatus, CallType
from elspeth.core.calls import NetworkGuard, Redactor
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import (
    LandscapeReader,
    LandscapeRecorder,
    NewRun,
    Signing,
    create_database,
    create_run,
    open_journal,
)
from elspeth.engine.context import StepContext

TOKEN = "token-that-nobody-may-read"


class Desk:
    """A context over a real trail, and what the trail says afterwards."""

    def __init__(self, folder: Path) -> None:
        database = folder / "audit.db"
        create_database(database)
        clock = SystemClock()
        new = NewRun(
            pipeline="p",
            mode="run",
            folder=folder,
            config_json="{}",
            payloads=folder / "payloads",
            code_version="1",
            row_limit=None,
        )
        run_no = create_run(database, new, clock=clock)
        self.reader = LandscapeReader(database)
        run = self.reader.run_numbered(run_no)
        self.journal = open_journal(self.reader, run, clock=clock, signing=Signing.throwaway(database))
        recorder = LandscapeRecorder(self.journal, run_id=run.run_id, started_at=run.started_at, code_version="1")
        self.redactor = Redactor()
        self.context = StepContext(step="ask", node_no=1, recorder=recorder, redactor=self.redactor, clock=clock)

    def calls(self) -> list[tuple[object, ...]]:
        self.journal.commit_durably()
        return self.reader.query("SELECT node_no, row_index, status, error_json FROM calls ORDER BY call_no")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.journal.close()
    desk.reader.close()


def test_a_fetched_secret_is_recorded_once_and_is_a_secret_from_then_on(desk: Desk) -> None:
    assert [desk.context.fetch_secret("entra", lambda: TOKEN) for _ in range(3)] == [TOKEN] * 3
    assert desk.redactor.is_in(TOKEN.encode())
    assert desk.calls() == [(1, None, CallStatus.SUCCESS.value, None)]


def test_a_secret_may_be_fetched_by_a_library_that_reaches_out_itself(desk: Desk) -> None:
    import subprocess
    import sys

    def ask_a_program() -> str:
        return subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True, check=True).stdout

    with NetworkGuard() as guard:
        assert desk.context.fetch_secret("cli", ask_a_program) == "7\n"
        guard.check()


def test_a_failed_fetch_is_recorded_and_raised(desk: Desk) -> None:
    def refuse() -> str:
        raise PermissionError("not for you")

    with pytest.raises(PermissionError):
        desk.context.fetch_secret("entra", refuse)
    ((_, _, status, error),) = desk.calls()
    assert status == CallStatus.ERROR.value
    assert "not for you" in str(error)


def test_a_recorded_call_hangs_on_its_step_and_its_row_and_holds_no_secret(desk: Desk) -> None:
    desk.redactor.add(TOKEN)
    desk.context.row_index = 42
    desk.context.record_call(
        CallType.SQL, CallStatus.ERROR, {"query": f"select '{TOKEN}'"}, error={"message": f"bad {TOKEN}"}
    )
    ((node_no, row_index, _, error),) = desk.calls()
    assert (node_no, row_index) == (1, 42)
    assert TOKEN not in str(error)
