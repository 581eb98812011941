"""The names of calls in the trail, from method and path, as the providers' SDKs name them."""

from __future__ import annotations

import re

__all__ = ["is_repeatable", "operation_of"]

_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(pattern), operation)
    for method, pattern, operation in (
        ("POST", r"/files$", "files.create"),
        ("GET", r"/files$", "files.list"),
        ("GET", r"/files/[^/]+$", "files.retrieve"),
        ("DELETE", r"/files/[^/]+$", "files.delete"),
        ("GET", r"/files/[^/]+/content$", "files.content"),
        ("POST", r"/batches$", "batches.create"),
        ("GET", r"/batches$", "batches.list"),
        ("GET", r"/batches/[^/]+$", "batches.retrieve"),
        ("POST", r"/batches/[^/]+/cancel$", "batches.cancel"),
        ("POST", r"/chat/completions$", "chat.completions"),
    )
)


def operation_of(method: str, path: str) -> str:
    """The operation's name; ``METHOD path`` for a system that is not known."""
    path = path.rstrip("/")
    for known_method, pattern, operation in _RULES:
        if method == known_method and pattern.search(path):
            return operation
    return f"{method} {path or '/'}"


def is_repeatable(method: str) -> bool:
    """Whether sending the request twice does what sending it once does (RFC 9110, section 9.2.2)."""
    return method in {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
