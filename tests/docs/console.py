"""Runs the console blocks of a page and compares what they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.conftest import elspeth

TESTED = "<!-- tested -->"
_ANYTHING = r"\.\.\.(?=\)?$)"
_VARIABLE = (
    (re.compile(r"\b01[0-9a-hjkmnp-tv-z]{11}\b"), "RUN"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
)


@dataclass(frozen=True)
class Step:
    """A command of a page and the lines that it prints; ``...`` at the end of a line stands for any words or lines."""

    command: str
    expected: str


def steps(page: Path) -> Iterator[Step]:
    """The commands of every block that is marked as tested, in order."""
    blocks = re.findall(rf"^{TESTED}\n```console\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Step(command, expected)


def run_all(page: Path, folder: Path) -> int:
    """Runs the commands in a folder, each from where the last ``cd`` led; returns how many there were."""
    count = 0
    for step in steps(page):
        words = shlex.split(step.command, comments=True)
        if words[0] == "cd":
            folder = folder / words[1]
            continue
        assert words[0] == "elspeth", step.command
        done = elspeth(*words[1:], folder=folder)
        assert done.returncode == 0, f"{step.command}\n{done.stderr}"
        assert matches(step.expected, done.stdout), f"{step.command}\n{done.stdout}\n{done.stderr}"
        count += 1
    return count


def matches(expected: str, printed: str) -> bool:
    """Whether the output is what the page shows, run ids and hashes aside."""
    parts = [re.escape(_constant(part).strip()) for part in re.split(_ANYTHING, expected, flags=re.MULTILINE)]
    return re.fullmatch(r"\s*" + r".*".join(parts) + r"\s*", _constant(printed), re.DOTALL) is not None


def _constant(text: str) -> str:
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text
