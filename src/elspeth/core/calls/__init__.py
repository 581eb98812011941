"""The seam to the outside: recording transport, audit hook, redaction.

What needs an HTTP client (`client`, `transport`, `replaying`, `authority`) is imported from its own module, by
whoever opens one: its import takes as long as a run of a few rows that reaches nothing.
"""

from elspeth.core.calls.guard import NetworkGuard, allowed, ask_platform
from elspeth.core.calls.redaction import MARK, Redactor, StreamRedactor

__all__ = ["MARK", "NetworkGuard", "Redactor", "StreamRedactor", "allowed", "ask_platform"]
