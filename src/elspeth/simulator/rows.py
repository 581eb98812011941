"""One row of a job: whether it fails and how, and its line in a result file."""

import json
from dataclasses import dataclass

from elspeth.simulator import chance
from elspeth.simulator.json_values import Json, JsonObject, encode_json
from elspeth.simulator.records import FileKind, Phase
from elspeth.simulator.settings import Quirk, RowFault, Settings


@dataclass(slots=True, kw_only=True)
class Row:
    """Made for every line of an input file, so not frozen. `number` is 1-based."""

    number: int
    custom_id: str
    body: JsonObject
    fault: RowFault | None = None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a row came to; made for every row, so not frozen. `response` is (status, body)."""

    kind: FileKind
    response: tuple[int, Json] | None = None
    error: JsonObject | None = None


# Faults that spoil an answer; the others stand in its place.
ANSWERED_FAULTS = frozenset(
    {
        RowFault.COMPLETION_FILTERED,
        RowFault.LENGTH,
        RowFault.REFUSAL,
        RowFault.NOT_JSON,
        RowFault.WRONG_SCHEMA,
        RowFault.NO_CHOICES,
        RowFault.EMPTY,
    }
)

_UNDONE_CODES = {
    Phase.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    Phase.CANCELLED: ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
_TIMED_OUT = ("request_timeout", "This request timed out.")

_STATUS_MESSAGES = {
    RowFault.RATE_LIMITED: "Rate limit reached.",
    RowFault.SERVER_ERROR: "The server had an error while processing the request.",
    RowFault.UNAVAILABLE: "The service is temporarily unavailable.",
    RowFault.REQUEST_TIMEOUT: "The request timed out.",
}


def fault_of_row(custom_id: str, settings: Settings) -> RowFault | None:
    """By the hash of the seed and the id: the same rows fail in every run."""
    if chance.fraction(settings.seed, "fail", custom_id) >= settings.fail_rate:
        return None
    kinds = settings.fail_kinds
    return RowFault(kinds[chance.index(len(kinds), settings.seed, "kind", custom_id)])


def answered(status: int, body: Json) -> Outcome:
    kind = FileKind.OUTPUT if status == 200 else FileKind.ERROR
    return Outcome(kind=kind, response=(status, body))


def undone(phase: str) -> Outcome:
    code, message = _UNDONE_CODES.get(Phase(phase), _TIMED_OUT)
    return Outcome(kind=FileKind.ERROR, error={"code": code, "message": message})


def failed(fault: RowFault) -> Outcome:
    """A row that got no answer at all."""
    match fault:
        case RowFault.NULL_BOTH:
            return Outcome(kind=FileKind.OUTPUT)
        case RowFault.UNKNOWN_CODE:
            return Outcome(kind=FileKind.ERROR, error={"code": "brand_new_code", "message": "?"})
        case RowFault.UNDONE:
            return undone(Phase.COMPLETED)
        case RowFault.CONTENT_FILTER:
            return answered(400, {"error": _prompt_filtered()})
        case RowFault.BAD_REQUEST:
            message = "max_tokens is too large for this model."
            return answered(400, {"error": _error("invalid_request_error", message, param="max_tokens")})
        case _:
            return answered(int(fault), {"error": _error(str(fault), _STATUS_MESSAGES[fault])})


def spoiled(fault: RowFault, body: JsonObject) -> JsonObject:
    """A good answer, spoiled. Changes `body`, which nobody else holds."""
    if fault is RowFault.NO_CHOICES:
        return {**body, "choices": []}
    for choice in body.get("choices") or []:
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            _spoil_choice(fault, choice)
    return body


def _spoil_choice(fault: RowFault, choice: JsonObject) -> None:
    message = choice["message"]
    content = message.get("content") or ""
    match fault:
        case RowFault.COMPLETION_FILTERED:
            choice["finish_reason"], message["content"] = "content_filter", ""
        case RowFault.LENGTH:
            choice["finish_reason"], message["content"] = "length", content[: len(content) // 2]
        case RowFault.REFUSAL:
            message["content"], message["refusal"] = None, "I can't help with that."
        case RowFault.NOT_JSON:
            message["content"] = "Sure! Here is what you asked for."
        case RowFault.WRONG_SCHEMA:
            message["content"] = json.dumps(_mistyped(content))
        case _:
            message["content"] = None


def _mistyped(content: str) -> Json:
    """The same object with its first value of another type; for anything else, an unlikely object."""
    try:
        value = json.loads(content)
    except ValueError:
        return {"unexpected": 7}
    if not isinstance(value, dict) or not value:
        return {"unexpected": 7} if isinstance(value, list | str | int | float) else 7
    name = next(iter(value))
    return {**value, name: 7 if isinstance(value[name], str | bool) else "seven"}


def encode_line(job_id: str, row: Row, outcome: Outcome, settings: Settings) -> bytes:
    """Ids depend on the job and the row's place in it alone, so work done again after a crash is the same."""
    key = chance.digest(job_id, str(row.number)).hex()
    line: JsonObject = {"id": f"batch_req_{key[:24]}", "custom_id": row.custom_id}
    if settings.has(Quirk.NO_LINE_ID):
        del line["id"]
    line["response"] = None
    if outcome.response is not None:
        status, body = outcome.response
        if settings.has(Quirk.BODY_AS_STRING):
            body = json.dumps(body)
        line["response"] = {"status_code": status, "request_id": f"req_{key[24:56]}", "body": body}
    line["error"] = outcome.error
    return encode_json(line) + b"\n"


def _error(code: str, message: str, *, param: str | None = None) -> JsonObject:
    return {"code": code, "message": message, "param": param, "type": None}


def _prompt_filtered() -> JsonObject:
    message = "The response was filtered due to the prompt triggering the content management policy."
    clean = {"filtered": False, "severity": "safe"}
    result = {"hate": {"filtered": True, "severity": "high"}, "self_harm": clean, "sexual": clean}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {**result, "violence": clean}}
    return {**_error("content_filter", message, param="prompt"), "status": 400, "innererror": inner}
