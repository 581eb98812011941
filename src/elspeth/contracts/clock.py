"""Time comes from one place."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """The only source of time. Implementations need not be thread-safe beyond reading."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Waits that many seconds, or less when the process is asked to stop."""
        ...
