"""The errors of elspeth, one tree.

    ElspethError
    ├── UsageError              the command or its arguments are wrong                 exit 2
    │   └── KeyFileError        a key cannot be read, or is not kept as a secret must be
    ├── PipelineError           the pipeline file is wrong; holds every Diagnostic      exit 2
    ├── RunError                a run cannot go on; permanent until somebody acts       exit 3
    │   ├── SourceError         the source is missing, unreadable or not the one before
    │   ├── SinkError           an output cannot be written
    │   ├── UnrecordedCallError a plugin reached out behind the engine's back
    │   └── ErrorRateError      more rows failed than the pipeline allows
    ├── CredentialsError        missing or refused                                      exit 4
    ├── CostLimitError          the next batch may cost more than the limit leaves      exit 5
    ├── BusyError               another process holds the run                           exit 6
    ├── BatchPendingError       only remote work is left: resume later                  exit 75
    ├── StoppedError            the process was asked to stop; everything is saved      exit 130, 143
    ├── NotRecordedError        a replay was asked for something that the trail does not have  exit 1
    ├── TrailError              what was read back from the Landscape is not sound      exit 3
    │   ├── MissingTrailError   there is no such database, run, call or payload         exit 2
    │   ├── PurgedError         the bytes were purged; their hashes are still there
    │   └── UnprovenError       what is to be proven is not what was sealed             exit 1
    ├── NoteError               a signed note or checkpoint is malformed or forged      exit 3
    ├── TimestampError          no timestamp came, or one that does not fit             exit 3
    └── ProviderError           a provider's failure, translated at the boundary
        ├── TransientError      safe to try again later
        │   └── RateLimitedError    with the time after which to try
        ├── OutcomeUnknownError the request may or may not have arrived
        ├── QuotaError          the token queue is full: later, not never
        ├── NotFoundError       the provider does not know the object
        ├── RefusedError        the provider refuses the request for good
        └── AuthError           the provider refuses the credentials

Every error holds its fields, says what happened and where, and carries a hint
that says what to do. Retryable, permanent and pending are types, not flags.
An exception that is none of these is a bug of ours and stops the run loudly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elspeth.contracts.clock import iso_time
from elspeth.contracts.enums import PayloadClass

__all__ = [
    "AuthError",
    "BatchPendingError",
    "BusyError",
    "CostLimitError",
    "CredentialsError",
    "Diagnostic",
    "ElspethError",
    "ErrorRateError",
    "KeyFileError",
    "MissingTrailError",
    "NotFoundError",
    "NotRecordedError",
    "NoteError",
    "OutcomeUnknownError",
    "PipelineError",
    "ProviderError",
    "PurgeMark",
    "PurgedError",
    "QuotaError",
    "RateLimitedError",
    "RefusedError",
    "RunError",
    "SinkError",
    "SourceError",
    "StoppedError",
    "TimestampError",
    "TrailError",
    "TransientError",
    "UnprovenError",
    "UnrecordedCallError",
    "UsageError",
]


class ElspethError(Exception):
    """Root of all errors that elspeth raises on purpose.

    ``exit_code`` is what the command line ends with when this error ends it.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ElspethError):
    """The command line or a call of the Python API makes no sense."""

    exit_code = 2


class KeyFileError(UsageError):
    """A signing or verifier key is malformed, missing, or kept where others can read it; its secret is never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One thing wrong in a pipeline file.

    ``path`` leads to the value in the document (keys and list positions);
    ``offset`` counts characters within a scalar, for errors inside an
    expression or a template. ``on_key`` points at the key, not its value.
    ``file``, ``line`` and ``column`` (1-based) and ``source_line`` are filled in by the loader.
    """

    path: tuple[str | int, ...]
    code: str
    message: str
    hint: str | None = None
    offset: int = 0
    on_key: bool = False
    file: str = ""
    line: int = 0
    column: int = 0
    source_line: str = ""


class PipelineError(ElspethError):
    """The pipeline file cannot be run; ``diagnostics`` holds all that is wrong."""

    exit_code = 2

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} error{'s' if len(diagnostics) != 1 else ''} in the pipeline file")
        self.diagnostics = tuple(diagnostics)


