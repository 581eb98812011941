"""What keeps registered secrets out of the trail, at the steps.

A row that would hold one fails, and what a failure says is kept without it. Whoever goes
through a recorded run knows no secret; there another screen obeys the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from elspeth.contracts import RowError
from elspeth.core.calls import Redactor
from elspeth.engine.plan import Step
from elspeth.engine.tokens import Token

__all__ = ["RedactingScreen", "Screen"]


class Screen(Protocol):
    """Looks at everything that a step wants to keep."""

    def may_hold_secret(self, step: Step, data: Sequence[bytes]) -> bool:
        """Whether some of ``data`` is to be looked at one by one; False when `holds_secret` is true of none."""
        ...

    def holds_secret(self, step: Step, token: Token, data: bytes) -> bool:
        """Whether ``data``, a row's bytes after the step or a request line, holds a registered secret."""
        ...

    def error(self, step: Step, token: Token, failure: RowError) -> dict[str, Any]:
        """What is kept of a failure: code, message and detail."""
        ...


class RedactingScreen:
    """Knows the secrets of a run."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def may_hold_secret(self, step: Step, data: Sequence[bytes]) -> bool:  # noqa: ARG002 - a Protocol's method
        """Whether one stands in all of it, end to end: one look for many."""
        return self._redactor.is_in(b"".join(data))

    def holds_secret(self, step: Step, token: Token, data: bytes) -> bool:  # noqa: ARG002 - a Protocol's method
        """Whether one stands in ``data``."""
        return self._redactor.is_in(data)

    def error(self, step: Step, token: Token, failure: RowError) -> dict[str, Any]:  # noqa: ARG002 - the same
        """The failure with secrets replaced."""
        error: dict[str, Any] = {"code": failure.code, "message": self._redactor.redact_text(failure.message)}
        if failure.detail is not None:
            error["detail"] = self._redactor.redact_value(dict(failure.detail))
        return error
