"""What a line of a result file means for its row.

    {"custom_id": ..., "response": {"status_code": 200, "request_id": ..., "body": {...}}, "error": null}

``"error": null`` stands beside ``response`` in every good line; a failed row may
stand in either file, with its HTTP status or, when it was never run, with an
error code and no response. Lines are told apart by what they say, never by the
file or the place in which they stand.

| the line | verdict |
|---|---|
| cannot be joined to a row | quarantine: `custom_id` None |
| 200 with a reply that holds | the answer |
| 200 without one | row error: content_filter, refusal, length, empty, schema, no_choices |
| 408, 429, 5xx; batch_expired, batch_cancelled, request_timeout | another attempt |
| other statuses | row error: content_filter, bad_request, auth, not_found |
| anything else | row error: provider |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from elspeth.contracts import AnswerLine, FileRole, LineVerdict, RowError
from elspeth.core.canonical import NotEncodableError, compact_json, decode_json
from elspeth.plugins.llm.strict_schema import compiled
from elspeth.plugins.llm.usual_lines import MOST_TOKENS, usual_line, usual_reply

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["AnswerReader", "AnswerShape", "line_id", "line_usage"]

_decode = msgspec.json.Decoder().decode
_RETRYABLE_STATUS = {408: "timeout", 429: "rate_limited"}
_RETRYABLE_CODE = {
    "batch_expired": "batch_expired",
    "batch_cancelled": "batch_cancelled",
    "request_timeout": "timeout",
    "rate_limit_exceeded": "rate_limited",
    "server_error": "server_error",
}
_REFUSED_STATUS = {401: "auth", 403: "auth", 404: "not_found"}
_FILTER_CODES = ("content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation")
MAX_REASON_CHARS = 300


class AnswerShape:
    """How a reply becomes fields: the text as one field, or each property of the schema's object as one.

    Declared properties that an (unstrict) reply leaves out become None, so that rows keep their fields.
    """

    def __init__(
        self, *, text_field: str, schema: Mapping[str, Any] | None, prefix: str, metadata_prefix: str | None
    ) -> None:
        self._text_field = text_field
        self._prefix = prefix
        self._metadata_prefix = metadata_prefix
        self.has_metadata = metadata_prefix is not None
        self._absent: dict[str, Any] = {}
        self._validator: jsonschema_rs.Validator | None = None
        if schema is not None:
            self._absent = {prefix + name: None for name in schema.get("properties", {})}
            self._validator = compiled(schema)

    def fields(self, text: str) -> dict[str, Any] | RowError:
        """The fields that a reply's text adds to its row."""
        if self._validator is None:
            return {self._text_field: text}
        value = usual_reply(text)
        if value is None:
            try:
                value = decode_json(text)
            except ValueError as error:
                return RowError(code="schema", message=f"the reply is not JSON: {_short(str(error))}")
        try:
            if not self._validator.is_valid(value):
                return _mismatch(next(self._validator.iter_errors(value)))
        except (ValueError, RecursionError) as error:
            return RowError(code="schema", message=f"the reply cannot be validated: {_short(str(error))}")
        prefix = self._prefix
        return {**self._absent, **({prefix + name: item for name, item in value.items()} if prefix else value)}

    def metadata(self, usage: Mapping[str, Any] | None, model: str | None, finish_reason: str | None) -> dict[str, Any]:
        """The fields that say how the answer came about."""
        prefix = self._metadata_prefix
        return {f"{prefix}_usage": usage, f"{prefix}_model": model, f"{prefix}_finish_reason": finish_reason}


def line_id(line: bytes) -> str | None:
    """The ``custom_id`` of a line; None exactly when `AnswerReader.read` gives none."""
    usual = usual_line(line)
    if usual is not None:
        return usual.custom_id
    record = _record(line)
    return None if isinstance(record, RowError) else record["custom_id"]


def line_usage(line: bytes) -> dict[str, Any] | None:
    """The token counts that a line of a result file tells, whatever its verdict; None when it tells none."""
    record = _record(line)
    response = None if isinstance(record, RowError) else record.get("response")
    body = _opened(response.get("body")) if isinstance(response, dict) else None
    return _usage(body.get("usage")) if isinstance(body, dict) else None


