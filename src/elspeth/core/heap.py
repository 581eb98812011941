"""What the garbage collector has to look at while rows go by.

A run makes records by the million, and few of them live long. Every so often the collector
goes through all that has lived long: the modules, the pipeline, the compiled templates. What
is there when the work begins is therefore set aside until it ends. And by default it looks
several times in each micro-batch, whose rows, tokens and results are alive and hold no cycle,
a tenth of a run's time for nothing; what is thrown away goes by its reference count all the same.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["RARELY", "frozen_heap"]

RARELY = (50_000, 20, 100)
"""Thresholds of a collector that looks rarely: for a program that imports much and keeps it, and while rows go by."""


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Within the block the collector passes over what was there before, and looks rarely.

    Afterwards it is as it was, for whoever called us; somebody else's freeze is left alone.
    """
    thresholds, is_ours = gc.get_threshold(), gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        if is_ours:
            gc.unfreeze()
