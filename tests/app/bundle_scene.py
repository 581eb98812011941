"""A run that has everything a bundle can show, and what can happen to it later."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

from tests.engine.workbench import Project, ask

from elspeth.app import bundle as bundles
from elspeth.app.bundle import Bundle, make_bundle
from elspeth.app.keys import signing_key
from elspeth.contracts import PayloadClass, PurgeAction, RunStatus
from elspeth.core.clock import SystemClock
from elspeth.core.landscape import LandscapeReader, SealFolder, Signing, open_journal
from elspeth.core.landscape.retention import add_purge
from elspeth.simulator import Settings, Simulator

ROWS = 12
REJECTED = 3
REFUSED = 5
SCRIPT = Path(bundles.__file__).parent / "bundle_files" / "verify.py"


def record_run(folder: Path) -> Project:
    """Twelve rows: one is rejected, one is refused by the provider, the rest are asked about in three batches."""
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(folder)
    project.rows(
        [{"id": n if n != REJECTED else "no number", "text": f"Ticket \N{EURO SIGN} {n}"} for n in range(ROWS)]
    )
    settings = Settings(latency_s=0.0, row_faults={f"row-{REFUSED}-0": "content_filter"})
    with Simulator(settings) as simulator:
        steps = ask(simulator, max_requests=4, max_batches_in_flight=4, poll_interval_seconds=0.1)
        steps += "- {name: even, gate: \"row['id'] % 2 == 0\", routes: {true: next, false: odd}, on_error: failed}\n"
        source = "schema: {id: int, text: str}\nkey: id\non_invalid: rejected"
        project.pipeline(steps, source=source, sinks=("done", "odd", "failed", "rejected"))
        assert project.run().status is RunStatus.COMPLETED
    return project


def bundle_of(project: Project, rows: Sequence[int], *, environ: Mapping[str, str] = os.environ) -> Bundle:
    """A bundle of the last run."""
    with LandscapeReader(project.database) as reader, reader.snapshot():
        return make_bundle(reader, reader.run("latest"), rows, environ=environ)


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files of a bundle, in a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def load_script() -> ModuleType:
    """The script of a bundle as a module."""
    spec = importlib.util.spec_from_file_location("bundle_verify", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def run_script(module: ModuleType, *arguments: str | Path) -> tuple[int, str]:
    """The script's exit code and what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        code: int = module.main([str(argument) for argument in arguments])
    return code, out.getvalue()


def purge(project: Project, payload_class: PayloadClass, *, why: str = "90 days") -> None:
    """Deletes the payloads of a class, and records and seals it, as a purge does."""
    with LandscapeReader(project.database) as reader:
        run = reader.run("latest")
        signing = Signing(key=signing_key(os.environ), folder=SealFolder.beside(project.database))
        journal = open_journal(reader, run, clock=SystemClock(), signing=signing)
        for action in (PurgeAction.PURGING, PurgeAction.PURGED):
            add_purge(journal, action, who="ana@host", why=why, payload_class=payload_class)
            journal.commit_durably()
        journal.seal("purge")
        journal.drain()
        journal.close()
        names = reader.query("SELECT name FROM segments WHERE class = ?", payload_class.value)
    for (name,) in names:
        (run.payload_folder / name).unlink()
