"""What a workshop measures, and how."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.workshop import Workshop

WORK = """
import pathlib, time
pathlib.Path("begun").touch()
while not pathlib.Path("../{awaited}").exists():
    time.sleep(0.001)
pathlib.Path("done").touch()
"""


def test_two_commands_take_turns_and_both_are_measured_to_their_end(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, sizes=[10])
    one, other = (workshop.prepared(name, lambda _: None) for name in ("one", "other"))
    waiting, awaited = ([sys.executable, "-c", WORK.format(awaited=path)] for path in ("other/begun", "one/done"))

    with workshop.taking_turns("other", 10, awaited, folder=other, every_s=0.2, for_s=0.1) as in_turn:
        in_turn.measure("one", 10, waiting, folder=one)

    assert [(1, "one"), (1, "other")] == [(found.number, found.subject) for found in workshop.measurements]
    assert (one / "done").exists()
    assert (other / "done").exists()
