"""What a verification has to say: numbered steps, what each found, and how strong the word is."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct, field

__all__ = ["Finding", "Report", "Step", "Strength"]

_MOST_FINDINGS_KEPT = 20


class Strength(Enum):
    """How strong the word of a verification is; the value is the word in JSON."""

    CONSISTENT = "consistent"
    SIGNED = "signed"
    ANCHORED = "anchored"


class Finding(Struct, frozen=True):
    """Something that is not as it was recorded: in which table or file, where in it, what."""

    where: str
    place: str
    message: str

    def as_json(self) -> dict[str, str]:
        """As JSON."""
        return {"where": self.where, "place": self.place, "message": self.message}


class Step(Struct):
    """One step; ``checked`` says in words how much of what was looked at."""

    number: int
    name: str
    checked: str = ""
    findings: list[Finding] = field(default_factory=list)
    finding_count: int = 0
    notes: list[str] = field(default_factory=list)

    def find(self, where: str, place: object, message: str) -> None:
        """Adds a finding."""
        self.add(Finding(where, str(place), message))

    def add(self, finding: Finding) -> None:
        """The same; of very many only the first are kept, all are counted."""
        self.finding_count += 1
        if len(self.findings) < _MOST_FINDINGS_KEPT:
            self.findings.append(finding)

    def note(self, text: str) -> None:
        """Adds what is no difference, but good to know."""
        self.notes.append(text)

    def begin_again(self) -> None:
        """Forgets what was found so far."""
        self.findings.clear()
        self.finding_count = 0
        self.notes.clear()


class Report(Struct):
    """What the verification of one run found; ``anchors`` are the words about what was brought."""

    run_id: str
    pipeline: str
    status: str
    steps: list[Step] = field(default_factory=list)
    strength: Strength = Strength.CONSISTENT
    anchors: list[str] = field(default_factory=list)

    @property
    def finding_count(self) -> int:
        """How many findings there are in all."""
        return sum(step.finding_count for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "run": self.run_id,
            "pipeline": self.pipeline,
            "status": self.status,
            "is_verified": self.finding_count == 0,
            "strength": self.strength.value,
            "anchors": self.anchors,
            "steps": [
                {
                    "step": step.number,
                    "name": step.name,
                    "checked": step.checked,
                    "finding_count": step.finding_count,
                    "findings": [finding.as_json() for finding in step.findings],
                    "notes": step.notes,
                }
                for step in self.steps
            ],
        }
