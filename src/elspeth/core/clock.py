"""The clock of the machine."""

from __future__ import annotations

import threading
import time

__all__ = ["SystemClock"]


class SystemClock:
    """UTC from the machine; a wait ends early when ``stop`` is set."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000

    def sleep_s(self, seconds: float) -> None:
        """Waits that many seconds, or until the process is asked to stop."""
        self._stop.wait(max(seconds, 0.0))
