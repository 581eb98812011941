"""The fault matrix: jobs that end in every way, and the files that they leave."""

from collections.abc import Iterator

import pytest
from tests.e2e.fault_scene import Scene, error, fault, scene

Folders = pytest.TempPathFactory
ROWS_A_BATCH = 10
NO_FILES = {"patch": {"output_file_id": None, "error_file_id": ""}}


def end(status: str, undone: str) -> dict[str, object]:
    return {"end": {"status": status, "fraction": 0.6, "undone": undone}}


ENDINGS = [
    end("expired", "error_file"),
    end("expired", "missing"),
    end("cancelled", "error_file"),
    end("cancelled", "missing"),
    end("failed", "missing"),
]


@pytest.fixture(scope="module")
def endings(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Five jobs of ten rows that end with six of them done."""
    faults = [fault("batches.create", number, action) for number, action in enumerate(ENDINGS, start=1)]
    with scene(tmp_path_factory.mktemp("endings"), *faults) as played:
        played.prepare(len(ENDINGS) * ROWS_A_BATCH, max_requests=ROWS_A_BATCH)
        played.run()
        yield played


def check_kept_and_sent_again(played: Scene, batch: int) -> None:
    """Six rows are kept, the other four go out once more, alone, in one batch of their own."""
    harvested = played.detail(batch, "harvested")
    assert (6, 0, 4) == (harvested["answered"], harvested["failed_rows"], harvested["retried"])
    (again,) = [number for number, attempt, parent, requests in played.batches() if parent == batch]
    assert [(again, 1, batch, 4)] == [one for one in played.batches() if one[2] == batch]
    rows = played.project.query(
        "SELECT row_index FROM batch_members WHERE batch_no = ? AND role = 1 ORDER BY row_index", again
    )
    first = (batch - 1) * ROWS_A_BATCH
    assert list(range(first + 6, first + 10)) == [record["row_index"] for record in rows]
    answers = played.project.query(
        "SELECT row_index FROM batch_members WHERE batch_no = ? AND role = 2 ORDER BY row_index", batch
    )
    assert list(range(first, first + 6)) == [record["row_index"] for record in answers]
    assert (1, 1) == (played.accepted(batch), played.accepted(again))


@pytest.mark.parametrize("batch", [1, 2], ids=["error_file", "missing"])
def test_terminal_expired_with_six_rows_of_ten_done(endings: Scene, batch: int) -> None:
    assert "expired" == endings.detail(batch, "ended")["end_state"]
    check_kept_and_sent_again(endings, batch)


@pytest.mark.parametrize("batch", [3, 4], ids=["error_file", "missing"])
def test_terminal_cancelled(endings: Scene, batch: int) -> None:
    assert "cancelled" == endings.detail(batch, "ended")["end_state"]
    check_kept_and_sent_again(endings, batch)


def test_terminal_failed_with_files(endings: Scene) -> None:
    """The reasons are recorded, and what is in the files all the same is paid for and taken."""
    ended = endings.detail(5, "ended")
    assert "failed" == ended["end_state"]
    assert [{"code": "internal", "message": "The batch failed on its way.", "line": None}] == ended["faults"]
    check_kept_and_sent_again(endings, 5)


def test_jobs_that_end_early_leave_every_row_answered_once(endings: Scene) -> None:
    endings.check_complete(len(ENDINGS) * ROWS_A_BATCH)
    assert 2 * len(ENDINGS) == endings.accepted()


def test_terminal_failed_for_good(tmp_path_factory: Folders) -> None:
    """What would fail again is not paid for again: the rows fail, with the provider's own words."""
    with scene(tmp_path_factory.mktemp("good"), deployments=["another"], quirks=["line_as_string"]) as played:
        played.prepare(2, max_requests=2)
        played.run()
        played.check_complete(2, failed=[1, 2])
        assert {1: "batch_failed", 2: "batch_failed"} == played.failed()
        faults = played.detail(1, "ended")["faults"]
        assert [("model_not_found", 1), ("model_not_found", 2)] == [(one["code"], one["line"]) for one in faults]
        assert faults == played.state_error(0)["detail"]["faults"]
        assert 1 == len(played.exchanges(operation="batches.create"))


def test_terminal_completed_without_an_output_file(tmp_path_factory: Folders) -> None:
    """Every row has failed, and the error file says why."""
    faults = {f"row-{row}-0": "content_filter" for row in range(3)}
    with scene(tmp_path_factory.mktemp("errors"), row_faults=faults) as played:
        played.prepare(3, max_requests=3)
        played.run()
        played.check_complete(3, failed=[1, 2, 3])
        assert {"content_filter"} == set(played.failed().values())
        ended = played.detail(1, "ended")
        assert (None, True) == (ended["output_file_id"], bool(ended["error_file_id"]))
        assert (
            1 == len(played.exchanges(operation="files.content")) == len(played.exchanges(operation="batches.create"))
        )


def test_terminal_completed_before_its_files_are_told(tmp_path_factory: Folders) -> None:
    """They are waited for a little."""
    with scene(tmp_path_factory.mktemp("late"), fault("batches.retrieve", [1, 2, 3], NO_FILES)) as played:
        played.prepare(1)
        played.run()
        played.check_complete(1)
        assert [200] * 4 == played.statuses(1, "batches.retrieve")
        assert 1 == played.accepted() == len(played.exchanges(1, "files.content"))


def test_terminal_completed_and_its_files_are_never_told(tmp_path_factory: Folders) -> None:
    """Its counts speak of answers that no file holds: they are paid for, and only a person can want to pay again."""
    with scene(tmp_path_factory.mktemp("never"), fault("batches.retrieve", "every", NO_FILES)) as played:
        played.prepare(1, options={"row_attempts": 2, "poll_interval_seconds": 0.05})
        done = played.run(code=75)
        played.check_told(done, "names no file with its answers", "--declare-lost 1")
        assert ["files_awaited"] * 10 == [event for event in played.events(1) if event == "files_awaited"]
        played.simulator.clear_faults()
        played.resume("--declare-lost", "1")
        played.check_complete(1)
        assert [(1, 0, None, 1), (2, 1, 1, 1)] == played.batches()


def test_terminal_completed_with_an_error_file_before_its_output_file_is_told(tmp_path_factory: Folders) -> None:
    """The rows that were answered are paid for: they are waited for, and not asked again."""
    late = fault("batches.retrieve", [1, 2], {"patch": {"output_file_id": None}})
    with scene(tmp_path_factory.mktemp("half"), late, row_faults={"row-0-0": "content_filter"}) as played:
        played.prepare(5, max_requests=5)
        played.run()
        played.check_complete(5, failed=[1])
        assert [(1, 0, None, 5)] == played.batches()
        assert 1 == played.accepted()


# Downloads


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Five batches, one after the other; the results of the last one are gone."""
    faults = [
        fault("files.content", 1, "truncate"),
        fault("files.content", 3, "reset_before"),
        fault("files.content", 5, {"status": 500}),
        fault("files.content", 7, {"status": 429}),
        fault("files.content", 9, error(404, "not_found", "No such File object.")),
    ]
    with scene(tmp_path_factory.mktemp("downloads"), *faults) as played:
        played.prepare(10, max_requests=2)
        played.run(code=75)
        played.resume(code=75)
        played.resume("--declare-lost", "5")
        yield played


@pytest.mark.parametrize(
    ("batch", "status"), [(1, 200), (2, None), (3, 500), (4, 429)], ids=["truncated", "reset", "5xx", "429"]
)
def test_download_is_truncated_or_reset(downloads: Scene, batch: int, status: int | None) -> None:
    """It begins again from nothing; what came of the first try is recorded, but is not the batch's file."""
    broken, whole = downloads.exchanges(batch, "files.content")
    assert ("error", status, "success", 200) == (
        broken.call["status"],
        broken.call["http_status"],
        whole.call["status"],
        whole.call["http_status"],
    )
    assert broken.entry["path"] == whole.entry["path"]
    assert whole.call["response_hash"] == downloads.detail(batch, "downloaded")["downloads"]["output"]["sha256"]
    assert 2 == len(downloads.project.payload(whole.call["response_hash"]).splitlines())
    assert ["failed_attempt", "downloaded", "harvested"] == downloads.events(batch)[-3:]
    assert 1 == downloads.accepted(batch)


def test_download_answers_404(downloads: Scene) -> None:
    """Results that are lost are bought again only when a person says so."""
    for done in downloads.told[:2]:
        downloads.check_told(done, "no longer knows batch 5 or its results", "--declare-lost 5", "--adopt BATCH_ID")
    assert [404] == downloads.statuses(5, "files.content")
    assert ["results_lost", "declared_lost", "harvested"] == downloads.events(5)[-3:]
    assert [(6, 1, 5, 2)] == downloads.batches()[5:]
    declared_at = downloads.project.query("SELECT at FROM batch_events WHERE event = 'declared_lost'")[0]["at"]
    (again,) = downloads.project.query("SELECT opened_at FROM batches WHERE batch_no = 6")
    assert declared_at <= again["opened_at"]


def test_downloads_that_met_a_fault_leave_every_row_answered_once(downloads: Scene) -> None:
    downloads.check_complete(10)
    assert 6 == downloads.accepted()
