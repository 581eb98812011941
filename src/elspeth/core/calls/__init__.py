"""The seam to the outside: recording transport, audit hook, redaction."""

from elspeth.core.calls.client import EnvironmentTransport, recording_client
from elspeth.core.calls.guard import NetworkGuard, allowed
from elspeth.core.calls.redaction import MARK, Redactor, StreamRedactor
from elspeth.core.calls.transport import RecordingTransport

__all__ = [
    "MARK",
    "EnvironmentTransport",
    "NetworkGuard",
    "RecordingTransport",
    "Redactor",
    "StreamRedactor",
    "allowed",
    "recording_client",
]
