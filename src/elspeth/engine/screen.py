"""What keeps registered secrets out of the trail, at the steps.

A row that would hold one fails, and what a failure says is kept without it. Whoever goes
through a recorded run knows no secret; there another screen obeys the record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from elspeth.contracts import RowError
from elspeth.core.calls import Redactor
from elspeth.engine.plan import Step

__all__ = ["RedactingScreen", "Screen"]


class Screen(Protocol):
    """Looks at everything that a step wants to keep."""

    def with_secret(self, step: Step, rows: Sequence[int], data: Sequence[bytes]) -> Collection[int]:
        """The places at which ``data``, bytes of rows after the step or their request lines, holds a secret."""
        ...

    def error(self, step: Step, row: int, failure: RowError) -> dict[str, Any]:
        """What is kept of a failure: code, message and detail."""
        ...


class RedactingScreen:
    """Knows the secrets of a run."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def with_secret(
        self,
        step: Step,  # noqa: ARG002 - a Protocol's method
        rows: Sequence[int],  # noqa: ARG002
        data: Sequence[bytes],
    ) -> Collection[int]:
        """Where one stands."""
        return self._redactor.places(data)

    def error(self, step: Step, row: int, failure: RowError) -> dict[str, Any]:  # noqa: ARG002 - the same
        """The failure with secrets replaced."""
        error: dict[str, Any] = {"code": failure.code, "message": self._redactor.redact_text(failure.message)}
        if failure.detail is not None:
            error["detail"] = self._redactor.redact_value(dict(failure.detail))
        return error
