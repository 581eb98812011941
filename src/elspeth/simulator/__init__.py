"""A local server that speaks the Batch API of Azure OpenAI and of OpenAI, with scriptable faults.

It knows nothing of the rest of elspeth: what it serves is the wire, so that
a client that agrees with it agrees with more than its own code. Answers are
made up, the same for the same question; nothing here pretends to think.
"""

from elspeth.simulator.cli import add_arguments, main, settings_from_arguments
from elspeth.simulator.server import Simulator
from elspeth.simulator.settings import AZURE_QUIRKS, Quirk, RowFault, Settings

__all__ = [
    "AZURE_QUIRKS",
    "Quirk",
    "RowFault",
    "Settings",
    "Simulator",
    "add_arguments",
    "main",
    "settings_from_arguments",
]
