"""What the collector passes over, and for how long."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from elspeth.core.heap import frozen_heap


class Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nobody_else_froze() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_is_set_aside_and_comes_back() -> None:
    older = weakref.ref(Node())
    with frozen_heap():
        younger = weakref.ref(Node())
        gc.collect()
        assert (older() is None, younger() is None) == (False, True)
    gc.collect()

    assert older() is None


def test_it_comes_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError), frozen_heap():
        raise RuntimeError
    assert gc.get_freeze_count() == 0


def test_somebody_elses_freeze_stays() -> None:
    node = Node()
    older = weakref.ref(node)
    gc.freeze()
    del node
    with frozen_heap():
        pass
    gc.collect()

    assert older() is not None


def test_the_thresholds_come_back() -> None:
    before = gc.get_threshold()
    with frozen_heap():
        assert gc.get_threshold() > before
    assert gc.get_threshold() == before
