"""The check of an input file that a job begins with, a line at a time.

Line numbers are 1-based, as the providers give them. The codes are those
seen on the wire; a file with too many faults is not read to its end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from elspeth.simulator.json_values import Json, JsonObject, decode_json

MAX_ERRORS = 100
MAX_CUSTOM_ID_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`deployments` empty: any will do."""

    endpoint: str
    max_requests: int
    deployments: frozenset[str] = frozenset()


@dataclass(slots=True)
class Verdict:
    errors: list[JsonObject] = field(default_factory=list)
    requests: int = 0


@dataclass(slots=True)
class _Seen:
    custom_ids: set[str] = field(default_factory=set)
    model: str | None = None


def batch_error(code: str, message: str, *, param: str | None = None, line: int | None = None) -> JsonObject:
    return {"code": code, "message": message, "param": param, "line": line}


def validate(lines: Iterable[bytes], rules: Rules) -> Verdict:
    verdict, seen, blank = Verdict(), _Seen(), 0
    number = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank += 1
            verdict.errors.append(_invalid_json(number))
        else:
            verdict.requests += 1
            verdict.errors += _line_errors(line, number, seen, rules)
        if verdict.requests > rules.max_requests:
            return Verdict(errors=[_too_many(rules.max_requests)])
        if len(verdict.errors) >= MAX_ERRORS:
            return verdict
    if number == 0:
        return Verdict(errors=[batch_error("empty_file", "The input file is empty.")])
    if verdict.requests == 0:
        return Verdict(errors=[batch_error("empty_batch", "The input file contains no requests.")])
    return verdict


def _too_many(limit: int) -> JsonObject:
    return batch_error("too_many_tasks", f"The input file has more than {limit} requests.")


def _invalid_json(number: int) -> JsonObject:
    return batch_error("invalid_json_line", "This line is not parseable as valid JSON.", line=number)


def _line_errors(line: bytes, number: int, seen: _Seen, rules: Rules) -> list[JsonObject]:
    try:
        row = decode_json(line)
    except (ValueError, RecursionError):
        return [_invalid_json(number)]
    if not isinstance(row, dict):
        return [_invalid_json(number)]
    found = [
        _custom_id_fault(row.get("custom_id"), seen),
        _request_fault(row, rules),
        _body_fault(row.get("body")),
        _model_fault(row.get("body"), seen, rules),
    ]
    return [
        batch_error(code, message, param=param, line=number)
        for code, message, param in (fault for fault in found if fault is not None)
    ]


_Fault = tuple[str, str, str]


def _custom_id_fault(custom_id: Json, seen: _Seen) -> _Fault | None:
    if not isinstance(custom_id, str) or not custom_id:
        return ("invalid_request", "custom_id is missing or not a string.", "custom_id")
    if len(custom_id) > MAX_CUSTOM_ID_CHARACTERS:
        text = f"custom_id is longer than {MAX_CUSTOM_ID_CHARACTERS} characters."
        return ("invalid_request", text, "custom_id")
    if custom_id in seen.custom_ids:
        text = f"The custom_id {custom_id!r} appears more than once in this file."
        return ("duplicate_custom_id", text, "custom_id")
    seen.custom_ids.add(custom_id)
    return None


def _request_fault(row: JsonObject, rules: Rules) -> _Fault | None:
    if row.get("method") != "POST":
        return ("invalid_request", "method must be POST.", "method")
    if row.get("url") != rules.endpoint:
        text = f"The url {row.get('url')!r} does not match the batch endpoint {rules.endpoint!r}."
        return ("url_mismatch", text, "url")
    return None


def _body_fault(body: Json) -> _Fault | None:
    if not isinstance(body, dict):
        return ("invalid_request", "body is missing or not an object.", "body")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        return ("invalid_request", "messages is missing or not a list of objects.", "body.messages")
    if body.get("stream"):
        return ("invalid_request", "stream is not supported in a batch.", "body.stream")
    return None


def _model_fault(body: Json, seen: _Seen, rules: Rules) -> _Fault | None:
    if not isinstance(body, dict):
        return None
    model = body.get("model")
    if not isinstance(model, str) or not model:
        return ("invalid_request", "model is missing or not a string.", "body.model")
    if rules.deployments and model not in rules.deployments:
        return ("model_not_found", f"The deployment {model!r} does not exist.", "body.model")
    if seen.model is None:
        seen.model = model
    if model != seen.model:
        text = f"All requests must name one model; this line has {model!r}, the first {seen.model!r}."
        return ("model_mismatch", text, "body.model")
    return None
