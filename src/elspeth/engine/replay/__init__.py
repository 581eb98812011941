"""A recorded run gone through again, from the trail alone, and held against its records."""

from elspeth.engine.replay.context import WITHHELD
from elspeth.engine.replay.findings import Difference, Findings, Rows, Sort
from elspeth.engine.replay.folder import ReplayFolder
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.replayer import Recorded, ReplayedFile, Replayer

__all__ = [
    "WITHHELD",
    "Difference",
    "Findings",
    "Pairing",
    "Recorded",
    "ReplayFolder",
    "ReplayedFile",
    "Replayer",
    "Rows",
    "Sort",
]
