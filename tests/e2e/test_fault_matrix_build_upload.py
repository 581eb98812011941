"""The fault matrix: building request files, uploading them, waiting for them at the provider."""

import json
from collections.abc import Iterator

import pytest
from tests.e2e.fault_scene import Scene, error, fault, scene
from tests.e2e.project import tickets
from tests.e2e.wire import of

Folders = pytest.TempPathFactory
ROWS = 10
PENDING = {"patch": {"status": "pending"}}
UNREADABLE = {"patch": {"status": "error", "status_details": "no such encoding"}}
UPLOADS = [
    # An upload whose outcome is unknown waits a second and gives way to the next batch: the first one of
    # each batch is the one of its number.
    fault("files.create", 4, "reset_before"),
    fault("files.create", 5, "reset_after"),
    fault("files.create", 6, {"status": 500}),
    fault("files.create", 7, {"status": 503, "act": True}),
    fault("files.create", 8, {"status": 409}),
    fault("files.create", 9, {"status": 409, "act": True}),
    fault("files.create", 10, {"status": 408, "act": True}),
    # Every file is told to be pending when it arrives; each is looked at until it is processed.
    fault("files.create", "every", PENDING),
    fault("files.retrieve", [1, 2, 3], PENDING),  # batch 1
    fault("files.retrieve", 5, UNREADABLE),  # batch 2
    fault("files.retrieve", 6, error(404, "not_found")),  # batch 3
]


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Ten batches of one row."""
    with scene(tmp_path_factory.mktemp("uploads"), *UPLOADS) as played:
        played.prepare(ROWS)
        played.run()
        yield played


@pytest.fixture(scope="module")
def copies(tmp_path_factory: Folders) -> Iterator[Scene]:
    """Two uploads of one file arrive, the answers of both are lost, and the first listing is behind."""
    faults = [fault("files.create", [1, 2], "reset_after"), fault("files.list", 1, "stale_list")]
    with scene(tmp_path_factory.mktemp("copies"), *faults) as played:
        played.prepare(1, attempts=3)
        played.run()
        yield played


@pytest.fixture(scope="module")
def refused(tmp_path_factory: Folders) -> Iterator[Scene]:
    """An upload that is refused in four ways, each of which ends a process."""
    refusals = [
        error(400, "invalid_request", "no such purpose"),
        error(413, "file_too_large", "too many bytes"),
        error(401, "401", "bad key"),
        error(403, "403", "network rules"),
    ]
    faults = [fault("files.create", number, action) for number, action in enumerate(refusals, start=1)]
    with scene(tmp_path_factory.mktemp("refused"), *faults) as played:
        played.prepare(1)
        played.run(code=3)
        for code in (3, 4, 4, 0):
            played.resume(code=code)
        yield played


def check_sent_again(played: Scene, batch: int, status: int | None) -> None:
    """Nothing had arrived: the files are listed once, then the upload is repeated under the same name."""
    assert [status, 201] == played.statuses(batch, "files.create")
    assert [200, 200] == played.statuses(batch, "files.list"), "once more at the end, for a copy that is late"
    assert ["outcome_unknown", "upload_not_found", "uploaded"] == played.events(batch)[2:5]
    assert 1 == len({pair.entry["file_name"] for pair in played.exchanges(batch, "files.create")})
    assert 1 == played.accepted(batch)


def check_adopted(played: Scene, batch: int, status: int | None) -> None:
    """It had arrived: the listing says so, by its unique name and size, and it is not sent again."""
    assert [status] == played.statuses(batch, "files.create")
    assert [200] == played.statuses(batch, "files.list")
    assert ["outcome_unknown", "adopted_file"] == played.events(batch)[2:4]
    assert 1 == played.accepted(batch)


def test_build_over_the_limits_of_rows_and_bytes(tmp_path_factory: Folders) -> None:
    """Split here, before anything is sent, into the same bytes each time; a row that fits no file fails alone."""
    bodies = ["short"] * 4 + ["x" * 2_000] * 3 + ["y" * 5_000]
    source = "id,subject,body,priority\n" + "".join(f"{n},S{n},{body},1\n" for n, body in enumerate(bodies, start=1))
    with scene(tmp_path_factory.mktemp("limits")) as played:
        played.prepare(8, source=source, max_requests=3, options={"max_bytes": 4_000})
        played.run()
        played.check_complete(8, failed=[8])
        first = played.project.query("SELECT requests, bytes FROM v_batches ORDER BY batch")
        assert [3, 2, 1, 1] == [batch["requests"] for batch in first]
        assert all(batch["bytes"] <= 4_000 for batch in first)
        assert {8: "too_large"} == played.failed()
        played.run("--new")
        sent = [entry["file_sha256"] for entry in of(played.simulator.journal(), "files.create")]
        assert sent[:4] == sent[4:]
        assert 4 == len(set(sent))


def test_build_with_a_duplicate_id(tmp_path_factory: Folders) -> None:
    """The second row of a key is rejected; no id stands twice in what is sent."""
    with scene(tmp_path_factory.mktemp("duplicate")) as played:
        played.prepare(3, source=tickets(3) + "2,again,the same id,1\n", max_requests=9)
        played.run()
        ((rejected,),) = (r.values() for r in played.project.query("SELECT reason FROM v_outcomes WHERE row_index = 3"))
        assert "duplicate_key" == rejected
        assert [1, 2, 3] == played.answered()
        (upload,) = played.exchanges(operation="files.create")
        lines = played.project.payload(upload.call["request_hash"]).splitlines()
        assert ["row-0-0", "row-1-0", "row-2-0"] == [json.loads(line)["custom_id"] for line in lines]


def test_build_of_an_empty_source(tmp_path_factory: Folders) -> None:
    """No rows, no file, no job: a provider would refuse an empty file."""
    with scene(tmp_path_factory.mktemp("empty")) as played:
        played.prepare(0)
        assert played.run().out.startswith("complete: 0 in = 0")
        assert [] == played.simulator.journal() == played.batches()
        assert "id,title,body,priority,category\n" == played.project.text("out/triaged.csv")


def test_upload_connection_is_reset(uploads: Scene) -> None:
    check_sent_again(uploads, 4, None)
    check_adopted(uploads, 5, None)
    assert "no answer came back" in uploads.detail(5, "outcome_unknown")["message"]


def test_upload_answers_5xx(uploads: Scene) -> None:
    check_sent_again(uploads, 6, 500)
    check_adopted(uploads, 7, 503)


def test_upload_answers_409(uploads: Scene) -> None:
    check_sent_again(uploads, 8, 409)
    check_adopted(uploads, 9, 409)
    check_adopted(uploads, 10, 408)


def test_upload_of_which_several_copies_are_found(copies: Scene) -> None:
    """The oldest is adopted, and one job is made."""
    copies.check_complete(1)
    assert ["outcome_unknown", "upload_not_found", "outcome_unknown", "adopted_file"] == copies.events(1)[2:6]
    assert (2, 1) == (copies.accepted(operation="files.create"), copies.accepted())
    inputs = [file for file in copies.listing("files") if file["purpose"] == "batch"]
    assert copies.detail(1, "adopted_file")["file_id"] == inputs[0]["id"]


def test_upload_of_which_a_copy_shows_up_later(copies: Scene) -> None:
    """The copy that no job uses is an orphan: recorded, and deleted, since files count against a limit."""
    inputs = [file["id"] for file in copies.listing("files") if file["purpose"] == "batch"]
    assert [copies.detail(1, "adopted_file")["file_id"]] == inputs
    assert 1 == copies.accepted(operation="files.delete")


def test_uploads_that_met_a_fault_leave_every_row_answered_once(uploads: Scene) -> None:
    uploads.check_complete(ROWS)
    assert ROWS == uploads.accepted(), "one job a row: also for the file that the provider could not read"


def test_file_wait_is_pending_for_long(uploads: Scene, tmp_path_factory: Folders) -> None:
    """It is asked for again and again, less and less often; the wait that was given is kept."""
    assert [200] * 4 == uploads.statuses(1, "files.retrieve")
    assert ["uploaded", "ready", "created"] == uploads.events(1)[2:5]
    faults = [fault("files.create", 1, PENDING), fault("files.retrieve", "every", PENDING)]
    with scene(tmp_path_factory.mktemp("pending"), *faults) as played:
        played.prepare(1)
        played.check_told(played.run("--wait", "4s", code=75), "PENDING", "Safe to close", "uploaded")
        assert (1, 0) == (played.accepted(operation="files.create"), played.accepted())
        played.simulator.clear_faults()
        played.resume()
        played.check_complete(1)
        assert (1, 1) == (played.accepted(operation="files.create"), played.accepted())


def test_file_wait_ends_in_an_error(uploads: Scene) -> None:
    """The batch fails before it costs anything, with the provider's words; its row goes out in another file."""
    assert [{"code": "file_error", "message": "no such encoding"}] == uploads.detail(2, "ended")["faults"]
    assert 0 == uploads.accepted(2)
    assert [(11, 1, 2, 1)] == uploads.batches()[10:]
    assert (1, 1) == (uploads.accepted(11, "files.create"), uploads.accepted(11))


