"""The explanation of a row shows what was recorded, and stops at the first thing that does not fit."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.conftest import Serve
from tests.engine.workbench import Project, ask

from elspeth.contracts import MissingTrailError, PayloadClass, PurgeAction, RunStatus, TrailError
from elspeth.core.canonical import compact_json, sha256
from elspeth.core.landscape import LandscapeReader, Signing, open_journal
from elspeth.core.landscape.lineage import Lineage
from elspeth.core.landscape.retention import add_purge
from elspeth.testing import FakeClock


@pytest.fixture
def asked(bench: Project, serve: Serve) -> Project:
    """Three rows asked, the second of them twice: its first answer was a 429."""
    simulator = serve()
    simulator.add_faults([{"operation": "batches.create", "action": {"row_faults": {"row-1-0": "429"}}}])
    bench.rows([{"text": "one"}, {"text": "two"}, {"text": "three"}])
    bench.pipeline(ask(simulator, poll_interval_seconds=0.05), sinks=("done", "failed"))
    assert bench.run().status is RunStatus.COMPLETED
    return bench


def explain(bench: Project, row: int) -> dict[str, object]:
    with LandscapeReader(bench.database) as reader:
        return Lineage(reader, reader.run("latest")).explain(row)


def test_each_attempt_shows_the_request_and_the_reply_of_that_very_row(asked: Project) -> None:
    (step,) = explain(asked, 1)["steps"]  # type: ignore[misc]
    attempts = step["attempts"]
    assert [attempt["attempt"] for attempt in attempts] == [0, 1]
    for number, attempt in enumerate(attempts):
        for part in ("request", "reply"):
            line = attempt[part]["line"]
            assert json.loads(line)["custom_id"] == f"row-1-{number}"
            assert sha256(line.encode()).hex() == attempt[part]["sha256"]
    assert [attempt["reply"]["file"] for attempt in attempts] == ["error", "output"]
    assert step["status"] == "completed"


def test_a_row_that_is_not_there_is_an_error_that_says_which_are(asked: Project) -> None:
    with pytest.raises(MissingTrailError) as caught:
        explain(asked, 3)
    assert caught.value.hint == "Its rows are 0 to 2."


def test_a_changed_byte_of_a_batch_file_stops_the_explanation(asked: Project) -> None:
    (path,) = (p for p in asked.folder.rglob("*-a0-request.jsonl.zst"))
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(bytes(stored))
    with pytest.raises(TrailError):
        explain(asked, 0)


def test_a_hash_of_another_row_stops_the_explanation(asked: Project, tmp_path: Path) -> None:
    with closing(sqlite3.connect(asked.database)) as connection, connection:
        connection.execute("DROP TRIGGER batch_members_no_update")
        connection.execute("UPDATE batch_members SET line_hash = zeroblob(32) WHERE row_index = 0")
    with pytest.raises(TrailError, match="row 0"):
        explain(asked, 0)


def test_requests_of_a_batch_without_a_record_stop_the_explanation(asked: Project) -> None:
    with closing(sqlite3.connect(asked.database)) as connection, connection:
        connection.execute("DROP TRIGGER batches_no_delete")
        connection.execute("DELETE FROM batches WHERE batch_no = 1")
    with pytest.raises(TrailError, match="members of batch 1, but no such batch"):
        explain(asked, 0)


def purge(bench: Project, payload_class: PayloadClass) -> None:
    with LandscapeReader(bench.database) as reader:
        run = reader.run("latest")
        journal = open_journal(reader, run, clock=FakeClock(), signing=Signing.throwaway(bench.database))
        add_purge(journal, PurgeAction.PURGING, who="ana@host", why="90 days", payload_class=payload_class)
        journal.commit_durably()
        journal.close()


def test_without_the_rows_prompts_and_replies_are_still_shown(asked: Project) -> None:
    before = explain(asked, 1)
    purge(asked, PayloadClass.ROWS)
    after = explain(asked, 1)
    mark = {"at": "2024-01-01T00:00:00.000000Z", "by": "ana@host", "why": "90 days", "class": "rows"}
    (one,), (other,) = before["steps"], after["steps"]  # type: ignore[misc]
    assert [mark] == after["purged"]
    assert (None, None, mark) == (other["input"], other["output"], other["purged"])
    assert one["attempts"] == other["attempts"]
    assert [sha256(compact_json(one[side]).encode()).hex() for side in ("input", "output")] == [
        other["input_hash"],
        other["output_hash"],
    ]


def test_without_the_files_the_rows_fields_are_still_shown(asked: Project) -> None:
    (one,) = explain(asked, 1)["steps"]  # type: ignore[misc]
    purge(asked, PayloadClass.FILES)
    (other,) = explain(asked, 1)["steps"]  # type: ignore[misc]
    assert (one["input"], one["output"]) == (other["input"], other["output"])
    assert "purged" not in other
    for before, after in zip(one["attempts"], other["attempts"], strict=True):
        for part in ("request", "reply"):
            assert "files" == after[part].pop("purged")["class"]
            assert {**before[part], "line": None} == after[part]
