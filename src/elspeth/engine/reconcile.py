"""Finding out what an unknown outcome did, from the provider's own listings.

A listing counts only when it is complete: pages are followed to the end, and one that
fails or goes in circles raises, so that "not there" is never said of half a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from elspeth.contracts import BatchFacts, BatchProvider, BatchState, FileFacts, FileState, Page, TransientError

__all__ = ["find_file", "find_jobs"]

_MOST_PAGES = 10_000
_USELESS = frozenset({FileState.FAILED, FileState.GONE})
_FRUITLESS = frozenset({BatchState.FAILED, BatchState.CANCELLED})


def find_file(provider: BatchProvider, name: str, size_bytes: int) -> list[FileFacts]:
    """The files with that name and size, the one to use first: one that is or may become ready, then the oldest."""
    found = [file for file in _all(provider.files) if file.name == name and file.size_bytes in (None, size_bytes)]
    return sorted(found, key=lambda file: (file.state in _USELESS, file.created_at or 0, file.id))


def find_jobs(provider: BatchProvider, input_file_id: str) -> list[BatchFacts]:
    """The jobs of that input file, the one to keep first: one that works or has worked, then the oldest.

    A job that was only turned away by a full queue never ran and counts for nothing.
    """
    found = [job for job in _all(provider.batches) if job.input_file_id == input_file_id and not job.is_over_quota]
    return sorted(found, key=lambda job: (job.state in _FRUITLESS, job.created_at or 0, job.id))


def _all(list_page: Callable[[str | None], Page]) -> Iterator[Any]:
    seen: set[str] = set()
    after: str | None = None
    for _ in range(_MOST_PAGES):
        page = list_page(after)
        fresh = [item for item in page.items if item.id not in seen]
        seen.update(item.id for item in fresh)
        yield from fresh
        after = page.next_after
        if after is None:
            return
        if not fresh:
            raise TransientError("the provider's listing goes in circles")
    raise TransientError("the provider's listing does not end")
