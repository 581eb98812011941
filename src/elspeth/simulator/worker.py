"""The thread that works jobs out: checks their input, writes their result files.

It takes one job at a time, in the order of creation, and starts with what an
earlier process left open. Answers are deterministic, so a job that was cut
off is simply done again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable

from elspeth.simulator import job_clock
from elspeth.simulator.answers import Answers, SimulatedAnswers, UpstreamAnswers
from elspeth.simulator.json_values import JsonObject
from elspeth.simulator.records import FileKind, Job, Stage
from elspeth.simulator.results import Results, make_results
from elspeth.simulator.routes import Profile
from elspeth.simulator.settings import Settings
from elspeth.simulator.store import Store, body_facts
from elspeth.simulator.validation import Rules, batch_error, validate

MAX_REQUESTS = {Profile.OPENAI: 50_000, Profile.AZURE_V1: 100_000, Profile.AZURE_DATED: 100_000}

logger = logging.getLogger("elspeth.simulator")


class Worker:
    """`submit` and `progress_of` are safe from any thread."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._answers: Answers = SimulatedAnswers(settings)
        if settings.upstream_url:
            self._answers = UpstreamAnswers(settings.upstream_url, settings.upstream_key, store)
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._progress: dict[str, tuple[int, int]] = {}
        self._revisions: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulator-worker", daemon=True)

    def start(self) -> None:
        for job in self._store.jobs():
            if job.stage == Stage.OPEN:
                self.submit(job)
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """Waits no longer than that: what the thread still does then has no effect."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout_s)
        self._answers.close()

    def submit(self, job: Job) -> None:
        """Also for a job that a cancel has changed: work on its older revision ends at the next window."""
        self._revisions[job.id] = job.revision
        self._queue.put(job.id)

    def progress_of(self, job: Job) -> tuple[int, int]:
        """The (completed, failed) rows so far."""
        return self._progress.get(job.id, (job.completed, job.failed))

    def _run(self) -> None:
        while (job_id := self._queue.get()) is not None and not self._stopping.is_set():
            job = self._store.job(job_id)
            if job is None or job.stage != Stage.OPEN:
                continue
            try:
                self._work(job)
            except Exception as error:  # one broken job must not stop the others
                if self._stopping.is_set():
                    return
                logger.exception("job %s", job_id)
                errors = [batch_error("internal_error", f"{type(error).__name__}: {error}")]
                self._refuse(job, errors)

    def _work(self, job: Job) -> None:
        errors = [] if job.validated_at is not None else self._errors(job)
        if errors:
            self._refuse(job, errors)
        elif (valid := self._store.job(job.id)) is not None and valid.revision == job.revision:
            self._make(valid)

    def _errors(self, job: Job) -> list[JsonObject]:
        """What is wrong with the job's input; if nothing, the job is validated from now on."""
        path = self._store.body_path(job.input_file_id)
        if job.refused is not None:
            return [job.refused]
        if not path.exists():
            return [batch_error("input_modified", "The input file is gone.")]
        rules = Rules(
            endpoint=job.endpoint,
            max_requests=self._settings.max_requests or MAX_REQUESTS[Profile(job.profile)],
            deployments=frozenset(self._settings.deployments),
        )
        with path.open("rb") as lines:
            verdict = validate(lines, rules)
        if not verdict.errors:
            self._store.change_job(job.id, revision=job.revision, total=verdict.requests, validated_at=time.time())
        return verdict.errors

    def _refuse(self, job: Job, errors: list[JsonObject]) -> None:
        self._store.change_job(job.id, revision=job.revision, stage=Stage.INVALID, errors=errors, made_at=time.time())

    def _make(self, job: Job) -> None:
        results = make_results(
            job,
            self._store.body_path(job.input_file_id),
            self._store.tmp,
            settings=self._settings,
            answers=self._answers,
            progress=self._recorder(job),
        )
        if results is not None:
            self._finish(job, results)
        self._progress.pop(job.id, None)

    def _recorder(self, job: Job) -> Callable[[int, int], bool]:
        def record(completed: int, failed: int) -> bool:
            self._progress[job.id] = (completed, failed)
            overtaken = self._revisions.get(job.id, job.revision) != job.revision
            return not overtaken and not self._stopping.is_set()

        return record

    def _finish(self, job: Job, results: Results) -> None:
        made_at = time.time()
        names = {FileKind.OUTPUT: "output_file_id", FileKind.ERROR: "error_file_id"}
        visible_from = max(made_at, job_clock.ended_at(job))
        files = {
            names[kind]: (
                path,
                {
                    **body_facts(path),
                    "kind": kind,
                    "purpose": "batch_output",
                    "filename": f"{job.id}_{kind}.jsonl",
                    "created_at": visible_from,
                    "visible_from": visible_from,
                },
            )
            for kind, path in results.files.items()
        }
        self._store.finish_job(job, files, completed=results.completed, failed=results.failed, made_at=made_at)
        logger.info("job %s: %d rows completed, %d failed", job.id, results.completed, results.failed)
