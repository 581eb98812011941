"""What is done with a complete run: verify, replay, export. Each checks that the outcome is right."""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

from tests.bench.usage import Usage, expect
from tests.bench.workshop import Workshop

__all__ = ["export", "replay", "verify"]


def verify(workshop: Workshop, rows: int, folder: Path, *, pipeline: str) -> Usage:
    """Must find nothing: its exit code says so."""
    return workshop.elspeth(f"{pipeline}: verify", rows, folder, "verify", "latest")


def replay(workshop: Workshop, rows: int, folder: Path, *, pipeline: str) -> Usage:
    """Must write the same files, to the byte."""
    usage = workshop.elspeth(f"{pipeline}: replay", rows, folder, "replay", "latest", "--out", "replayed")
    paths = (folder / "replayed").rglob("[!.]*")
    written = {path.name: path for path in paths if path.is_file()}
    originals = {name: path for name in written for path in _outputs(folder) if path.name == name}
    expect(bool(written) and written.keys() == originals.keys(), f"the replay wrote {sorted(written)}")
    for name, path in written.items():
        expect(filecmp.cmp(path, originals[name], shallow=False), f"the replay's {name} differs")
    shutil.rmtree(folder / "replayed")
    return usage


def export(workshop: Workshop, rows: int, folder: Path, *, pipeline: str) -> Usage:
    """Must hold every row and an outcome for each, and end as it should."""
    usage = workshop.elspeth(f"{pipeline}: export", rows, folder, "export", "latest", "--to", "export.jsonl")
    path = folder / "export.jsonl"
    found = {"rows": 0, "outcomes": 0}
    with path.open() as lines:
        for number, line in enumerate(lines, start=1):
            for table in found:
                found[table] += line.startswith(f'{{"table":"{table}"')
            last, count = line, number
    expect(found == {"rows": rows, "outcomes": rows}, f"the export has {found}")
    end = json.loads(last)
    expect(end["what"] == "end" and end["records"] == count - 2, f"the export ends with {end} after {count} lines")
    path.unlink()
    return usage


def _outputs(folder: Path) -> list[Path]:
    return [*folder.glob("out/*"), *folder.glob("answers.jsonl")]
