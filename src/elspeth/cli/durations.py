"""Durations on the command line: ``8s``, ``30m``, ``2h``, ``1d``, ``1h30m``."""

from __future__ import annotations

import re

from elspeth.contracts import UsageError

__all__ = ["parse_duration_s"]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_duration_s(text: str) -> float:
    """Seconds; raises `UsageError` for anything that is no duration."""
    if not _WHOLE.fullmatch(text.strip()):
        raise UsageError(f"{text!r} is no duration", hint="Write 8s, 30m, 2h, 1d or 1h30m.")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