def test_file_wait_answers_404(uploads: Scene) -> None:
    """The provider has not kept the file: it is uploaded again."""
    assert [404, 200] == uploads.statuses(3, "files.retrieve")
    assert [201, 201] == uploads.statuses(3, "files.create")
    assert ["uploaded", "file_gone", "uploaded", "ready", "created"] == uploads.events(3)[2:7]
    assert 1 == uploads.accepted(3)


@pytest.mark.parametrize(("place", "word"), [(0, "no such purpose"), (1, "lower `max_bytes`")], ids=["400", "413"])
def test_upload_answers_400_or_413(refused: Scene, place: int, word: str) -> None:
    refused.check_told(refused.told[place], word, "batch 1: files.create")
    assert "refused" == refused.events(1)[2 + place]


@pytest.mark.parametrize(("place", "word"), [(2, "AZURE_OPENAI_API_KEY"), (3, "lacks permission")], ids=["401", "403"])
def test_upload_answers_401_or_403(refused: Scene, place: int, word: str) -> None:
    refused.check_told(refused.told[place], word)
    assert "refused" == refused.events(1)[2 + place]


def test_a_refused_upload_loses_nothing(refused: Scene) -> None:
    refused.check_complete(1)
    assert [400, 413, 401, 403, 201] == refused.statuses(1, "files.create")
    assert 1 == refused.accepted()
    errors = [pair.error["body"] for pair in refused.exchanges(operation="files.create")[:4]]
    for word, body in zip(("no such purpose", "too many bytes", "bad key", "network rules"), errors, strict=True):
        assert word in body
