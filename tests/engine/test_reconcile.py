"""Finding what an unknown outcome did: only a complete listing may say that something is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, NoReturn

import pytest

from elspeth.contracts import (
    BatchFacts,
    BatchFault,
    BatchState,
    FileFacts,
    FileState,
    Page,
    TransientError,
)
from elspeth.engine.reconcile import find_file, find_jobs


class Listing:
    """A provider that only lists: ``pages`` by the id after which they come."""

    def __init__(self, pages: Mapping[str | None, Page]) -> None:
        self._pages = pages
        self.asked: list[str | None] = []

    def files(self, after: str | None) -> Page:
        self.asked.append(after)
        return self._pages[after]

    batches = files

    def upload(self, name: str, body: IO[bytes], size_bytes: int) -> NoReturn:
        raise AssertionError("a search sends nothing")

    def create(self, input_file_id: str, metadata: Mapping[str, str]) -> NoReturn:
        raise AssertionError("a search sends nothing")

    file = batch = cancel = download = delete_file = upload


def stored(file_id: str, name: str, size: int | None, created_at: int | None = None) -> FileFacts:
    return FileFacts(
        id=file_id, name=name, size_bytes=size, state=FileState.READY, raw_status="processed", created_at=created_at
    )


def job(job_id: str, state: BatchState, *, file_id: str = "f", created_at: int = 0, code: str = "") -> BatchFacts:
    faults = (BatchFault(code=code, message="m"),) if code else ()
    return BatchFacts(
        id=job_id,
        state=state,
        raw_status=state.value,
        input_file_id=file_id,
        output_file_id=None,
        error_file_id=None,
        faults=faults,
        created_at=created_at,
    )


def test_a_file_is_found_by_name_and_size_on_any_page_the_oldest_first() -> None:
    listing = Listing(
        {
            None: Page(items=[stored("1", "mine", 5, 30), stored("2", "other", 5)], next_after="2"),
            "2": Page(items=[stored("3", "mine", 6), stored("4", "mine", 5, 10)], next_after=None),
        }
    )
    assert [file.id for file in find_file(listing, "mine", 5)] == ["4", "1"]
    assert listing.asked == [None, "2"]


def test_a_server_that_tells_no_size_is_believed_by_the_unique_name() -> None:
    listing = Listing({None: Page(items=[stored("1", "mine", None)], next_after=None)})
    assert [file.id for file in find_file(listing, "mine", 5)] == ["1"]


def test_the_job_to_keep_is_one_that_works_and_then_the_oldest() -> None:
    jobs = [
        job("failed", BatchState.FAILED, created_at=1),
        job("young", BatchState.PENDING, created_at=3),
        job("old", BatchState.COMPLETED, created_at=2),
        job("turned-away", BatchState.FAILED, created_at=0, code="token_limit_exceeded"),
        job("foreign", BatchState.PENDING, file_id="g"),
    ]
    listing = Listing({None: Page(items=jobs, next_after=None)})
    assert [found.id for found in find_jobs(listing, "f")] == ["old", "young", "failed"]


def test_a_listing_that_goes_in_circles_proves_nothing() -> None:
    page = Page(items=[job("1", BatchState.PENDING, file_id="g")], next_after="1")
    with pytest.raises(TransientError, match="circles"):
        find_jobs(Listing({None: page, "1": page}), "f")


def test_a_page_that_cannot_be_had_proves_nothing() -> None:
    class Broken(Listing):
        def batches(self, after: str | None) -> Page:
            if after is not None:
                raise TransientError("500")
            return super().files(after)

    with pytest.raises(TransientError):
        find_jobs(Broken({None: Page(items=[job("1", BatchState.PENDING, file_id="g")], next_after="1")}), "f")
