"""Progress on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from elspeth.cli.output import note
from elspeth.contracts import UsageError

if TYPE_CHECKING:
    from elspeth.engine.orchestrator import Progress

__all__ = ["Printer", "progress_printer"]

_PLAIN_EVERY_S = 10.0
_LONG_WAIT_S = 10.0


class Printer(Protocol):
    """Shows progress."""

    def update(self, progress: Progress) -> None:
        """Takes the newest state."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it was."""
        ...


def progress_printer(how: str) -> Printer:
    """The printer for ``auto``, ``rich``, ``plain`` or ``none``."""
    match how:
        case "none":
            return SilentPrinter()
        case "plain":
            return PlainPrinter()
        case "rich":
            return RichPrinter()
        case "auto":
            return RichPrinter() if sys.stderr.isatty() else PlainPrinter()
        case _:
            raise UsageError(f"there is no progress {how!r}", hint="auto, rich, plain or none")


def words(progress: Progress) -> str:
    """The state in one line."""
    parts = [f"{progress.rows_read:,} rows read" + ("" if progress.is_source_done else " so far")]
    parts.append(f"{progress.rows_out:,} out")
    if progress.batches:
        parts.append("batches: " + ", ".join(f"{count} {phase}" for phase, count in sorted(progress.batches.items())))
    if progress.waiting_s >= _LONG_WAIT_S:
        parts.append(f"next look in {progress.waiting_s:.0f}s")
    return " · ".join(parts)


class SilentPrinter:
    """Shows nothing."""

    def update(self, progress: Progress) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainPrinter:
    """A line now and then, and whenever the batches' phases change."""

    def __init__(self) -> None:
        self._shown_at = 0.0
        self._shown = ""

    def update(self, progress: Progress) -> None:
        """Prints a line when there is something to say."""
        text = words(progress)
        now = time.monotonic()
        if text != self._shown and now - self._shown_at >= _PLAIN_EVERY_S:
            note(text)
            self._shown, self._shown_at = text, now

    def close(self) -> None:
        """Nothing."""


class RichPrinter:
    """One line that changes in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._status = Status("starting", console=Console(stderr=True))
        self._status.start()

    def update(self, progress: Progress) -> None:
        """Shows the state."""
        self._status.update(words(progress))

    def close(self) -> None:
        """Removes the line."""
        self._status.stop()
