"""How often the interpreter looks for cycles while a run goes on.

By default it looks after every 700 new containers, that is several times in each
micro-batch, whose rows, tokens and results are alive and hold no cycle: a tenth of a run's
time for nothing. What is thrown away goes by its reference count all the same.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["looking_rarely"]

_THRESHOLDS: Final = (20_000, 20, 50)


@contextmanager
def looking_rarely() -> Iterator[None]:
    """Within the block; afterwards as before, for whoever called us."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
