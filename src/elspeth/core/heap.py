"""What the garbage collector has to look at while rows go by.

A run makes records by the million, and few of them live long. Every so often the collector
goes through all that has lived long: the modules, the pipeline, the compiled templates. What
is there when the work begins is therefore set aside until it ends.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["frozen_heap"]


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Within the block the collector passes over what was there before; somebody else's freeze is left alone."""
    if gc.get_freeze_count() > 0:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