class AnswerReader:
    """Reads result lines. A verdict's ``answer`` holds the row's new fields under their final names."""

    def __init__(self, shape: AnswerShape) -> None:
        self._shape = shape

    def read(self, line: bytes, role: FileRole) -> AnswerLine:
        """What one line means. Never raises, whatever the line is."""
        usual = usual_line(line)
        if usual is None:
            return self.read_any(line, role)
        body = usual.response.body
        choice = body.choices[0]
        verdict = self._told(choice.message.content, body.usage, body.model, choice.finish_reason)
        return AnswerLine(custom_id=usual.custom_id, verdict=verdict)

    def read_any(self, line: bytes, role: FileRole) -> AnswerLine:
        """The same without a short way for the usual line."""
        record = _record(line)
        if isinstance(record, RowError):
            return AnswerLine(custom_id=None, verdict=LineVerdict(None, record))
        return AnswerLine(custom_id=record["custom_id"], verdict=self._verdict(record, role))

    def _verdict(self, record: dict[str, Any], role: FileRole) -> LineVerdict:
        response = record.get("response")
        fault = record.get("error")
        if isinstance(response, dict):
            status = _status(response.get("status_code"))
            body = _opened(response.get("body"))
            if status == 200 and not fault and isinstance(body, dict):
                return self._reply(body)
            if status is not None and status != 200:
                return _refused(status, body, _detail(record, body, role))
            return _odd("a response without a usable status, body, or with an error beside it", record, role)
        if response is not None or not isinstance(fault, dict):
            return _odd("neither a response nor an error", record, role)
        return _undone(fault, _detail(record, None, role))

    def _reply(self, body: dict[str, Any]) -> LineVerdict:
        model = body.get("model")
        choice = _first_choice(body.get("choices"))
        text = RowError(code="no_choices", message="the reply has no choices") if choice is None else _text(choice)
        finish = choice.get("finish_reason") if choice else None
        return self._told(
            text,
            _usage(body.get("usage")) or {},
            model if isinstance(model, str) else None,
            finish if isinstance(finish, str) else None,
        )

    def _told(self, text: str | RowError, usage: dict[str, Any], model: str | None, finish: str | None) -> LineVerdict:
        fields = self._shape.fields(text) if isinstance(text, str) else text
        if isinstance(fields, RowError):
            return LineVerdict(None, fields, usage=usage, model=model)
        if self._shape.has_metadata:
            fields.update(self._shape.metadata(usage or None, model, finish))
        return LineVerdict(fields, None, usage=usage, model=model)


def _mismatch(error: jsonschema_rs.ValidationError) -> RowError:
    place = "/".join(map(str, error.instance_path))
    message = f"the reply does not match response_schema at /{place}: {_short(error.message)}"
    return RowError(code="schema", message=message)


def _record(line: bytes) -> dict[str, Any] | RowError:
    """The line's object, which has a ``custom_id`` of text, or why it can be joined to no row."""
    try:
        record = _decode(line)
    except (ValueError, RecursionError) as error:
        return RowError(code="not_json", message=f"not a line of JSON: {error}")
    if not isinstance(record, dict):
        return RowError(code="not_an_object", message="the line is JSON, but not an object")
    custom_id = record.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return RowError(code="no_custom_id", message="the line names no row")
    return record


def _text(choice: dict[str, Any]) -> str | RowError:
    """The reply's text, or why there is none."""
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    finish = choice.get("finish_reason")
    text, refusal = _parts(message)
    if finish == "content_filter":
        detail = {"content_filter_results": choice.get("content_filter_results")}
        return RowError(code="content_filter", message="the provider filtered the reply", detail=_kept(detail))
    if refusal:
        message_text = f"the model refused: {_short(refusal)}"
        return RowError(code="refusal", message=message_text, detail={"refusal": refusal})
    if finish == "length":
        return RowError(code="length", message="the reply was cut: the limit on its tokens was reached")
    if text is None or (not text and finish in ("tool_calls", "function_call")):
        return RowError(code="empty", message=f"the reply has no text (finish_reason {finish!r})")
    return text


