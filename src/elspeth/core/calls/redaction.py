"""Replacing registered secrets in whatever is kept.

A provider echoes the key it refuses, a proxy puts it into an error page: bodies, headers,
URLs and messages all pass here before they are stored. A secret of fewer than eight
characters is not looked for: replacing it would destroy ordinary text.

Forms are looked for from left to right, the longest first, so a body gives the same
bytes however it is cut into pieces.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["MARK", "Redactor", "StreamRedactor"]

MARK = b"[REDACTED]"
_LEAST_SECRET = 8


class Redactor:
    """Knows the secrets of a run, in the forms in which they may turn up."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[bytes] = set()
        self._learn(secrets)

    def add(self, secret: str) -> None:
        """Knows one more secret from now on: a token that is fetched while the run goes on."""
        self._learn([secret])

    def is_in(self, data: bytes) -> bool:
        """Whether a secret stands in ``data``."""
        return any(map(data.__contains__, self._forms))

    def places(self, items: Sequence[bytes]) -> Collection[int]:
        """The places of those items in which a secret stands; looks at all of them at once first."""
        if not self._forms or not self.is_in(b"\n".join(items)):
            return ()
        return {place for place, data in enumerate(items) if self.is_in(data)}

    def redact(self, data: bytes) -> bytes:
        """``data`` with every secret replaced by `MARK`."""
        return self._pattern.sub(MARK, data) if self.is_in(data) else data

    def redact_text(self, text: str) -> str:
        """The same for text."""
        return self.redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def redact_value(self, value: Any) -> Any:
        """The same for every text within a JSON value, keys included."""
        match value:
            case str():
                return self.redact_text(value)
            case dict():
                return {self.redact_text(str(key)): self.redact_value(item) for key, item in value.items()}
            case list() | tuple():
                return [self.redact_value(item) for item in value]
        return value

    def stream(self) -> StreamRedactor:
        """A redactor for one body that comes in pieces."""
        return StreamRedactor(self)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """``data`` redacted as far as it can be judged, and the rest: what may be the beginning of a secret."""
        parts, at = [], 0
        held = self._undecided(data, at)
        for found in self._pattern.finditer(data) if self.is_in(data) else ():
            if found.start() >= held:  # it may yet turn out to be a longer one
                break
            parts += [data[at : found.start()], MARK]
            at = found.end()
            held = self._undecided(data, at)
        parts.append(data[at:held])
        return b"".join(parts), data[held:]

    def _learn(self, secrets: Iterable[str]) -> None:
        self._known |= {
            form.encode() for secret in secrets if len(secret) >= _LEAST_SECRET for form in _forms_of(secret)
        }
        self._forms = tuple(sorted(self._known, key=lambda form: (-len(form), form)))
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))
        self._openings = re.compile(b"|".join({re.escape(form[:1]) for form in self._forms}))
        self.longest = max((len(form) for form in self._forms), default=0)

    def _undecided(self, data: bytes, start: int) -> int:
        """Where, from ``start`` on, the first thing begins that is a secret if the right bytes follow."""
        for found in self._openings.finditer(data, max(start, len(data) - self.longest + 1)):
            tail = data[found.start() :]
            if any(len(form) > len(tail) and form.startswith(tail) for form in self._forms):
                return found.start()
        return len(data)


class StreamRedactor:
    """Redacts a body piece by piece; a secret split over two pieces is found."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self.has_replaced = False

    def feed(self, data: bytes) -> bytes:
        """What can be kept so far."""
        if self._redactor.longest == 0:
            return data
        data = self._held + data
        cleaned, self._held = self._redactor.split(data)
        self.has_replaced = self.has_replaced or not data.startswith(cleaned)
        return cleaned

    def finish(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        cleaned = self._redactor.redact(held)
        self.has_replaced = self.has_replaced or cleaned != held
        return cleaned


def _forms_of(secret: str) -> set[str]:
    """The secret as it is, in a URL, in HTML and in CSV, and each of these in JSON and in JSON within JSON.

    For a secret of letters and digits they are all the same.
    """
    plain = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)}
    plain.add(secret.replace('"', '""'))
    once = plain | {form for text in plain for form in _in_json(text)}
    return once | {form for text in once for form in _in_json(text)}


def _in_json(text: str) -> tuple[str, str, str]:
    escaped = json.dumps(text)[1:-1]
    return escaped, escaped.replace("/", "\\/"), json.dumps(text, ensure_ascii=False)[1:-1]
