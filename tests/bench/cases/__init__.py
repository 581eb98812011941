"""The cases by name, in the order in which they share most: what one has run, later ones read."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.cases import audit, batch, evidence, growth, reading, resume, sealing, trail
from tests.bench.figures import Report
from tests.bench.workshop import Workshop

__all__ = ["CASES"]

CASES: dict[str, Callable[[Workshop], Report]] = {
    "audit": audit.report,
    "batch": batch.report,
    "reading": reading.report,
    "evidence": evidence.report,
    "trail": trail.report,
    "growth": growth.report,
    "resume": resume.report,
    "sealing": sealing.report,
}
