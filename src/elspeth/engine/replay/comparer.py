"""The comparer stands where a run's recorder stands: what the engine would record is held against what is recorded.

Times and durations are no part of the comparison. Where hashes differ, the rows behind
them are compared field by field; what follows from a difference that was told of the
same row is not told again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.contracts import NodeStep, Outcome, StateStatus
from elspeth.core.canonical import compact_json, decode_json, sha256
from elspeth.engine.plan import Plan
from elspeth.engine.replay.findings import ABSENT, Findings, Sort
from elspeth.engine.replay.pairing import Pairing
from elspeth.engine.replay.rows import RecordedRows
from elspeth.engine.replay.stretch import Stretch, What
from elspeth.engine.tokens import Arrivals

__all__ = ["Comparer"]

_STATUS_WORDS = {status.value: status.word for status in StateStatus}
_OUTCOME_WORDS = {outcome.value: outcome.word for outcome in Outcome}
_END = "(end)"
Told = set[tuple[str, str, str]]


class Comparer:
    """Takes states and outcomes of a stretch; `begin` and `end` enclose it."""

    def __init__(
        self,
        plan: Plan,
        pairing: Pairing,
        findings: Findings,
        *,
        rows: RecordedRows,
        recorded_names: Mapping[int, str],
    ) -> None:
        self._plan = plan
        self._pairing = pairing
        self._recorded_of = pairing.recorded
        self._findings = findings
        self._rows = rows
        self._recorded_names = recorded_names
        self._disturbed: set[int | None] = set()
        self._stretch = Stretch({})
        self._versions: list[tuple[Sequence[int], Sequence[bytes]]] = []
        self._hashes: dict[int, bytes] = {}
        self._compared: list[tuple[Sequence[int], int]] = []
        self._ended: set[int] = set()
        self._told: dict[int, Told] = {}

    def begin(self, stretch: Stretch) -> None:
        """What comes next belongs to these rows."""
        self._stretch = stretch
        self._versions = []
        self._hashes = {}
        rejected = [row for row in stretch.rows if stretch.is_rejected(row)] if 0 in stretch.nodes else []
        self._compared = [(rejected, 0)]
        self._ended = set()
        self._told = {}

    # What the engine records

    def add_versions(self, versions: Sequence[tuple[Sequence[int], Sequence[bytes]]]) -> None:
        """New bytes of rows, by column."""
        self._versions += versions

    def add_passages(self, rows: Sequence[int], steps: Sequence[NodeStep], hashes: Sequence[Sequence[bytes]]) -> None:
        """Tokens went the same way."""
        columns = iter(hashes)
        for step in steps:
            if step.is_changed:
                column = next(columns)
                self._hashes.update(zip(rows, column, strict=True))
                self._compare_step(rows, step, column)
            else:
                self._compare_step(rows, step, [None] * len(rows))

    def add_failed_passage(
        self, row: int, steps: Sequence[NodeStep], hashes: Sequence[bytes], error: Mapping[str, Any]
    ) -> None:
        """A token failed at the last of these steps."""
        self.add_passages([row], steps[:-1], [[digest] for digest in hashes])
        self._compare_step([row], steps[-1], [None], compact_json(error))

    def _compare_step(
        self, rows: Sequence[int], step: NodeStep, hashes: Sequence[bytes | None], error: str | None = None
    ) -> None:
        recorded_no = self._recorded_of.get(step.node_no)
        if recorded_no is None:
            return
        self._compared.append((rows, recorded_no))
        states, status = self._stretch.states, step.status.value
        for row, digest in zip(rows, hashes, strict=True):
            what = (status, step.attempt, step.route, digest, error)
            recorded = states.get((row, recorded_no))
            if recorded is None or recorded[0] != what:
                self._compare_state(row, step.node_no, recorded_no, what)

    def add_outcomes(
        self,
        rows: Sequence[int],
        *,
        outcome: Outcome,
        step_no: int | None,
        sink_no: int | None,
        sink_lines: Sequence[int],
        reason: str | None = None,
    ) -> None:
        """Tokens ended alike."""
        self._ended.update(rows)
        ending = (outcome, self._name(step_no), self._name(sink_no), reason)
        for row, line in zip(rows, sink_lines, strict=True):
            self._compare_outcome(row, ending, sink_no, line)

    def _compare_outcome(
        self, row: int, ending: tuple[Outcome, str | None, str | None, str | None], sink_no: int | None, sink_line: int
    ) -> None:
        recorded = self._stretch.outcomes.get(row)
        outcome, step, sink, reason = ending
        if recorded is None:
            self._differ(Sort.RECORD, row, None, "outcome", ABSENT, outcome.word)
            self._disturbed.add(sink_no)
            return
        number, recorded_step, recorded_sink, line, recorded_reason = recorded
        was = (number, self._recorded_name(recorded_step), self._recorded_name(recorded_sink), recorded_reason)
        if was != (outcome.value, step, sink, reason):
            self._disturb(sink_no, recorded_sink)
            sides = zip(("outcome", "step", "sink", "reason"), (_outcome(number), *was[1:]), strict=True)
            for (name, one), other in zip(sides, (outcome.word, step, sink, reason), strict=True):
                if one != other:
                    self._differ(Sort.OUTCOME, row, None, name, one, other)
        elif row in self._told:
            self._disturb(sink_no, recorded_sink)
        elif sink_no is not None and line != sink_line and sink_no not in self._disturbed:
            self._differ(Sort.OUTCOME, row, None, "line", line, sink_line)
            self._disturb(sink_no, recorded_sink)

    def begin_writing(self, arrivals: Sequence[Arrivals]) -> None:
        """The arrivals of the stretch are about to be written: what is not among them, or goes elsewhere, is missed."""
        sinks = {row: group.sink_no for group in arrivals for row in group.indexes}
        for row, ending in self._stretch.outcomes.items():
            sink_no = sinks.get(row)
            if row not in sinks or (None if sink_no is None else self._recorded_of.get(sink_no)) != ending[2]:
                self._disturb(sink_no, ending[2])

    def compare_ends(self, arrivals: Sequence[Arrivals]) -> None:
        """The rows as they end: what an edited pipeline does behind the last step that has a partner."""
        last = self._stretch.nodes[-1] if self._stretch.nodes else 0
        sound = [group for group in arrivals if group.outcome is not Outcome.QUARANTINED]
        for row, data in sorted(pair for group in sound for pair in zip(group.indexes, group.data, strict=True)):
            version = self._stretch.version_after(row, last)
            if sha256(data) != version[0]:
                self._compare_rows(row, _END, version, data)

    def end(self) -> None:
        """Looks for what is recorded and did not happen."""
        for row, ending in self._stretch.outcomes.items():
            if row not in self._ended and not self._findings.has_ended(row):
                self._differ(Sort.RECORD, row, None, "outcome", _outcome(ending[0]), ABSENT)
        if sum(len(rows) for rows, _ in self._compared) == len(self._stretch.states):
            return
        partners = set(self._recorded_of.values()) - {0}
        seen = {(row, node) for rows, node in self._compared for row in rows}
        for (row, node), (what, _) in self._stretch.states.items():
            is_told = row in self._told or self._findings.has_ended(row)
            if node in partners and (row, node) not in seen and not is_told:
                self._differ(Sort.RECORD, row, self._recorded_name(node), "state", _STATUS_WORDS.get(what[0]), ABSENT)

    # Differences

    def _compare_state(self, row: int, node_no: int, recorded_no: int, what: What) -> None:
        if self._findings.has_ended(row):
            return
        step = self._plan.names[node_no]
        state = self._stretch.states.get((row, recorded_no))
        if state is None:
            if row not in self._told:
                self._differ(Sort.RECORD, row, step, "state", ABSENT, _STATUS_WORDS[what[0]])
            return
        recorded, commit_no = state
        if recorded[1] != what[1] and not self._pairing.is_edited:
            self._differ(Sort.ATTEMPT, row, step, "attempt", recorded[1], what[1])
        if recorded[2] != what[2]:
            self._differ(Sort.ROUTE, row, step, "route", _or_absent(recorded[2]), _or_absent(what[2]))
        if recorded[0] != what[0] or recorded[4] != what[4]:
            self._differ(Sort.ERROR, row, step, "error", _error(recorded[4]), _error(what[4]))
        elif recorded[3] != what[3]:
            version = self._stretch.version_after(row, recorded_no)
            data = self._replayed_data(row, what[3])
            if recorded[3] is not None:
                version = (recorded[3], commit_no)
            self._compare_rows(row, step, version, data)

    def _compare_rows(self, row: int, step: str, version: tuple[bytes, int], replayed: bytes) -> None:
        """Field by field; by their hashes when the recorded bytes are gone."""
        data = self._rows.read(row, *version)
        if data is None:
            self._differ(Sort.FIELD, row, step, "(sha256)", version[0].hex(), sha256(replayed).hex())
            return
        one, other = decode_json(data), decode_json(replayed)
        for name in {**one, **other}:
            first, second = one.get(name, ABSENT), other.get(name, ABSENT)
            if ABSENT in (first, second) or compact_json(first) != compact_json(second):
                self._differ(Sort.FIELD, row, step, name, first, second)
        if list(one) != list(other) and one.keys() == other.keys():
            self._differ(Sort.FIELD, row, step, "(order)", list(one), list(other))

    def _replayed_data(self, row: int, digest: bytes | None) -> bytes:
        """The bytes with that hash; without one those that the row had by then."""
        wanted = digest or self._hashes.get(row)
        versions = [column[bisect_left(rows, row)] for rows, column in self._versions if row in rows]
        return next((data for data in versions if sha256(data) == wanted), versions[0])

    def _differ(self, sort: Sort, row: int, step: str | None, field: str, recorded: Any, replayed: Any) -> None:
        """Notes a difference unless the same one was told of the row at an earlier step."""
        one, other = (compact_json(None if side is ABSENT else side) for side in (recorded, replayed))
        sides = (field, one, other)
        told = self._told.setdefault(row, set())
        if sides in told:
            return
        told.add(sides)
        self._findings.differ(sort, row=row, step=step, field=field, recorded=recorded, replayed=replayed)

    def _disturb(self, sink_no: int | None, recorded_sink: int | None) -> None:
        """From here on rows may stand at other lines of these files, and that says nothing more."""
        self._disturbed.add(sink_no)
        self._disturbed.update(number for number, partner in self._recorded_of.items() if partner == recorded_sink)

    def _name(self, node_no: int | None) -> str | None:
        return None if node_no is None else self._plan.names[node_no]

    def _recorded_name(self, node_no: int | None) -> str | None:
        return None if node_no is None else self._recorded_names.get(node_no, str(node_no))


def _outcome(number: int) -> Any:
    return _OUTCOME_WORDS.get(number, number)


def _error(text: str | None) -> Any:
    """A failure as JSON; as it stands when it is none."""
    try:
        return ABSENT if text is None else decode_json(text)
    except ValueError:
        return text


def _or_absent(value: str | None) -> Any:
    return ABSENT if value is None else value
