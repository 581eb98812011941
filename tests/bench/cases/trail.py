"""What a row takes of the disk: records in the database, and compressed payloads beside it."""

from __future__ import annotations

from tests.bench.audited import audited
from tests.bench.batched import batched
from tests.bench.figures import Report, Spread, Table
from tests.bench.trails import database_bytes, payload_bytes
from tests.bench.workshop import Workshop


def report(workshop: Workshop) -> Report:
    """Both pipelines at each size, and the bytes of a row in the source beside them."""
    lines, figures = [], {}
    for pipeline, make in (("audit", audited), ("batch", batched)):
        for rows in workshop.sizes:
            folder = make(workshop, rows)
            bytes_a_row = [
                size / rows
                for size in (workshop.source(rows).stat().st_size, database_bytes(folder), payload_bytes(folder))
            ]
            lines.append([f"{pipeline}, {rows:,} rows", *map("{:.0f}".format, bytes_a_row)])
            figures[f"{pipeline} database bytes {rows}"] = Spread.of([bytes_a_row[1]])
            figures[f"{pipeline} payload bytes {rows}"] = Spread.of([bytes_a_row[2]])
    header = ("bytes a row", "source", "database", "payloads")
    return Report(tables=[Table(title="trail size", header=header, lines=lines)], figures=figures)
