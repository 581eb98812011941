"""What a workshop measures, and how."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.workshop import Workshop

WORK = "import pathlib, time; time.sleep({s}); pathlib.Path('done').touch()"


def test_two_commands_take_turns_and_both_are_measured_to_their_end(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, sizes=[10])
    one, other = (workshop.prepared(name, lambda _: None) for name in ("one", "other"))
    command = [sys.executable, "-c", WORK.format(s=0.5)]

    with workshop.taking_turns("other", 10, command, folder=other, every_s=0.2, for_s=0.1) as in_turn:
        in_turn.measure("one", 10, command, folder=one)
        assert not workshop.found("other", 10)

    assert [(1, "one"), (1, "other")] == [(found.number, found.subject) for found in workshop.measurements]
    assert (one / "done").exists()
    assert (other / "done").exists()
