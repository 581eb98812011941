"""Lists, newest first, a page at a time; both collections page alike."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from elspeth.simulator.exchange import Answer, ApiError, Call, json_answer, whole_number
from elspeth.simulator.json_values import JsonObject
from elspeth.simulator.settings import Quirk, Settings
from elspeth.simulator.shapes import list_object


class _Listed(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Listed)


def page(
    everything: Sequence[T],
    call: Call,
    *,
    settings: Settings,
    limits: tuple[int, int],
    is_shown: Callable[[T], bool],
    render: Callable[[T], JsonObject],
    foreign: Sequence[JsonObject],
) -> Answer:
    """`everything` is in order of creation; `limits` are the default and the greatest page size."""
    limit = whole_number(call, "limit", default=limits[0], most=limits[1])
    ordered = list(everything) if call.query.get("order") == "asc" else list(reversed(everything))
    start = 0
    after = call.query.get("after")
    if after and not settings.has(Quirk.IGNORED_AFTER):
        start = _place_after(after, ordered)
    newest = next((item for item in reversed(everything) if is_shown(item)), None)
    hidden = newest if call.action.word == "stale_list" else None
    shown = [item for item in ordered[start:] if item is not hidden and is_shown(item)]
    items = [render(item) for item in shown[:limit]]
    if call.action.word == "foreign_list":
        items = [*foreign, *items]
    return json_answer(list_object(items, has_more=len(shown) > limit, settings=settings))


def _place_after(after: str, ordered: Sequence[_Listed]) -> int:
    for place, item in enumerate(ordered, start=1):
        if item.id == after:
            return place
    raise ApiError(400, "invalid_value", f"There is no object {after!r} to go on after.", param="after")
