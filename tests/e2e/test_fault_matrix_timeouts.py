"""The fault matrix: a provider that takes a request and never answers.

A busy machine may let other requests run out of time as well, so what is counted here is what must not be exceeded.
"""

from collections.abc import Iterator

import pytest
from tests.e2e.fault_scene import Scene, fault, scene

STALLED = [
    "files.create",
    "files.list",
    "files.retrieve",
    "batches.create",
    "batches.list",
    "batches.retrieve",
    "files.content",
]


@pytest.fixture(scope="module")
def stalled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Each operation stalls once."""
    faults = [fault(operation, 1, "stall") for operation in STALLED]
    pending = fault("files.create", "every", {"patch": {"status": "pending"}})
    with scene(tmp_path_factory.mktemp("stalled"), *faults, pending) as played:
        played.prepare(1, attempts=9, options={"timeout_seconds": 0.5})
        played.run()
        yield played


def check_timed_out(played: Scene, operation: str) -> None:
    (found,) = (pair for pair in played.exchanges(1, operation) if pair.entry["fault"] == "stall")
    assert ("error", None) == (found.call["status"], found.call["http_status"])
    assert "Timeout" in found.error["type"]


@pytest.mark.parametrize("operation", ["files.create", "files.list", "files.retrieve"])
def test_upload_times_out(stalled: Scene, operation: str) -> None:
    """Nothing arrived, which the listing tells once it can be had."""
    check_timed_out(stalled, operation)
    assert 1 == stalled.accepted(operation="files.create")


@pytest.mark.parametrize("operation", ["batches.create", "batches.list"])
def test_create_times_out(stalled: Scene, operation: str) -> None:
    check_timed_out(stalled, operation)
    assert 1 == stalled.accepted() == len(stalled.listing("batches"))


def test_poll_times_out(stalled: Scene) -> None:
    check_timed_out(stalled, "batches.retrieve")


def test_download_times_out(stalled: Scene) -> None:
    check_timed_out(stalled, "files.content")
    assert 1 == len(stalled.news(1, "downloaded"))


def test_stalled_requests_leave_every_row_answered_once(stalled: Scene) -> None:
    stalled.check_complete(1)
    assert [(1, 0, None, 1)] == stalled.batches()
