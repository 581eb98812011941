"""The four operations on batch jobs."""

from elspeth.simulator import job_clock
from elspeth.simulator.exchange import Answer, ApiError, Call, created_status, json_answer
from elspeth.simulator.file_operations import FileOperations
from elspeth.simulator.json_values import Json, JsonObject, decode_json
from elspeth.simulator.paging import page
from elspeth.simulator.records import TERMINAL_PHASES, Ending, Job, Phase, Stage, StoredFile
from elspeth.simulator.settings import Settings
from elspeth.simulator.shapes import batch_object
from elspeth.simulator.store import Store
from elspeth.simulator.validation import batch_error
from elspeth.simulator.worker import Worker

LIST_LIMITS = (20, 100)
OPENAI_ENDPOINTS = frozenset({"/v1/chat/completions"})
AZURE_ENDPOINTS = frozenset({"/v1/chat/completions", "/chat/completions"})
BYTES_A_TOKEN = 4
MAX_METADATA = (16, 64, 512)


class BatchOperations:
    def __init__(self, store: Store, settings: Settings, worker: Worker, files: FileOperations) -> None:
        self._store = store
        self._settings = settings
        self._worker = worker
        self._files = files

    def create(self, call: Call) -> Answer:
        wanted = _checked_request(call)
        file = self._input_file(wanted["input_file_id"], call)
        refused = self._quota_error(file, call)
        if refused is not None and self._settings.quota_style == "http":
            raise ApiError(400, refused["code"], refused["message"])
        limit = self._settings.faulty_jobs
        faulty = limit is None or self._store.job_count() < limit
        job = self._store.add_job(
            profile=call.route.profile,
            endpoint=wanted["endpoint"],
            input_file_id=file.id,
            input_bytes=file.size,
            completion_window=wanted["completion_window"],
            metadata=wanted.get("metadata"),
            created_at=call.now,
            latency_s=self._settings.latency_s,
            ending=self._ending(call, faulty=faulty),
            row_faults=call.action.row_faults,
            line_edits=call.action.lines,
            refused=refused,
            faulty=faulty,
        )
        self._worker.submit(job)
        rendered = self._render(job, call, phase=Phase.VALIDATING)
        return json_answer(rendered, status=created_status(call))

    def retrieve(self, call: Call) -> Answer:
        job = self.find(call.route.object_id)
        if call.action.word == "stuck":
            return json_answer(self._render(job, call, phase=Phase(job.shown_phase)))
        phase = job_clock.phase_of(job, call.now)
        answer = json_answer(self._render(job, call, phase=phase))
        polls = job.terminal_polls + (phase in TERMINAL_PHASES)
        if (phase, polls) != (job.shown_phase, job.terminal_polls):
            self._store.change_job(job.id, shown_phase=phase, terminal_polls=polls)
        return answer

    def listing(self, call: Call) -> Answer:
        return page(
            self._store.jobs(),
            call,
            settings=self._settings,
            limits=LIST_LIMITS,
            is_shown=lambda _: True,
            render=lambda job: self._render(job, call),
            foreign=[self._foreign(number, call) for number in (1, 2)],
        )

    def cancel(self, call: Call) -> Answer:
        """What was done by now stays done; the rest of the rows is told cancelled."""
        job = self.find(call.route.object_id)
        phase = job_clock.phase_of(job, call.now)
        if phase is Phase.CANCELLING:
            return json_answer(self._render(job, call))
        if phase in TERMINAL_PHASES:
            raise ApiError(409, "conflict", f"Cannot cancel a batch with status '{phase}'.")
        counts = job_clock.counts_of(job, phase, self._worker.progress_of(job), call.now)
        share = (counts.completed + counts.failed) / counts.total if counts.total else 0.0
        changed = self._store.reopen_job(
            job,
            cancel_at=call.now,
            ending=Ending(phase=Phase.CANCELLED, share=share, undone_rows=self._settings.undone_rows),
        )
        self._worker.submit(changed)
        return json_answer(self._render(changed, call))

    def find(self, job_id: str) -> Job:
        """Raises ApiError."""
        job = self._store.job(job_id)
        if job is None:
            raise ApiError(404, "not_found", f"No batch found with id '{job_id}'.", param="id")
        return job

    def _render(self, job: Job, call: Call, *, phase: Phase | None = None) -> JsonObject:
        phase = phase or job_clock.phase_of(job, call.now)
        counts = job_clock.counts_of(job, phase, self._worker.progress_of(job), call.now)
        return batch_object(job, phase, counts, settings=self._settings, now=call.now)

    def _input_file(self, file_id: str, call: Call) -> StoredFile:
        file = self._files.find(file_id, call)
        if file.purpose != "batch":
            raise ApiError(400, "invalid_value", "The file's purpose is not batch.", param="input_file_id")
        if call.route.profile.is_azure and not file.is_processed(call.now):
            message = f"The file {file.id} is not processed yet; its status is pending."
            raise ApiError(400, "invalid_request", message, param="input_file_id")
        return file

    def _quota_error(self, file: StoredFile, call: Call) -> JsonObject | None:
        limit = self._settings.enqueued_token_limit
        if limit is None:
            return None
        active = [job for job in self._store.jobs() if not job.refused and not job_clock.is_terminal(job, call.now)]
        enqueued = sum(job.input_bytes // BYTES_A_TOKEN for job in active)
        asked = file.size // BYTES_A_TOKEN
        if enqueued + asked <= limit:
            return None
        message = (
            f"Enqueued token limit reached: {enqueued} tokens are enqueued and this batch has {asked}; "
            f"the limit is {limit}. Please try again once some of the batches in progress are completed."
        )
        return batch_error("token_limit_exceeded", message)

    def _ending(self, call: Call, *, faulty: bool) -> Ending:
        if call.action.ending is not None:
            return call.action.ending
        if faulty and self._settings.expire_after is not None:
            undone_rows = self._settings.undone_rows
            return Ending(phase=Phase.EXPIRED, share=self._settings.expire_after, undone_rows=undone_rows)
        return Ending()

    def _foreign(self, number: int, call: Call) -> JsonObject:
        """Somebody else's job in the same resource, done long ago."""
        job = Job(
            id=f"batch_{self._store.make_id('foreign batch', number)}",
            seq=0,
            profile=call.route.profile,
            endpoint="/v1/chat/completions",
            input_file_id=f"file-{self._store.make_id('foreign file', number)}",
            input_bytes=1234,
            completion_window="24h",
            metadata=None,
            created_at=call.now - 60 * number,
            latency_s=0.0,
            stage=Stage.MADE,
            total=3,
            completed=3,
            validated_at=call.now - 60 * number,
            made_at=call.now - 60 * number,
        )
        return self._render(job, call)


def _checked_request(call: Call) -> JsonObject:
    try:
        wanted = decode_json(call.body)
    except ValueError as error:
        raise ApiError(400, "invalid_request", f"The body is not JSON: {error}") from error
    if not isinstance(wanted, dict):
        raise ApiError(400, "invalid_request", "The body is not a JSON object.")
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(wanted.get(name), str) or not wanted[name]:
            message = f"Missing required parameter: '{name}'."
            raise ApiError(400, "missing_required_parameter", message, param=name)
    endpoints = AZURE_ENDPOINTS if call.route.profile.is_azure else OPENAI_ENDPOINTS
    if wanted["endpoint"] not in endpoints:
        message = f"The endpoint must be one of {', '.join(sorted(endpoints))}."
        raise ApiError(400, "invalid_value", message, param="endpoint")
    if wanted["completion_window"] != "24h":
        raise ApiError(400, "invalid_value", "The completion window must be 24h.", param="completion_window")
    if not _is_metadata(wanted.get("metadata")):
        message = "metadata takes 16 pairs of text, 64 and 512 characters long at most."
        raise ApiError(400, "invalid_value", message, param="metadata")
    return wanted


def _is_metadata(value: Json) -> bool:
    if value is None:
        return True
    pairs, key_length, text_length = MAX_METADATA
    return (
        isinstance(value, dict)
        and len(value) <= pairs
        and all(len(key) <= key_length for key in value)
        and all(isinstance(text, str) and len(text) <= text_length for text in value.values())
    )
