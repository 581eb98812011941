"""What plugins hand back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.contracts.rows import Row, RowError

__all__ = ["TransformResult"]


class TransformResult:
    """The outcome of one row at a transform: one row, several rows, or an error.

    Made for every row, so slotted but not frozen (freezing costs five times the
    time of the object). Built through `success`, `success_multi` and `error` only.
    """

    __slots__ = ("failure", "rows")

    rows: Sequence[Row]
    failure: RowError | None

    def __init__(self, rows: Sequence[Row], failure: RowError | None) -> None:
        self.rows = rows
        self.failure = failure

    @classmethod
    def success(cls, row: Row) -> TransformResult:
        """The row goes on as ``row``."""
        return cls((row,), None)

    @classmethod
    def success_multi(cls, rows: Sequence[Row]) -> TransformResult:
        """The row goes on as several rows, in this order."""
        return cls(rows, None)

    @classmethod
    def error(cls, code: str, message: str, *, detail: Mapping[str, Any] | None = None) -> TransformResult:
        """The row ends here, for the reason given; the engine routes it to the step's ``on_error``."""
        return cls((), RowError(code=code, message=message, detail=detail))

    def __repr__(self) -> str:
        return f"TransformResult(rows={self.rows!r}, failure={self.failure!r})"