class RunError(ElspethError):
    """The run cannot go on until somebody acts; what is recorded stays, and it can be resumed."""


class SourceError(RunError):
    """The source is missing, cannot be read, or is not what the run began with."""


class SinkError(RunError):
    """An output cannot be written."""


class UnrecordedCallError(RunError):
    """A plugin opened a connection or a process that the engine did not open for it."""


class ErrorRateError(RunError):
    """More rows failed than ``limits.max_error_rate`` allows, before all was submitted; nothing more is."""


class CostLimitError(ElspethError):
    """The next batch might cost more than is left of the limit; nothing of it was sent, a higher limit goes on."""

    exit_code = 5


class CredentialsError(ElspethError):
    """A secret is missing from the environment, or the provider refused it."""

    exit_code = 4


class BusyError(ElspethError):
    """Another living process holds the run."""

    exit_code = 6

    def __init__(self, message: str, *, host: str, pid: int, since: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.pid = pid
        self.since = since


class BatchPendingError(ElspethError):
    """Only remote work is left and the caller does not want to wait for it.

    ``batches`` are the numbers of the batches still out; ``next_poll_at`` is the
    earliest instant (microseconds since the epoch, UTC) at which a look is due.
    """

    exit_code = 75

    def __init__(self, batches: Sequence[int], next_poll_at: int, *, hint: str | None = None) -> None:
        super().__init__(f"{len(batches)} batches are still with the provider", hint=hint)
        self.batches = tuple(batches)
        self.next_poll_at = next_poll_at


class StoppedError(ElspethError):
    """The process was asked to stop by Ctrl-C or SIGTERM; everything is saved."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("stopped on request; everything is saved")


class NotRecordedError(ElspethError):
    """A replay reaches nothing but the trail, and a plugin made a request that the trail does not answer."""

    exit_code = 1


class TrailError(ElspethError):
    """A record, payload or hash read back from the Landscape is not what it must be."""


class MissingTrailError(TrailError):
    """There is no such database, run, call or payload."""

    exit_code = 2


class UnprovenError(TrailError):
    """What was to be handed on as evidence is not what the trail's seals tell of."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeMark:
    """What stands in the place of purged bytes; ``at`` is microseconds since the epoch. ``str()`` is for people."""

    at: int
    by: str
    why: str
    payload_class: PayloadClass

    def __str__(self) -> str:
        return f"purged on {iso_time(self.at)[:10]} by {self.by}: {self.why}"

    def as_json(self) -> dict[str, str]:
        """The shape of ``"purged"`` in JSON."""
        return {"at": iso_time(self.at), "by": self.by, "why": self.why, "class": self.payload_class.word}


class PurgedError(TrailError):
    """The bytes were purged, as recorded; ``mark`` says when, by whom and why."""

    def __init__(self, what: str, mark: PurgeMark) -> None:
        super().__init__(
            f"{what}: {mark}",
            hint="The bytes are gone for good. Their hashes are kept, and prove a copy that somebody else has.",
        )
        self.mark = mark


class NoteError(ElspethError):
    """A signed note or checkpoint is malformed, or a signature on it does not fit its text."""


class TimestampError(ElspethError):
    """A time-stamping authority gave no timestamp, or there is one that does not fit what it should stamp."""


class ProviderError(ElspethError):
    """A provider's failure. ``code`` is the provider's own word, ``http_status`` is None without an answer."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.http_status = http_status


class TransientError(ProviderError):
    """The request did not take effect and may be sent again later."""


class RateLimitedError(TransientError):
    """Too many requests; ``retry_after_s`` (seconds) is the provider's wish, None when it gave none."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None,
        code: str | None = None,
        http_status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, code=code, http_status=http_status, hint=hint)
        self.retry_after_s = retry_after_s


class OutcomeUnknownError(ProviderError):
    """The request was sent, but no answer that tells what became of it came back."""


class QuotaError(ProviderError):
    """The deployment's queue of tokens is full."""


class NotFoundError(ProviderError):
    """The provider does not know the object."""


class RefusedError(ProviderError):
    """The provider refuses the request, and would again."""


class AuthError(ProviderError):
    """The provider refuses the credentials."""

    exit_code = 4
