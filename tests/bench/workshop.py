"""Where the benchmark works: one folder, the sizes, what was measured, and the runs that cases share."""

from __future__ import annotations

import copy
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import Spread
from tests.bench.tickets import write_tickets
from tests.bench.usage import Breaks, Measurement, Process, Usage, used_by

__all__ = ["ELSPETH", "MANY_ROWS", "Workshop", "rival"]

ELSPETH = Path(sys.executable).with_name("elspeth")
RIVALS = Path(__file__).parent / "rivals"
MANY_ROWS = 100_000
"""Beyond it a process takes so long that fewer repetitions do."""

_TIMES, _TIMES_WITH_MANY = 15, 3


def rival(script: str, *arguments: str | Path) -> list[str | Path]:
    """The command of a script without elspeth, under the same interpreter."""
    return [sys.executable, RIVALS / script, *arguments]


class Workshop:
    """``sizes`` are numbers of rows in rising order; ``times`` overrides how often a pair is measured."""

    def __init__(self, folder: Path, *, sizes: Sequence[int], times: int | None = None) -> None:
        self.folder = folder
        self.sizes = tuple(sorted(set(sizes)))
        self.measurements: list[Measurement] = []
        self._times = times
        self._prepared: dict[str, Path] = {}
        self._breaks: Breaks | None = None

    def with_breaks(self, breaks: Breaks) -> Workshop:
        """The same workshop, in which processes take breaks: what is measured in them goes through this one."""
        other = copy.copy(self)
        other._breaks = breaks
        return other

    @property
    def rows(self) -> int:
        """The largest size."""
        return self.sizes[-1]

    @property
    def moderate_rows(self) -> int:
        """The largest size that is not many rows, or the smallest there is."""
        return max((size for size in self.sizes if size <= MANY_ROWS), default=self.sizes[0])

    def times(self, rows: int, *, usual: int | None = None) -> int:
        """How often something is measured with so many rows: the shorter it takes, the more its noise weighs."""
        return self._times or usual or (_TIMES if rows <= MANY_ROWS else _TIMES_WITH_MANY)

    def environ(self) -> dict[str, str]:
        """All that processes get: a home of their own, so that no key of this user is read or made."""
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "OPENAI_API_KEY": "sk-bench-0123456789"}

    def measure(self, subject: str, rows: int, command: Sequence[str | Path], *, folder: Path, code: int = 0) -> Usage:
        """Runs a command and notes what it used."""
        process = Process(command, folder=folder, environ=self.environ(), code=code)
        usage = used_by(process, breaks=self._breaks)
        self._note(subject, rows, usage)
        return usage

    @contextmanager
    def taking_turns(
        self, subject: str, rows: int, command: Sequence[str | Path], *, folder: Path, every_s: float, for_s: float
    ) -> Iterator[Workshop]:
        """Measures a command too, which goes on in the breaks of what is measured within the block."""
        with Process(command, folder=folder, environ=self.environ()) as process:
            yield self.with_breaks(Breaks(every_s=every_s, work=lambda: process.go_on(for_s)))
            self._note(subject, rows, process.usage())

    def elspeth(self, subject: str, rows: int, folder: Path, *arguments: str, code: int = 0) -> Usage:
        """The installed command."""
        return self.measure(subject, rows, [ELSPETH, *arguments], folder=folder, code=code)

    def found(self, subject: str, rows: int) -> list[Measurement]:
        """What was measured of a subject so far."""
        return [one for one in self.measurements if (one.subject, one.rows) == (subject, rows)]

    def cpu_s(self, subject: str, rows: int) -> Spread:
        """Seconds of CPU of a subject."""
        return Spread.of(one.cpu_s for one in self.found(subject, rows))

    def wall_s(self, subject: str, rows: int) -> Spread:
        """Seconds on the clock."""
        return Spread.of(one.wall_s for one in self.found(subject, rows))

    def memory_mb(self, subject: str, rows: int) -> Spread:
        """Peak memory."""
        return Spread.of(one.memory_mb for one in self.found(subject, rows))

    def prepared(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder that is made once and shared from then on."""
        if name not in self._prepared:
            folder = self.folder / name
            folder.mkdir()
            make(folder)
            self._prepared[name] = folder
        return self._prepared[name]

    def kept_once(self, name: str, make: Callable[[Path], Usage]) -> Usage:
        """Makes a run once more. The first one is kept in the folder of that name, for cases that read it."""
        usages: list[Usage] = []
        self.prepared(name, lambda folder: usages.append(make(folder)))
        if not usages:
            folder = Path(tempfile.mkdtemp(prefix="again-", dir=self.folder))
            usages.append(make(folder))
            shutil.rmtree(folder)
        return usages[0]

    def source(self, rows: int) -> Path:
        """The tickets."""
        return self.prepared(f"tickets-{rows}", lambda folder: write_tickets(folder / "rows.csv", rows)) / "rows.csv"

    def _note(self, subject: str, rows: int, usage: Usage) -> None:
        number = len(self.found(subject, rows)) + 1
        self.measurements.append(
            Measurement(
                subject=subject,
                rows=rows,
                number=number,
                wall_s=usage.wall_s,
                cpu_s=usage.cpu_s,
                memory_mb=usage.memory_mb,
            )
        )
        line = f"{subject}, {rows:,} rows: {usage.wall_s:.2f} s, {usage.cpu_s:.2f} s of CPU, {usage.memory_mb:.0f} MB"
        print(line, file=sys.stderr, flush=True)
