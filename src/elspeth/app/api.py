"""The Python API: ``elspeth.run``, ``elspeth.resume``, ``elspeth.open``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from elspeth.app import reports
from elspeth.app.explanation import Explanation, explain_row, explained_by
from elspeth.app.runs import Conditions, RunResult, resume_run, start_run
from elspeth.app.state import State, database_path
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.lineage import Lineage

__all__ = ["Run", "Trail", "open", "resume", "run"]


class Run:
    """A run as this process left it. Raises nothing by itself: ``status`` and ``exit_code`` tell how it went."""

    def __init__(self, result: RunResult) -> None:
        self._result = result
        self.id = result.run_id
        self.status = result.status.word
        self.exit_code = result.exit_code
        self.error = result.error

    @property
    def counts(self) -> dict[str, int]:
        """Rows by sink or by the way they failed."""
        with LandscapeReader(self._result.database) as reader:
            status = reports.run_status(reader, reader.run(self.id))
        counts: dict[str, int] = {}
        for entry in status["rows"]["outcomes"]:
            name = entry["sink"] if entry["outcome"] in {"completed", "routed"} else entry["outcome"]
            counts[name] = counts.get(name, 0) + entry["rows"]
        return counts

    @property
    def cost(self) -> float | None:
        """US dollars spent so far; None when nobody knows: no price, or no token counts."""
        with LandscapeReader(self._result.database) as reader:
            spent: float | None = reports.run_status(reader, reader.run(self.id))["money"]["spent_usd"]
        return spent

    @property
    def saved(self) -> float | None:
        """US dollars that answers would have cost which were there already; None when nobody knows the price."""
        with LandscapeReader(self._result.database) as reader:
            saved: float | None = reports.run_status(reader, reader.run(self.id))["money"]["saved_usd"]
        return saved

    def explain(self, *, row: int | None = None, key: str | None = None) -> Explanation:
        """One row from source to sink."""
        with LandscapeReader(self._result.database) as reader:
            return explain_row(reader, reader.run(self.id), row=row, key=key)


class Trail:
    """A Landscape opened for reading."""

    def __init__(self, database: Path) -> None:
        self._reader = LandscapeReader(database)
        self._explaining = LandscapeReader(database)
        """Of its own, since an iterator over rows keeps its connection at the moment when it began."""
        self._known: tuple[str, int, Lineage] | None = None
        self._one_explains = threading.Lock()

    def __enter__(self) -> Trail:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        self._explaining.close()
        self._reader.close()

    def runs(self) -> Iterator[dict[str, Any]]:
        """All runs, the newest first."""
        return reports.runs(self._reader)

    def rows(self, run: Run | str) -> Iterator[dict[str, Any]]:
        """The rows of a run with their outcomes."""
        return self._view("v_rows", run)

    def batches(self, run: Run | str) -> Iterator[dict[str, Any]]:
        """The batches of a run."""
        return self._view("v_batches", run)

    def calls(self, run: Run | str, *, status: str | None = None) -> Iterator[dict[str, Any]]:
        """The external calls of a run; ``status`` is success or error."""
        return reports.calls(self._reader, self._reader.run(_id_of(run)), status=status)

    def explain(self, run: Run | str, *, row: int | None = None, key: str | None = None) -> Explanation:
        """One row from source to sink, as the trail was at one moment, whatever a live run adds meanwhile."""
        with self._one_explains, self._explaining.snapshot():
            return explained_by(self._lineage(_id_of(run)), row=row, key=key)

    def payload(self, sha256: str) -> bytes:
        """The recorded bytes with that SHA-256 (64 hexadecimal digits)."""
        return b"".join(reports.payload_chunks(self._reader, sha256))

    def _lineage(self, run_id: str) -> Lineage:
        """What explains rows of a run; that of the last run is kept until somebody writes to the database."""
        ((version,),) = self._explaining.query("PRAGMA data_version")
        if self._known is None or self._known[:2] != (run_id, version):
            self._known = (run_id, version, Lineage(self._explaining, self._explaining.run(run_id)))
        return self._known[2]

    def _view(self, view: str, run: Run | str) -> Iterator[dict[str, Any]]:
        header = self._reader.run(_id_of(run))
        return self._reader.dicts(f"SELECT * FROM {view} WHERE run_id = ?", header.run_id)  # noqa: S608


def run(
    pipeline: str | Path,
    *,
    db: str | None = None,
    limit: int | None = None,
    key: str | None = None,
    reuse: Sequence[str] = (),
    new: bool = False,
    wait_s: float | None = None,
    max_cost_usd: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Run:
    """Runs a pipeline file and waits for remote work, at most ``wait_s`` seconds if given.

    ``reuse`` names runs whose answers are taken: ids, prefixes, ``latest`` or ``all``.
    Raises `PipelineError`, `UsageError` or `CredentialsError` when nothing was begun.
    """
    conditions = _conditions(wait_s, max_cost_usd, environ)
    state = State.find(Path.cwd())
    path = Path(pipeline)
    return Run(
        start_run(path, state=state, conditions=conditions, db=db, limit=limit, key=key, reuse=reuse, allow_second=new)
    )


def resume(
    run: str = "latest",
    *,
    db: str | None = None,
    wait_s: float | None = None,
    max_cost_usd: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Run:
    """Goes on with a run by id, unique prefix or ``latest``."""
    conditions = _conditions(wait_s, max_cost_usd, environ)
    return Run(resume_run(run, state=State.find(Path.cwd()), conditions=conditions, db=db))


def open(database: str | Path) -> Trail:
    """Opens a Landscape for reading; raises `MissingTrailError` when it does not exist."""
    return Trail(database_path(str(database)))


def _conditions(wait_s: float | None, max_cost_usd: float | None, environ: Mapping[str, str] | None) -> Conditions:
    limit = None if max_cost_usd is None else Decimal(str(max_cost_usd))
    return Conditions(wait_s=wait_s, max_cost_usd=limit, environ=os.environ if environ is None else environ)


def _id_of(run: Run | str) -> str:
    return run if isinstance(run, str) else run.id
