"""The seam to the outside: recording transport, audit hook, redaction."""

from elspeth.core.calls.authority import MOST_ANSWER_BYTES, ask_authority
from elspeth.core.calls.client import EnvironmentTransport, recording_client
from elspeth.core.calls.guard import NetworkGuard, allowed
from elspeth.core.calls.redaction import MARK, Redactor, StreamRedactor
from elspeth.core.calls.replaying import CallSource, RecordedCall, match_key, replaying_client
from elspeth.core.calls.transport import RecordingTransport

__all__ = [
    "MARK",
    "MOST_ANSWER_BYTES",
    "CallSource",
    "EnvironmentTransport",
    "NetworkGuard",
    "RecordedCall",
    "RecordingTransport",
    "Redactor",
    "StreamRedactor",
    "allowed",
    "ask_authority",
    "match_key",
    "recording_client",
    "replaying_client",
]
