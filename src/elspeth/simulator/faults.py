"""The fault plan: what is to go wrong, at which call of which operation.

A fault is `{"operation": "batches.create", "occurrence": 1, "action": ...}`.
Occurrences are counted, for each fault by itself, from the moment it was
added; with a state folder the counts survive a restart. The first fault
whose turn it is decides. An action is a word or an object:

| action | what happens |
|---|---|
| `{"status": 429, "headers": {}, "body": ...}` | that answer; nothing is done, unless `"act": true` |
| `{"delay_seconds": 1}` | a late answer; goes together with any other key |
| `"stall"` | no answer until the client or the server goes |
| `"reset_before"`, `"reset_after"` | the connection is reset, the request not done, or done |
| `"truncate"` | half of the body under the full Content-Length, then the end |
| `"malformed_json"` | half of the body, as if it were all |
| `{"patch": {}}` | merged into the JSON answer |
| `"stuck"` | the job stays in the phase it was last seen in |
| `"stale_list"`, `"foreign_list"` | a list without its newest object; with objects of others |
| `{"lines": {}}` | the lines of result files are edited (`line_edits`); at `batches.create`, for good |
| `{"end": {"status": "expired", "fraction": 0.5, "undone": "missing"}}` | at `batches.create`: how it ends |
| `{"row_faults": {"row-1": "429"}}` | at `batches.create`: rows of this job that fail |

A word may also be given as `{"do": "truncate", "delay_seconds": 1}`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from elspeth.simulator.json_values import Json, JsonObject
from elspeth.simulator.line_edits import LineEdits
from elspeth.simulator.records import Ending, Phase
from elspeth.simulator.routes import Operation
from elspeth.simulator.settings import UNDONE_ROWS, RowFault
from elspeth.simulator.store import Store

WORDS = frozenset(
    {
        "stall",
        "reset_before",
        "reset_after",
        "truncate",
        "malformed_json",
        "stuck",
        "stale_list",
        "foreign_list",
    }
)
_KEYS = frozenset({"do", "status", "headers", "body", "act", "delay_seconds", "patch", "lines", "end", "row_faults"})
_AT_CREATE_ONLY = frozenset({"end", "row_faults"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`source` is the action as it was given, for the journal."""

    source: Json = None
    word: str = ""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Json = None
    acts: bool = True
    delay_s: float = 0.0
    patch: JsonObject | None = None
    lines: JsonObject = field(default_factory=dict)
    ending: Ending | None = None
    row_faults: dict[str, str] = field(default_factory=dict)

    @property
    def only_spoils_rows(self) -> bool:
        return isinstance(self.source, dict) and set(self.source) == {"row_faults"}


NO_ACTION = Action()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`occurrences` None means every one; else ranges of 1-based numbers, both ends in."""

    operation: str
    occurrences: tuple[tuple[int, float], ...] | None
    action: Action

    def strikes(self, occurrence: int) -> bool:
        if self.occurrences is None:
            return True
        return any(first <= occurrence <= last for first, last in self.occurrences)


def parse_fault(source: Json) -> Fault:
    """Raises ValueError for anything but the words above: a misspelt fault would test nothing."""
    if not isinstance(source, dict) or set(source) - {"operation", "occurrence", "action"}:
        raise ValueError(f"a fault has operation, occurrence and action, not {source!r}")
    operation = str(source.get("operation"))
    if operation not in [*Operation, "*"]:
        raise ValueError(f"unknown operation {operation!r}; known are {', '.join(Operation)} and *")
    try:
        action = _parse_action(source.get("action"))
        occurrences = _parse_occurrence(source.get("occurrence", 1))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"a fault that can't be read: {source!r} ({error})") from error
    if (action.ending or action.row_faults) and operation != Operation.BATCHES_CREATE:
        raise ValueError(f"{' and '.join(sorted(_AT_CREATE_ONLY))} belong to batches.create, not {operation}")
    return Fault(operation=operation, occurrences=occurrences, action=action)


def fault_list(document: Json) -> list[Json]:
    """The faults of a faults file or a POST: one object, a list, or `{"faults": [], "row_faults": {}}`.

    Row faults that are given beside the faults hold for every job.
    """
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and "operation" not in document:
        if unknown := set(document) - {"faults", "row_faults"}:
            raise ValueError(f"unknown keys in the fault plan: {', '.join(sorted(unknown))}")
        rows = document.get("row_faults")
        every_job = {"operation": "batches.create", "occurrence": "every", "action": {"row_faults": rows}}
        return [*document.get("faults", []), *([every_job] if rows else [])]
    return [document]


class FaultPlan:
    """The faults and how often each one's operation has been called; kept in the store."""

    def __init__(self, store: Store, faults_at_start: Iterable[Json]) -> None:
        self._store = store
        self._reconcile([json.dumps(fault, sort_keys=True) for fault in faults_at_start])

    def add(self, faults: Iterable[Json], *, source: str = "request") -> None:
        """All or none."""
        texts = []
        for fault in faults:
            parse_fault(fault)
            texts.append(json.dumps(fault, sort_keys=True))
        with self._store.transaction() as db:
            db.executemany(
                "INSERT INTO faults (source, fault, seen) VALUES (?, ?, 0)",
                [(source, text) for text in texts],
            )

    def clear(self) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM faults")

    def listing(self) -> list[JsonObject]:
        with self._store.transaction() as db:
            rows = db.execute("SELECT fault, seen FROM faults ORDER BY seq").fetchall()
        return [{**json.loads(fault), "seen": seen} for fault, seen in rows]

    def take(self, operation: str) -> Action:
        """Counts this call, and gives what is to happen to it."""
        with self._store.transaction() as db:
            rows = db.execute("SELECT seq, fault, seen FROM faults ORDER BY seq").fetchall()
            struck: list[Action] = []
            for seq, text, seen in rows:
                fault = parse_fault(json.loads(text))
                if fault.operation in (operation, "*"):
                    db.execute("UPDATE faults SET seen = ? WHERE seq = ?", (seen + 1, seq))
                    struck += [fault.action] if fault.strikes(seen + 1) else []
        return _combined(struck)

    def _reconcile(self, texts: list[str]) -> None:
        """A fault that an earlier process was started with keeps its count; one taken out is dropped."""
        with self._store.transaction() as db:
            rows = db.execute("SELECT seq, fault FROM faults WHERE source = 'start' ORDER BY seq").fetchall()
            missing = list(texts)
            for seq, text in rows:
                if text in missing:
                    missing.remove(text)
                else:
                    db.execute("DELETE FROM faults WHERE seq = ?", (seq,))
        self.add([json.loads(text) for text in missing], source="start")


