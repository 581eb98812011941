import gc

import pytest

from elspeth.app.collector import looking_rarely


def stopped() -> None:
    with looking_rarely():
        assert gc.get_threshold()[0] > 700
        raise KeyboardInterrupt


def test_the_callers_thresholds_come_back_whatever_happens() -> None:
    before = gc.get_threshold()
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert before == gc.get_threshold()
