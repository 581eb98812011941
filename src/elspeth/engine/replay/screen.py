"""A replay knows no secrets, so what they decided is obeyed.

A row that was refused because it would hold a secret is refused again. A failure whose
recorded words have the mark of a secret in them stands when the words around it agree.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from elspeth.contracts import RowError, TrailError
from elspeth.core.calls import MARK
from elspeth.core.canonical import compact_json
from elspeth.core.landscape.reader import read_json
from elspeth.engine.plan import Step
from elspeth.engine.replay.findings import Findings
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.stretch import Stretch

__all__ = ["RecordedScreen"]

_MARK = MARK.decode()


class RecordedScreen:
    """Implements `elspeth.engine.screen.Screen` from the records of the ``stretch`` that is gone through."""

    def __init__(self, pairing: Pairing, findings: Findings) -> None:
        self._pairing = pairing
        self._findings = findings
        self.stretch = Stretch({})

    def with_secret(
        self,
        step: Step,
        rows: Sequence[int],
        data: Sequence[bytes],  # noqa: ARG002 - a Protocol's method
    ) -> Collection[int]:
        """The rows that the run refused here for that reason."""
        places = {place for place, row in enumerate(rows) if self._is_refused(step, row)}
        for _ in places:
            self._findings.obeyed("rows that would have held a secret")
        return places

    def error(self, step: Step, row: int, failure: RowError) -> dict[str, Any]:
        """The failure; in the recorded words where only what is secret makes the difference."""
        error: dict[str, Any] = {"code": failure.code, "message": failure.message}
        if failure.detail is not None:
            error["detail"] = dict(failure.detail)
        recorded = self._recorded(step, row)
        if recorded is None or recorded == error or not _agree(compact_json(recorded), compact_json(error)):
            return error
        self._findings.obeyed("failures whose words held a secret")
        return dict(recorded)

    def _is_refused(self, step: Step, row: int) -> bool:
        recorded = self._recorded(step, row)
        return recorded is not None and recorded.get("code") == "secret"

    def _recorded(self, step: Step, row: int) -> Mapping[str, Any] | None:
        text = self.stretch.error_at(row, self._pairing.recorded.get(step.number))
        try:
            return None if text is None else read_json(text, f"node_states of row {row}")
        except TrailError:  # nothing to obey; the comparer tells it as a difference
            return None


def _agree(recorded: str, replayed: str) -> bool:
    """Whether two texts are the same but for what the mark stands for."""
    if _MARK not in recorded:
        return False
    return re.fullmatch(".*".join(map(re.escape, recorded.split(_MARK))), replayed, re.DOTALL) is not None
