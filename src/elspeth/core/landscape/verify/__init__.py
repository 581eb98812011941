"""Verification: is the trail what it was when it was written?"""

from elspeth.core.landscape.verify.bundle import verify_bundle
from elspeth.core.landscape.verify.findings import Finding, Report, Step, Strength
from elspeth.core.landscape.verify.run import verify_run
from elspeth.core.landscape.verify.sealing import Brought
from elspeth.core.landscape.verify.strays import stray_records

__all__ = ["Brought", "Finding", "Report", "Step", "Strength", "stray_records", "verify_bundle", "verify_run"]