def _combined(struck: list[Action]) -> Action:
    """The first one decides, but one that only spoils rows lets the next decide, and all spoil their rows."""
    if not struck:
        return NO_ACTION
    rows: dict[str, str] = {}
    for action in reversed(struck):
        rows.update(action.row_faults)
    leading = next((action for action in struck if not action.only_spoils_rows), struck[0])
    return replace(leading, row_faults=rows)


def _parse_occurrence(source: Json) -> tuple[tuple[int, float], ...] | None:
    if source == "every":
        return None
    if isinstance(source, dict) and not set(source) - {"from", "to"}:
        return ((int(source.get("from", 1)), float(source.get("to", "inf"))),)
    numbers = source if isinstance(source, list) else [source]
    if not numbers or not all(type(number) is int and number >= 1 for number in numbers):
        raise ValueError(f'occurrence is a number from 1, a list, "every", or from and to; not {source!r}')
    return tuple((number, number) for number in numbers)


def _parse_action(source: Json) -> Action:
    fields: JsonObject = {"do": source} if isinstance(source, str) else source
    if not isinstance(fields, dict) or not fields or set(fields) - _KEYS:
        raise ValueError(f"unknown action {source!r}; keys are {', '.join(sorted(_KEYS))}")
    word = fields.get("do", "")
    if word and word not in WORDS:
        raise ValueError(f"unknown action {word!r}; known are {', '.join(sorted(WORDS))}")
    row_faults = fields.get("row_faults") or {}
    if unknown := set(row_faults.values()) - set(RowFault):
        raise ValueError(f"unknown row fault {sorted(unknown)[0]!r}; known are {', '.join(RowFault)}")
    status = fields.get("status")
    lines = fields.get("lines") or {}
    LineEdits.parse(lines)
    return Action(
        source=source,
        word=word,
        status=None if status is None else int(status),
        headers={str(name): str(value) for name, value in (fields.get("headers") or {}).items()},
        body=fields.get("body"),
        acts=bool(fields.get("act", status is None)) and word != "reset_before",
        delay_s=float(fields.get("delay_seconds", 0)),
        patch=fields.get("patch"),
        lines=lines,
        ending=_parse_ending(fields["end"]) if "end" in fields else None,
        row_faults=row_faults,
    )


def _parse_ending(source: Json) -> Ending:
    ending = Ending(
        phase=source.get("status", Phase.EXPIRED),
        share=float(source.get("fraction", 0.5)),
        undone_rows=source.get("undone", "error_file"),
    )
    allowed = (Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELLED, Phase.FAILED)
    if ending.phase not in allowed or not 0 <= ending.share <= 1 or ending.undone_rows not in UNDONE_ROWS:
        raise ValueError(f"a job can't end like {source!r}")
    return ending
