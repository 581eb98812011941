"""The share of a run's CPU that goes into sealing, in the case in which a run does least beside recording."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.bench.audited import write_pipeline
from tests.bench.figures import Report, Spread, Table
from tests.bench.workshop import Workshop

SCRIPT = Path(__file__).parents[1] / "sealing_share.py"


def report(workshop: Workshop) -> Report:
    """Both times come from one process, so their ratio needs no pair."""
    rows = workshop.moderate_rows
    shares, lines = [], []
    for _ in range(workshop.times(rows, usual=5)):
        folder = workshop.folder / "sealing"
        folder.mkdir()
        write_pipeline(workshop, rows, folder)
        command = [sys.executable, str(SCRIPT), "pipeline.yaml", ".elspeth", str(rows)]
        usage = workshop.measure("sealing: a run with meters", rows, command, folder=folder)
        sealing_s, whole_s = json.loads(usage.stdout.read_text())
        shares.append(sealing_s / whole_s)
        lines.append((sealing_s, whole_s))
        shutil.rmtree(folder)
    share = Spread.of(shares)
    columns = (Spread.of(values) for values in zip(*lines, strict=True))
    line = [f"{rows:,} rows", *(column.text("{:.2f}".format) for column in columns), share.text("{:.1%}".format)]
    header = ("", "sealing, CPU s", "run, CPU s", "share")
    table = Table(title="sealing", header=header, lines=[line])
    return Report(tables=[table], figures={f"sealing share {rows}": share})
