"""The usual line of a result file, one finished reply of text, and the usual reply, one object: decoded in C.

Nearly all lines of nearly all files look like this, and typed decoding takes them apart.
Every member is named here, and any that is not is a refusal: so each byte is decoded by
the same rules as in a line that is read as plain JSON, and a line that this module accepts
means the same either way (a property test says so). All others are for `answers`.

A reply is decoded as strictly as by `decode_json`, for which all that is refused here is left
(a property test says so, too).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

__all__ = ["MOST_TOKENS", "UsualLine", "usual_line", "usual_reply"]

MOST_TOKENS: Final = 10**12  # of one answer; beyond it a count is no count

_MOST_ARRAYS = 16  # few enough that nothing is nested too deeply

Count = Annotated[int, msgspec.Meta(ge=0, lt=MOST_TOKENS)]


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    refusal: None = None
    role: Any = None
    annotations: Any = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: _Message
    finish_reason: Literal["stop"]
    index: Literal[0]
    logprobs: Any = None
    content_filter_results: Any = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The reply with its tokens."""

    choices: tuple[_Choice]
    model: str
    usage: dict[str, Count | dict[str, Count]]
    id: Any = None
    object: Any = None
    created: Any = None
    system_fingerprint: Any = None
    service_tier: Any = None
    prompt_filter_results: Any = None


class _Response(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    status_code: Literal[200]
    body: _Body
    request_id: Any = None


class UsualLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line with the text of a reply; ``custom_id`` is not empty."""

    custom_id: Annotated[str, msgspec.Meta(min_length=1)]
    response: _Response
    error: None = None
    id: Any = None


_decode = msgspec.json.Decoder(UsualLine).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def usual_line(line: bytes) -> UsualLine | None:
    """The line's parts; None for one that is not as usual."""
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return None


def usual_reply(text: str) -> dict[str, Any] | None:
    """The object that a reply is, unless others with keys stand in it; None for one that is not as usual.

    The decoder takes a key that comes twice. Where there are no more colons than keys, none did.
    """
    try:
        value = _decode_object(text)
    except (ValueError, RecursionError):
        return None
    return value if text.count(":") == len(value) and text.count("[") <= _MOST_ARRAYS else None
