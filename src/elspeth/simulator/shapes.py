"""Wire objects: how a file, a job and a list look to a client, the quirks included."""

from collections.abc import Sequence
from datetime import UTC, datetime

from elspeth.simulator.job_clock import Counts, phase_times
from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.records import TERMINAL_PHASES, Job, Phase, StoredFile
from elspeth.simulator.routes import Profile
from elspeth.simulator.settings import Quirk, Settings

COMPLETION_WINDOW_S = 86_400
# With `late_file_ids`: the polls that see a terminal job without its files.
LATE_POLLS = 2


def file_object(file: StoredFile, *, profile: Profile, settings: Settings, now: float) -> JsonObject:
    pending = profile.is_azure and not file.is_processed(now)
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": _time(file.created_at, settings),
        "expires_at": _time(file.expires_at, settings),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": _status("pending" if pending else "processed", settings),
        "status_details": None,
    }


def batch_object(job: Job, phase: Phase, counts: Counts, *, settings: Settings, now: float) -> JsonObject:
    ended = phase in TERMINAL_PHASES
    late = settings.has(Quirk.LATE_FILE_IDS) and job.terminal_polls < LATE_POLLS
    files_shown = ended and not late
    times = {name: _time(moment, settings) for name, moment in phase_times(job, phase, now).items()}
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": None if settings.has(Quirk.NULL_ENDPOINT) else job.endpoint,
        "errors": _errors(job, phase, settings),
        "input_file_id": job.input_file_id,
        "completion_window": job.completion_window,
        "status": _status(phase, settings),
        "output_file_id": _id(job.output_file_id if files_shown else None, settings),
        "error_file_id": _id(job.error_file_id if files_shown else None, settings),
        "created_at": _time(job.created_at, settings),
        "expires_at": _time(job.created_at + COMPLETION_WINDOW_S, settings),
        **times,
        "request_counts": _counts(counts, settings),
        "metadata": None if settings.has(Quirk.LOST_METADATA) else job.metadata,
    }


def list_object(items: Sequence[JsonObject], *, has_more: bool, settings: Settings) -> JsonObject:
    if settings.has(Quirk.VALUE_LISTS):
        return {"value": list(items)}
    listing: JsonObject = {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
    }
    return listing if settings.has(Quirk.NO_HAS_MORE) else {**listing, "has_more": has_more}


def _time(moment: float | None, settings: Settings) -> Json:
    if moment is None or not settings.has(Quirk.ISO_DATES):
        return None if moment is None else int(moment)
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _status(status: str, settings: Settings) -> str:
    return status.capitalize() if settings.has(Quirk.CAPITALISED_STATUS) else str(status)


def _id(file_id: str | None, settings: Settings) -> str | None:
    return "" if file_id is None and settings.has(Quirk.EMPTY_STRING_IDS) else file_id


def _counts(counts: Counts, settings: Settings) -> JsonObject:
    if settings.has(Quirk.NULL_COUNTS):
        return {"total": None, "completed": None, "failed": None}
    if settings.has(Quirk.WRONG_COUNTS):
        return {"total": counts.total + 1, "completed": 0, "failed": counts.total}
    return {"total": counts.total, "completed": counts.completed, "failed": counts.failed}


def _errors(job: Job, phase: Phase, settings: Settings) -> Json:
    if phase is not Phase.FAILED:
        return None
    errors = job.errors or [
        {"code": "internal", "message": "The batch failed on its way.", "param": None, "line": None}
    ]
    if settings.has(Quirk.LINE_AS_STRING):
        errors = [{**error, "line": _line_text(error["line"])} for error in errors]
    return {"object": "list", "data": errors}


def _line_text(line: int | None) -> str | None:
    return None if line is None else str(line)
