"""Time comes from one place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "iso_time"]


class Clock(Protocol):
    """The only source of time. Implementations need not be thread-safe beyond reading."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Waits that many seconds, or less when the process is asked to stop."""
        ...


def iso_time(at: int) -> str:
    """A time as people read it and the views show it; ``at`` in microseconds since the epoch, UTC."""
    time = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
