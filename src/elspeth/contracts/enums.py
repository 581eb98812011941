"""The closed vocabularies of the Landscape.

Each member's value is the small integer that the tables hold, its lower-case
name is the word that people see (views, JSON, messages). Numbers are never
reused: a trail is read for years.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BatchPhase",
    "CallStatus",
    "CallType",
    "FileRole",
    "NodeKind",
    "Outcome",
    "PayloadClass",
    "PurgeAction",
    "RunStatus",
    "StateStatus",
    "Word",
]


class Word(IntEnum):
    """An integer in the tables, a lower-case word everywhere else."""

    @property
    def word(self) -> str:
        """The member's name as people read it."""
        return self.name.lower()


class RunStatus(Word):
    """Where a run stands; the last ``run_events`` record says so."""

    RUNNING = 1
    PENDING = 2
    INTERRUPTED = 3
    FAILED = 4
    COMPLETED = 5


class NodeKind(Word):
    """What a node of the graph is."""

    SOURCE = 1
    TRANSFORM = 2
    GATE = 3
    BATCH_TRANSFORM = 4
    SINK = 5


class StateStatus(Word):
    """What became of a token at a node."""

    COMPLETED = 1
    FAILED = 2


class Outcome(Word):
    """How a token ended. Exactly one is recorded for each token."""

    COMPLETED = 1
    ROUTED = 2
    FORKED = 3
    EXPANDED = 4
    COALESCED = 5
    CONSUMED = 6
    QUARANTINED = 7
    FAILED = 8


class CallType(Word):
    """What kind of external system was reached."""

    HTTP = 1
    LLM = 2
    SQL = 3
    FILE = 4
    OTHER = 5


class CallStatus(Word):
    """How an external call ended."""

    SUCCESS = 1
    ERROR = 2


class PayloadClass(Word):
    """What kind of bytes a segment holds; purging works by class."""

    ROWS = 1
    CALLS = 2
    FILES = 3


class PurgeAction(Word):
    """What was done about the keeping of a run's payloads.

    ``purging`` is the intent, durable before the first file goes: from then on the class of bytes counts as gone.
    ``purged`` says that every file of the class is gone. ``held`` forbids purging until ``released``.
    """

    HELD = 1
    RELEASED = 2
    PURGING = 3
    PURGED = 4


class FileRole(Word):
    """Which file of a batch a row's line stands in."""

    REQUEST = 1
    OUTPUT = 2
    ERROR = 3


class BatchPhase(Word):
    """Where a batch stands on its way to the provider and back; the last event says so.

    ``open`` takes rows; ``sealed`` has its final bytes; ``uploaded`` has a file at
    the provider; ``ready`` has one that the provider has processed; ``created`` is
    a paid job; ``ended`` is a job in a terminal state; ``harvested`` has every row
    accounted for; ``lost`` waits for a person's decision.
    """

    OPEN = 1
    SEALED = 2
    UPLOADED = 3
    READY = 4
    CREATED = 5
    ENDED = 6
    HARVESTED = 7
    LOST = 8
