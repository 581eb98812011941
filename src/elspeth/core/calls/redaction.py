"""Replacing registered secrets in whatever is kept.

A provider echoes the key it refuses, a proxy puts it into an error page: bodies, headers,
URLs and messages all pass here before they are stored. A secret of fewer than eight
characters is not looked for: replacing it would destroy ordinary text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

__all__ = ["MARK", "Redactor", "StreamRedactor"]

MARK = b"[REDACTED]"
_LEAST_SECRET = 8


class Redactor:
    """Knows the secrets of a run, in the forms in which they may turn up."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) >= _LEAST_SECRET:
                forms.add(secret.encode())
                forms.add(quote(secret, safe="").encode())
                forms.add(json.dumps(secret)[1:-1].encode())
                forms.add(json.dumps(secret, ensure_ascii=False)[1:-1].encode())
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self.longest = max((len(form) for form in self._forms), default=0)

    def is_in(self, data: bytes) -> bool:
        """Whether a secret stands in ``data``."""
        return any(form in data for form in self._forms)

    def redact(self, data: bytes) -> bytes:
        """``data`` with every secret replaced by `MARK`."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, MARK)
        return data

    def redact_text(self, text: str) -> str:
        """The same for text."""
        return self.redact(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def stream(self) -> StreamRedactor:
        """A redactor for one body that comes in pieces."""
        return StreamRedactor(self)

    def cut_before_partial(self, data: bytes) -> int:
        """How much of ``data`` can be let go: the rest may be the beginning of a secret."""
        held = min(self.longest - 1, len(data))
        for start in range(len(data) - held, len(data)):
            tail = data[start:]
            if any(form.startswith(tail) for form in self._forms):
                return start
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
        cleaned = self._redactor.redact(data)
        if cleaned != data:
            self.has_replaced = True
        cut = self._redactor.cut_before_partial(cleaned)
        self._held = cleaned[cut:]
        return cleaned[:cut]

    def finish(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        return held
