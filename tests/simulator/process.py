"""The real command, as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"


class Process:
    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "elspeth.simulator", "--exit-with-parent", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})},
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        self.ready: dict[str, Any] = json.loads(line) if line else {}

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    def end(self) -> tuple[bytes, bytes]:
        """Ends it as the death of its parent would; what it still wrote to standard output and error."""
        try:
            return self.popen.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    process = Process(*arguments, environment=environment)
    try:
        yield process
    finally:
        process.end()
