"""What a simulator can be told: one frozen record, checked when it is made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from elspeth.simulator.json_values import JsonObject


class Quirk(StrEnum):
    """A way in which some server's answers differ from the plain shape."""

    ISO_DATES = "iso_dates"
    CAPITALISED_STATUS = "capitalised_status"
    EMPTY_STRING_IDS = "empty_string_ids"
    NULL_COUNTS = "null_counts"
    NULL_ENDPOINT = "null_endpoint"
    VALUE_LISTS = "value_lists"
    NO_HAS_MORE = "no_has_more"
    IGNORED_AFTER = "ignored_after"
    SHUFFLED_OUTPUT = "shuffled_output"
    ZERO_BYTE_ERROR_FILE = "zero_byte_error_file"
    LATE_FILE_IDS = "late_file_ids"
    BODY_AS_STRING = "body_as_string"
    NO_LINE_ID = "no_line_id"
    LOST_METADATA = "lost_metadata"
    WRONG_COUNTS = "wrong_counts"
    LINE_AS_STRING = "line_as_string"
    ERRORS_IN_OUTPUT = "errors_in_output"


AZURE_QUIRKS = frozenset(
    {
        Quirk.ISO_DATES,
        Quirk.CAPITALISED_STATUS,
        Quirk.EMPTY_STRING_IDS,
        Quirk.NULL_COUNTS,
        Quirk.NULL_ENDPOINT,
        Quirk.VALUE_LISTS,
        Quirk.SHUFFLED_OUTPUT,
        Quirk.ZERO_BYTE_ERROR_FILE,
        Quirk.LATE_FILE_IDS,
        Quirk.NO_LINE_ID,
        Quirk.LOST_METADATA,
        Quirk.LINE_AS_STRING,
    }
)


class RowFault(StrEnum):
    """A way in which one row of a job fails."""

    RATE_LIMITED = "429"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    REQUEST_TIMEOUT = "408"
    BAD_REQUEST = "400"
    CONTENT_FILTER = "content_filter"
    COMPLETION_FILTERED = "completion_filtered"
    LENGTH = "length"
    REFUSAL = "refusal"
    NOT_JSON = "not_json"
    WRONG_SCHEMA = "wrong_schema"
    NO_CHOICES = "no_choices"
    EMPTY = "empty"
    UNDONE = "timeout"
    UNKNOWN_CODE = "unknown_code"
    NULL_BOTH = "null_both"


UNDONE_ROWS = ("error_file", "missing")
QUOTA_STYLES = ("http", "job")
DEFAULT_MAX_FILE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Raises ValueError, with a message for people, for a value that can't be meant.

    `latency_s` is spread over a job's phases; 0 completes it at the first
    retrieve. `file_latency_s` is how long a file stays `pending` on the
    Azure paths; by default a fifth of the latency. `faulty_jobs` confines
    `fail_rate` and `expire_after` to the first so many jobs, so that what
    is sent again succeeds. `max_requests` None means the provider's own:
    100,000 on Azure, 50,000 on OpenAI.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: str = "0"
    state_dir: Path | None = None
    latency_s: float = 1.0
    file_latency_s: float | None = None
    api_key: str | None = field(default=None, repr=False)
    quirks: Collection[str] = frozenset()
    deployments: Collection[str] = frozenset()
    model_name: str | None = None
    fail_rate: float = 0.0
    fail_kinds: Sequence[str] = ("429",)
    row_faults: Mapping[str, str] = field(default_factory=dict)
    expire_after: float | None = None
    undone_rows: str = "error_file"
    faulty_jobs: int | None = None
    enqueued_token_limit: int | None = None
    quota_style: str = "http"
    max_requests: int | None = None
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES
    faults: Sequence[JsonObject] = ()
    upstream_url: str | None = None
    upstream_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require_known("quirk", self.quirks, list(Quirk))
        _require_known("row fault", self.fail_kinds, list(RowFault))
        _require_known("row fault", self.row_faults.values(), list(RowFault))
        _require_known("kind of undone rows", [self.undone_rows], UNDONE_ROWS)
        _require_known("quota style", [self.quota_style], QUOTA_STYLES)
        _require_share("fail rate", self.fail_rate)
        if self.expire_after is not None:
            _require_share("expire-after fraction", self.expire_after)
        if self.latency_s < 0 or (self.file_latency_s or 0) < 0:
            raise ValueError("a latency cannot be negative")
        if not self.fail_kinds:
            raise ValueError("name at least one kind of row fault")

    @property
    def pending_file_s(self) -> float:
        return self.latency_s / 5 if self.file_latency_s is None else self.file_latency_s

    def has(self, quirk: Quirk) -> bool:
        return quirk in self.quirks


def parse_duration_s(text: str) -> float:
    """`500ms`, `2s`, `1.5m`, `1h`, or a bare number of seconds."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        number = text.removesuffix(suffix)
        if text.endswith(suffix) and number.replace(".", "", 1).isdecimal():
            return float(number) * factor
    raise ValueError(f"not a duration: {text!r}; write for example 500ms, 2s or 1m")


def _require_known(what: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(map(str, given)) - set(map(str, known)))
    if unknown:
        raise ValueError(f"unknown {what} {unknown[0]!r}; known are {', '.join(sorted(map(str, known)))}")


def _require_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"the {what} must lie between 0 and 1, not {value}")
