"""A run's trail as JSON lines: a header, every record, payloads if wanted, and a last line that says it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from elspeth import __version__
from elspeth.app.explanation import SIMULATED
from elspeth.contracts import RunError, UsageError
from elspeth.core.canonical import compact_json
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.export import payload_lines, record_lines
from elspeth.core.landscape.retention import grade_of
from elspeth.core.landscape.schema import SCHEMA_VERSION

__all__ = ["export_file", "export_lines", "whole_file", "write_lines"]


def export_lines(reader: LandscapeReader, run: RunHeader, *, with_payloads: bool) -> Iterator[str]:
    """The lines without their newlines. Within a snapshot of the reader all is of one moment, also of a live run."""
    yield compact_json(_header(reader, run, with_payloads=with_payloads))
    records = payloads = 0
    for line in record_lines(reader, run):
        records += 1
        yield line
    for line in payload_lines(reader, run) if with_payloads else ():
        payloads += 1
        yield line
    yield compact_json({"what": "end", "records": records, "payloads": payloads})


def export_file(reader: LandscapeReader, run: RunHeader, path: Path, *, with_payloads: bool) -> int:
    """Writes the lines to a file that gets its name when it is whole; returns how many there are."""
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        count = write_lines(export_lines(reader, run, with_payloads=with_payloads), file)
        file.flush()
        os.fsync(file.fileno())
    return count


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A draft to write, which gets the name ``path`` at the end of the block and is gone when the block fails.

    Raises `UsageError` when there is no such folder, or `RunError` when it cannot be written.
    """
    draft = path.parent / f".{path.name}.{os.getpid()}.new"
    try:
        _require_place(path)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}", hint="Make room or mend the permissions."
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_lines(lines: Iterator[str], file: IO[str]) -> int:
    """Writes lines and returns how many."""
    count = 0
    for count, line in enumerate(lines, start=1):  # noqa: B007 - the last number is what is returned
        file.write(f"{line}\n")
    return count


def _require_place(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(
            f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}",
            hint="Name a file in a folder that exists, or - for stdout.",
        )


def _header(reader: LandscapeReader, run: RunHeader, *, with_payloads: bool) -> dict[str, Any]:
    is_simulated = reader.is_simulated(run)
    return {
        "schema_version": 1,
        "what": "the trail of a run",
        "run": run.run_id,
        "pipeline": run.pipeline,
        "status": reader.status(run.run_no)[0].word,
        "grade": grade_of(reader, run),
        "simulated": is_simulated,
        **({"note": SIMULATED} if is_simulated else {}),
        "elspeth": __version__,
        "audit_format": SCHEMA_VERSION,
        "has_payloads": with_payloads,
    }
