"""A project in a folder, run in process against a simulator, and questions to its trail."""

from __future__ import annotations

import json
import sqlite3
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from elspeth.app.runs import Conditions, RunResult, resume_run, start_run
from elspeth.app.state import State
from elspeth.simulator import Simulator

KEY = "sk-test-0123456789"


class HurriedClock:
    """A day of waiting takes a moment: what is slept passes on this clock, and hardly in the world."""

    def __init__(self) -> None:
        self.sleeps_s: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self._ahead_us = 0

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self._ahead_us

    def sleep_s(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.on_sleep()
        self._ahead_us += round(max(seconds, 0.0) * 1_000_000)
        time.sleep(0.0005)


class Project:
    """Files under ``folder``; ``run`` and ``resume`` work on ``pipeline.yaml`` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {"KEY": KEY}
        self.state = State(folder / ".elspeth")

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.yaml"

    @property
    def database(self) -> Path:
        return self.state.database

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The source as JSON lines."""
        self.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def pipeline(
        self, steps: str = "", *, source: str = "", sinks: Sequence[str] = ("done",), csv: str = "", more: str = ""
    ) -> Path:
        """A pipeline from `rows.jsonl` to JSON lines; ``source`` adds to the source's section, ``csv`` adds sinks."""
        text = "name: test\nsource:\n  plugin: jsonl\n  options: {path: rows.jsonl}\n"
        text += textwrap.indent(textwrap.dedent(source).strip(), "  ") + "\n" if source else ""
        text += "steps:\n" + textwrap.indent(textwrap.dedent(steps).strip(), "  ") + "\n" if steps else ""
        text += "sinks:\n" + "".join(f"  {n}: {{plugin: jsonl, options: {{path: out/{n}.jsonl}}}}\n" for n in sinks)
        text += textwrap.indent(textwrap.dedent(csv).strip(), "  ") + "\noutput: done\n"
        return self.write("pipeline.yaml", text + textwrap.dedent(more))

    def run(
        self, *, limit: int | None = None, new: bool = False, reuse: Sequence[str] = (), **conditions: Any
    ) -> RunResult:
        return start_run(
            self.file,
            state=self.state,
            conditions=self._conditions(conditions),
            limit=limit,
            reuse=reuse,
            allow_second=new,
        )

    def resume(self, run: str = "latest", **conditions: Any) -> RunResult:
        return resume_run(run, state=self.state, conditions=self._conditions(conditions))

    def _conditions(self, given: dict[str, Any]) -> Conditions:
        return Conditions(**{"environ": self.environ, "stop": threading.Event(), **given})

    def lines(self, sink: str) -> list[dict[str, Any]]:
        """The rows of a finished JSON lines output."""
        return [json.loads(line) for line in (self.folder / "out" / f"{sink}.jsonl").read_text().splitlines()]

    def outputs(self) -> dict[str, bytes]:
        """Every file that the sinks have made, by name."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / "out").iterdir())}

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def events(self, event: str | None = None) -> list[tuple[Any, ...]]:
        """Events of batches: batch, event, detail."""
        found = self.query("SELECT batch_no, event, detail_json FROM batch_events ORDER BY batch_no, event_no")
        events = [(batch, name, json.loads(detail)) for batch, name, detail in found]
        return events if event is None else [one for one in events if one[1] == event]

    def outcomes(self) -> list[tuple[Any, ...]]:
        """Every row's outcome: row, outcome, step, sink, line, reason."""
        return self.query("SELECT row_index, outcome, step, sink, line, reason FROM v_outcomes ORDER BY row_index")

    def everything(self) -> bytes:
        """All bytes that are left behind, payloads unpacked."""
        import zstandard

        found = []
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                found.append(data)
                if path.suffix == ".zst":
                    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                        found.append(reader.read())
        return b"\n".join(found)


def ask(simulator: Simulator, *, name: str = "ask", **options: Any) -> str:
    """A batch step against a simulator; ``options`` in the pipeline file's words."""
    values = {
        "base_url": f"{simulator.url}/v1",
        "api_key": "${KEY}",
        "model": "gpt-test",
        "template": "Say {{ row.text }}",
        **options,
    }
    on_error = values.pop("on_error", "failed")
    return f"- {{name: {name}, plugin: openai_batch_llm, on_error: {on_error}, options: {json.dumps(values)}}}\n"


def created(simulator: Simulator) -> list[dict[str, Any]]:
    """The requests that created a job, as the simulator saw them."""
    return [entry for entry in simulator.journal() if entry["operation"] == "batches.create"]


def count(simulator: Simulator, operation: str) -> int:
    """How often an operation was asked for."""
    return sum(entry["operation"] == operation for entry in simulator.journal())
