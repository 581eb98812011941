"""Records of runs that there are not: no run's own verification comes by them."""

from __future__ import annotations

from collections.abc import Container, Iterator

from elspeth.core.landscape.reader import LandscapeReader
from elspeth.core.landscape.schema import TABLES
from elspeth.core.landscape.verify.findings import Finding

__all__ = ["stray_records"]


def stray_records(reader: LandscapeReader, known: Container[int]) -> Iterator[Finding]:
    """A finding for each table and each number of a run in it that is not ``known``.

    Each number is looked up from the one before it, so that large tables are not read.
    """
    for entry in TABLES:
        numbers = reader.query(
            f"WITH RECURSIVE found (number) AS (SELECT MIN(run_no) FROM {entry.name} UNION ALL SELECT (SELECT "
            f"MIN(run_no) FROM {entry.name} WHERE run_no > number) FROM found WHERE number IS NOT NULL) "
            "SELECT number FROM found WHERE number IS NOT NULL"
        )
        for (number,) in numbers:
            if number not in known:
                yield Finding(entry.name, f"run {number}", "it has records of a run that is not there")
