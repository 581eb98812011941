"""A row's line of a batch's request file.

    {"custom_id": ..., "method": "POST", "url": ..., "body": {"model": ..., "messages": [...], ...}}

Compact UTF-8 JSON in a fixed key order, one line each, newline included, so that
the same row gives the same bytes. All but the id and the prompt is the same in
every line and is encoded once; the lines equal ``json.dumps`` of the plain
object (a property test says so).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from elspeth.contracts import RowError

__all__ = ["RequestBuilder"]

_HEAD = b'{"custom_id":"'
_CUSTOM_ID = re.compile(r"[!#-\[\]-~]{1,64}")  # printable ASCII that needs no escape; both providers take 64
_QUOTES_AND_ID_BYTES = 14
_encode_text = msgspec.json.Encoder().encode


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class RequestBuilder:
    """Builds the lines of one step. ``fixed_bytes`` of a line tell the model nothing.

    ``parameters`` are the fields of the body after ``model`` and ``messages``, in their order.
    Raises ValueError for parameters that JSON cannot hold (NaN, lone surrogates).
    """

    def __init__(self, *, url: str, model: str, system_prompt: str | None, parameters: Mapping[str, Any]) -> None:
        system = b"" if system_prompt is None else _json({"role": "system", "content": system_prompt}) + b","
        self._prefix = (
            b'","method":"POST","url":' + _json(url) + b',"body":{"model":' + _json(model)
            + b',"messages":[' + system + b'{"role":"user","content":'
        )  # fmt: skip
        fields = b"".join(b"," + _json(name) + b":" + _json(value) for name, value in parameters.items())
        self._suffix = b"}]" + fields + b"}}\n"
        schema = parameters.get("response_format")
        told = len(system) + (0 if schema is None else len(_json(schema)))
        self.fixed_bytes = len(_HEAD) + len(self._prefix) + len(self._suffix) - told + _QUOTES_AND_ID_BYTES

    def line(self, custom_id: str, prompt: str) -> bytes | RowError:
        """The line for one prompt; a `RowError` for text that is not Unicode (a lone surrogate)."""
        try:
            text = _encode_text(prompt)
        except UnicodeEncodeError as error:
            return RowError(code="encoding", message=f"the prompt is not valid Unicode: {error.reason}")
        return b"".join((_HEAD, _checked(custom_id), self._prefix, text, self._suffix))


def _checked(custom_id: str) -> bytes:
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise ValueError(f"not a custom_id that every provider takes: {custom_id!r}")
    return custom_id.encode("ascii")
