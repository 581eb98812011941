"""Files and jobs as the simulator keeps them; `shapes` turns them into wire objects."""

from dataclasses import dataclass, field
from enum import StrEnum

from elspeth.simulator.json_values import JsonObject


class FileKind(StrEnum):
    INPUT = "input"
    OUTPUT = "output"
    ERROR = "error"


class Stage(StrEnum):
    """How far the worker is with a job. What clients see is a `Phase`, which also needs the clock."""

    OPEN = "open"
    INVALID = "invalid"
    MADE = "made"


class Phase(StrEnum):
    """A job's status on the wire."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


TERMINAL_PHASES = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """`visible_from`: a result file made before the clock lets its job complete is hidden till then."""

    id: str
    seq: int
    kind: str
    purpose: str
    filename: str
    size: int
    sha256: str
    created_at: float
    visible_from: float
    pending_s: float = 0.0
    expires_at: float | None = None
    deleted: bool = False

    def is_there(self, now: float) -> bool:
        expired = self.expires_at is not None and self.expires_at <= now
        return not self.deleted and not expired and self.visible_from <= now

    def is_processed(self, now: float) -> bool:
        return now >= self.created_at + self.pending_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job is to end: only the first `share` of its rows is done, and where the rest is told."""

    phase: str = Phase.COMPLETED
    share: float = 1.0
    undone_rows: str = "error_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`revision` grows when a cancel overtakes the worker: what was made for an older one is dropped."""

    id: str
    seq: int
    profile: str
    endpoint: str
    input_file_id: str
    input_bytes: int
    completion_window: str
    metadata: JsonObject | None
    created_at: float
    latency_s: float
    ending: Ending = field(default_factory=Ending)
    row_faults: dict[str, str] = field(default_factory=dict)
    line_edits: JsonObject = field(default_factory=dict)
    refused: JsonObject | None = None
    faulty: bool = True
    stage: str = Stage.OPEN
    revision: int = 0
    errors: list[JsonObject] = field(default_factory=list)
    total: int | None = None
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    validated_at: float | None = None
    made_at: float | None = None
    cancel_at: float | None = None
    terminal_polls: int = 0
    shown_phase: str = Phase.VALIDATING