def _parts(message: dict[str, Any]) -> tuple[str | None, str | None]:
    """Text and refusal of a message whose content is a string, null or a list of parts."""
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
        return ("".join(texts) if texts else None), (refusal or "".join(refusals))
    return (content if isinstance(content, str) else None), (refusal if isinstance(refusal, str) else None)


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0, wherever it stands; options allow no more than one."""
    first: dict[str, Any] | None = None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            if choice.get("index") == 0:
                return choice
            first = choice if first is None else first
    return first


def _usage(usage: Any) -> dict[str, Any] | None:
    """The token counts: whole numbers, and objects of them. What else a server puts there is in the line."""
    if not isinstance(usage, dict):
        return None
    counts: dict[str, Any] = {}
    for name, value in usage.items():
        if type(value) is int:
            if 0 <= value < MOST_TOKENS:
                counts[name] = value
        elif isinstance(value, dict):
            counts[name] = {key: count for key, count in value.items() if _is_count(count)}
    return counts


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST_TOKENS


def _opened(body: Any) -> Any:
    """The body; one server sends it as a string of JSON."""
    if not isinstance(body, str):
        return body
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        return body


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        return int(value)
    return value if type(value) is int else None


def _refused(status: int, body: Any, detail: Mapping[str, Any]) -> LineVerdict:
    """A row that was run and answered with an HTTP error."""
    code, text = _error_words(body)
    message = f"HTTP {status}: {_short(text)}" if text else f"HTTP {status}"
    retry = _RETRYABLE_STATUS.get(status, "server_error" if status >= 500 else None)
    if retry is not None:
        return LineVerdict(None, RowError(code=retry, message=message, detail=detail), is_retryable=True)
    if code in _FILTER_CODES:
        return LineVerdict(None, RowError(code="content_filter", message=message, detail=detail))
    reason = _REFUSED_STATUS.get(status, "bad_request" if 400 <= status < 500 else "provider")
    return LineVerdict(None, RowError(code=reason, message=message, detail=detail))


def _undone(fault: dict[str, Any], detail: Mapping[str, Any]) -> LineVerdict:
    """A row that was not run."""
    code, text = _error_words({"error": fault})
    message = ": ".join(part for part in (code, _short(text)) if part) or "an error without a code"
    if code in _RETRYABLE_CODE:
        failure = RowError(code=_RETRYABLE_CODE[code], message=message, detail=detail)
        return LineVerdict(None, failure, is_retryable=True)
    reason = "content_filter" if code in _FILTER_CODES else "provider"
    return LineVerdict(None, RowError(code=reason, message=message, detail=detail))


def _odd(message: str, record: dict[str, Any], role: FileRole) -> LineVerdict:
    detail = _kept({"file": role.word, "line": record})
    return LineVerdict(None, RowError(code="provider", message=message, detail=detail))


def _error_words(body: Any) -> tuple[str, str]:
    """Code and message of an error body. Azure's filter names itself in ``innererror``."""
    fault = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(fault, dict):
        return "", fault if isinstance(fault, str) else ""
    code, text = fault.get("code") or fault.get("type"), fault.get("message")
    inner = fault.get("innererror")
    if isinstance(inner, dict) and inner.get("code") in _FILTER_CODES:
        code = inner["code"]
    return (str(code) if isinstance(code, str | int) else ""), (text if isinstance(text, str) else "")


def _detail(record: dict[str, Any], body: Any, role: FileRole) -> Mapping[str, Any]:
    """All that the provider said of a failed row."""
    response = record.get("response") or {}
    said = {
        "file": role.word,
        "status_code": response.get("status_code"),
        "request_id": response.get("request_id"),
        "body": body,
        "error": record.get("error"),
    }
    return _kept({name: value for name, value in said.items() if value is not None})


def _kept(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail, unless the trail could not hold it as JSON: what is nested too deeply stays in the line."""
    try:
        compact_json(detail)
    except NotEncodableError as error:
        return {"omitted": f"the provider's words {error.reason}; the line has them"}
    return detail


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"
