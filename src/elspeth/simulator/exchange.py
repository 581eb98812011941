"""A request taken in, and the answer to it, on their way between the server and the operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from elspeth.simulator.faults import Action
from elspeth.simulator.json_values import Json, JsonObject, encode_json, merged
from elspeth.simulator.routes import Route
from elspeth.simulator.upload import Upload


class ApiError(Exception):
    """An operation's refusal; both providers use OpenAI's shape for it."""

    def __init__(self, status: int, code: str | None, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param

    def answer(self) -> "Answer":
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"code": self.code, "message": self.message, "param": self.param, "type": kind}
        return json_answer({"error": error}, status=self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`upload` is there for a multipart body, `body` for every other one."""

    route: Route
    query: Mapping[str, str]
    body: bytes
    upload: Upload | None
    action: Action
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The entity is `body`, or the file at `path` if there is one. `document` is what `body` encodes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    path: Path | None = None
    document: Json = None

    @property
    def size(self) -> int:
        return len(self.body) if self.path is None else self.path.stat().st_size


def json_answer(document: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=encode_json(document),
        document=document,
    )


def created_status(call: Call) -> int:
    return 201 if call.route.profile.is_azure else 200


def whole_number(call: Call, name: str, *, default: int, most: int) -> int:
    """A query parameter from 1 to `most`. Raises ApiError."""
    text = call.query.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ApiError(400, "invalid_value", f"{name} must be between 1 and {most}, not {text!r}.", param=name)
    return int(text)


def with_patch(answer: Answer, patch: JsonObject) -> Answer:
    document = merged(answer.document, patch) if isinstance(answer.document, dict) else patch
    return json_answer(document, status=answer.status, headers=answer.headers)


def with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """What the answer says itself stands."""
    return replace(answer, headers={**headers, **answer.headers})
