"""Files, jobs and lists as providers write them, read into facts.

Servers differ, and the SDK validates nothing: statuses come capitalised, times
as ISO strings, absent ids as ``""``, counts as null, lists under ``value``. All
that is normalised here. An object without an id, or a list without items, says
nothing and is a `TransientError`: the transport has recorded the raw answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from elspeth.contracts import BatchFacts, BatchFault, BatchState, FileFacts, FileState, Page, TransientError
from elspeth.core.canonical import decode_json

__all__ = ["decoded", "parse_batch", "parse_file", "parse_page"]

Facts = TypeVar("Facts", FileFacts, BatchFacts)
MAX_ID_CHARS = 512

_BATCH_STATES = {
    "completed": BatchState.COMPLETED,
    "failed": BatchState.FAILED,
    "expired": BatchState.EXPIRED,
    "cancelled": BatchState.CANCELLED,
    "canceled": BatchState.CANCELLED,
}
_FILE_STATES = {
    "processed": FileState.READY,
    "error": FileState.FAILED,
    "deleting": FileState.GONE,
    "deleted": FileState.GONE,
}


def _text(value: object) -> str | None:
    """Text, or None for what says nothing: null, ``""``, another type."""
    return value if isinstance(value, str) and value.strip() else None


def _identity(value: object) -> str | None:
    """An object's id: short and printable, and no step in a path, since a URL is made of it."""
    text = _text(value)
    if text is None or len(text) > MAX_ID_CHARS or not text.isprintable() or text in (".", ".."):
        return None
    return text


def _word(value: object) -> str:
    """A status or code as the provider spelt it; ``""`` for none."""
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value) if len(value) < 20 else None
    return value if type(value) is int and value >= 0 else None


def _time(value: object) -> int | None:
    """Unix seconds from seconds or ISO 8601 (without a zone: UTC)."""
    number = _number(int(value) if isinstance(value, float) and abs(value) < 1e15 else value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        moment = datetime.fromisoformat(value.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _entries(value: object) -> list[object]:
    """The entries of a job's error list: under ``data``, as a bare list, or a single object."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict):
        return [value] if value.get("code") or value.get("message") else []
    return [item for item in value if isinstance(item, dict | str)] if isinstance(value, list) else []


def _strings(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: text for name, text in value.items() if isinstance(text, str)}


MaybeText = Annotated[str | None, BeforeValidator(_text)]
MaybeId = Annotated[str | None, BeforeValidator(_identity)]
Word = Annotated[str, BeforeValidator(_word)]
MaybeCount = Annotated[int | None, BeforeValidator(_number)]
MaybeTime = Annotated[int | None, BeforeValidator(_time)]


class _Wire(BaseModel):
    """An answer; members that nobody told us of are ignored here and kept in the trail."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Object(_Wire):
    id: Annotated[str, BeforeValidator(_identity)]
    status: Word = ""
    created_at: MaybeTime = None


class _File(_Object):
    filename: MaybeText = None
    size: Annotated[MaybeCount, Field(validation_alias=AliasChoices("bytes", "size"))] = None
    status_details: Any = None


class _Counts(_Wire):
    total: MaybeCount = None
    completed: MaybeCount = None
    failed: MaybeCount = None


class _Fault(_Wire):
    code: Word = ""
    message: Word = ""
    line: MaybeCount = None


class _Batch(_Object):
    input_file_id: MaybeId = None
    output_file_id: MaybeId = None
    error_file_id: MaybeId = None
    errors: Annotated[list[object], BeforeValidator(_entries)] = Field(default_factory=list)
    request_counts: Annotated[_Counts, BeforeValidator(_mapping)] = Field(default_factory=_Counts)
    metadata: Annotated[dict[str, str] | None, BeforeValidator(_strings)] = None


def parse_file(body: object, *, is_ready_when_uploaded: bool) -> FileFacts:
    """A file's facts from its object.

    At OpenAI a file can be used once it is uploaded, and its status is deprecated
    (``is_ready_when_uploaded``); on Azure only a processed one can.
    """
    file = _read(_File, body, "file")
    word = file.status.lower()
    state = _FILE_STATES.get(word, FileState.PREPARING)
    if is_ready_when_uploaded and word in ("", "uploaded"):
        state = FileState.READY
    details = file.status_details
    return FileFacts(
        id=file.id,
        name=file.filename,
        size_bytes=file.size,
        state=state,
        raw_status=file.status,
        created_at=file.created_at,
        detail=None if details in (None, "") else str(details),
    )


def parse_batch(body: object) -> BatchFacts:
    """A job's facts from its object; an unknown status counts as pending and is kept as it came."""
    batch = _read(_Batch, body, "batch")
    word = batch.status.lower().replace(" ", "_").replace("-", "_")
    counts = batch.request_counts
    return BatchFacts(
        id=batch.id,
        state=_BATCH_STATES.get(word, BatchState.PENDING),
        raw_status=batch.status,
        input_file_id=batch.input_file_id,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        faults=tuple(_fault(entry) for entry in batch.errors),
        total=counts.total,
        completed=counts.completed,
        failed=counts.failed,
        created_at=batch.created_at,
        metadata=batch.metadata,
    )


def parse_page(body: object, parse_item: Callable[[object], Facts], *, after: str | None, limit: int) -> Page:
    """One page of a listing that was asked for behind ``after``, with at most ``limit`` items.

    Without ``has_more`` a page with items has a successor, until one is empty or repeats ``after``: such a
    server does not page, and its page is the whole list. One that repeats ``after`` and has more, or may
    have because its page is full, can't be listed to its end: what follows from an absence must not rest on it.
    """
    listing = _mapping(body)
    values = listing.get("data", listing.get("value"))
    if not isinstance(values, list):
        raise TransientError("malformed listing: it has no list of items", code="malformed_listing")
    items = [parse_item(value) for value in values]
    has_more = listing.get("has_more")
    is_repeated = after is not None and any(item.id == after for item in items)
    may_have_more = has_more is True or (has_more is not False and len(items) == limit)
    if (is_repeated and may_have_more) or (has_more is True and not items):
        message = "malformed listing: there is more, but the server repeats itself"
        raise TransientError(message, code="malformed_listing")
    is_last = has_more is False or is_repeated or not items
    return Page(items=tuple(items), next_after=None if is_last else items[-1].id)


def decoded(text: str) -> object:
    """The value of an answer's body; raises `TransientError` when it is not JSON."""
    try:
        return decode_json(text)
    except ValueError as error:
        raise TransientError(f"malformed answer: it is not JSON ({error})", code="malformed_answer") from None


Model = TypeVar("Model", bound=_Wire)


def _read(model: type[Model], body: object, what: str) -> Model:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        message = f"malformed answer: this is no {what} object (at /{place})"
        raise TransientError(message, code="malformed_answer") from None


def _fault(entry: object) -> BatchFault:
    fault = _Fault.model_validate(entry if isinstance(entry, dict) else {"message": entry})
    return BatchFault(code=fault.code or "unknown", message=fault.message, line=fault.line)
