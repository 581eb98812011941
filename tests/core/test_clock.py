"""The machine's clock."""

from __future__ import annotations

import threading
import time

from elspeth.core.clock import SystemClock


def test_it_tells_microseconds_since_the_epoch() -> None:
    before = time.time_ns() // 1000
    now = SystemClock().now_us()

    assert before <= now <= time.time_ns() // 1000


def test_a_wait_lasts_as_long_as_asked() -> None:
    began = time.monotonic()
    SystemClock().sleep_s(0.05)

    assert time.monotonic() - began >= 0.045


def test_a_wait_ends_at_once_when_the_process_is_asked_to_stop() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    SystemClock(stop).sleep_s(30)

    assert time.monotonic() - began < 10


def test_a_negative_wait_is_none() -> None:
    SystemClock().sleep_s(-5)
