"""The Landscape: the one audit trail."""

from elspeth.core.landscape.buffers import LineColumns, Slot
from elspeth.core.landscape.database import create_database
from elspeth.core.landscape.journal import Journal
from elspeth.core.landscape.reader import LandscapeReader, Payloads, RowSource, RunHeader, Sample
from elspeth.core.landscape.recorder import BatchRecorder, CallRecorder, LandscapeRecorder
from elspeth.core.landscape.runs import NewRun, create_run, open_journal
from elspeth.core.landscape.seals import SealFolder, Signing

__all__ = [
    "BatchRecorder",
    "CallRecorder",
    "Journal",
    "LandscapeReader",
    "LandscapeRecorder",
    "LineColumns",
    "NewRun",
    "Payloads",
    "RowSource",
    "RunHeader",
    "Sample",
    "SealFolder",
    "Signing",
    "Slot",
    "create_database",
    "create_run",
    "open_journal",
]
