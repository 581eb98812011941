"""A request that has arrived, and the journal's entry for it. Keys stay out of the entry."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from elspeth.simulator.delivery import Fate
from elspeth.simulator.faults import Action
from elspeth.simulator.json_values import JsonObject
from elspeth.simulator.request_body import RequestBody
from elspeth.simulator.routes import Route

_SECRET_HEADERS = frozenset({"authorization", "api-key"})
_SECRET_QUERY = frozenset({"api-key", "api_key", "subscription-key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    number: int
    at: float
    request: Request
    route: Route
    action: Action
    body: RequestBody

    @property
    def key(self) -> str:
        """The key the client sent, in either of the two ways; empty if none."""
        headers = self.request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return headers.get("api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def journal_entry(arrival: Arrival, fate: Fate) -> JsonObject:
    request, body = arrival.request, arrival.body
    upload = body.upload
    return {
        "n": arrival.number,
        "time": datetime.fromtimestamp(arrival.at, UTC).isoformat(),
        "operation": arrival.route.operation,
        "method": request.method,
        "path": request.url.path,
        "query": _redacted(request.query_params.items(), _SECRET_QUERY),
        "headers": _redacted(request.headers.items(), _SECRET_HEADERS),
        "body_sha256": body.sha256,
        "body_bytes": body.size,
        "file_sha256": upload.sha256 if upload else None,
        "file_bytes": upload.size if upload and upload.sha256 else None,
        "file_name": upload.file_name if upload else None,
        "status": fate.status,
        "response_sha256": fate.sha256,
        "response_bytes": fate.size,
        "fault": arrival.action.source,
    }


def _redacted(pairs: Iterable[tuple[str, str]], secret: frozenset[str]) -> dict[str, str]:
    return {name: "***" if name.lower() in secret else value for name, value in pairs}
