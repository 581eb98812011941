"""A replay knows no secrets, so what they decided is obeyed.

A row that was refused because it would hold a secret is refused again. A failure whose
recorded words have the mark of a secret in them stands when the words around it agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.contracts import RowError, TrailError
from elspeth.core.calls import MARK
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.reader import read_json
from elspeth.engine.plan import Step
from elspeth.engine.replay.findings import Findings
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.stretch import Stretch
from elspeth.engine.tokens import Token

__all__ = ["RecordedScreen"]

_MARK = MARK.decode()


class RecordedScreen:
    """Implements `elspeth.engine.screen.Screen` from the records of the ``stretch`` that is gone through."""

    def __init__(self, pairing: Pairing, findings: Findings) -> None:
        self._pairing = pairing
        self._findings = findings
        self.stretch = Stretch({})

    def may_hold_secret(self, step: Step, data: Sequence[bytes]) -> bool:  # noqa: ARG002 - a Protocol's method
        """Always: the record is by row."""
        return True

    def holds_secret(self, step: Step, token: Token, data: bytes) -> bool:  # noqa: ARG002 - a Protocol's method
        """Whether the run refused the row here for that reason."""
        recorded = self._recorded(step, token)
        if recorded is None or recorded.get("code") != "secret":
            return False
        self._findings.obeyed("rows that would have held a secret")
        return True

    def error(self, step: Step, token: Token, failure: RowError) -> dict[str, Any]:
        """The failure; in the recorded words where only what is secret makes the difference."""
        error: dict[str, Any] = {"code": failure.code, "message": failure.message}
        if failure.detail is not None:
            error["detail"] = dict(failure.detail)
        recorded = self._recorded(step, token)
        if recorded is None or recorded == error or not _agree(compact_json(recorded), compact_json(error)):
            return error
        self._findings.obeyed("failures whose words held a secret")
        return dict(recorded)

    def _recorded(self, step: Step, token: Token) -> Mapping[str, Any] | None:
        text = self.stretch.error_at(token.index, self._pairing.recorded.get(step.number))
        try:
            return None if text is None else read_json(text, f"node_states of row {token.index}")
        except TrailError:  # nothing to obey; the comparer tells it as a difference
            return None


def _agree(recorded: str, replayed: str) -> bool:
    """Whether two texts are the same but for what the mark stands for."""
    if _MARK not in recorded:
        return False
    return re.fullmatch(".*".join(map(re.escape, recorded.split(_MARK))), replayed, re.DOTALL) is not None
