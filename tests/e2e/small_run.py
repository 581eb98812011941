"""One small run that has everything: two kinds of failed rows, a gate, several batch files, several sinks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.project import Project
from tests.e2e.wire import Entry

from elspeth.simulator import Settings, Simulator

SOURCE = (
    b"\xef\xbb\xbfid,subject,body,priority\r\n"
    b"1,Crash,It crashes,1\r\n"
    b'2,Invoice,"two\r\nlines, and ""quotes""",\r\n'
    b"3,Login,Cannot log in,2\r\n"
    b"four,Odd,The id is no number,1\r\n"
    b"5,Caf\xc3\xa9,\xe2\x82\xac 5 too much,3\r\n"
    b'6,"A\nB",newline in the subject,\r\n'
    b"7,Filtered,this one is refused,1\r\n"
    b"8,Short,one field less\r\n"
    b"9,Slow,takes long,2\r\n"
    b"10,Broken,a reply that is no JSON,1\r\n"
    b"11,Last,the end,\r\n"
    b"12,bad \xff byte,x,1\r\n"
    b"13,Really last,the true end,4\r\n"
)
COUNT = 13
LINE_OF_ROW = [2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16]
REJECTED = {3: "type", 7: "field_count", 11: "encoding"}
FAILED = {6: "content_filter", 9: "schema"}


@dataclass(frozen=True)
class SmallRun:
    """What was run and what the commands say of it; each answer is asked for once."""

    project: Project
    journal: list[Entry]
    closing_line: str
    status: dict[str, Any]
    calls: list[dict[str, Any]]
    explanations: dict[int, dict[str, Any]] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)

    def explain(self, row: int) -> dict[str, Any]:
        if row not in self.explanations:
            self.explanations[row] = self.project.explain(row)
        return self.explanations[row]

    def payload(self, sha256: str) -> bytes:
        if sha256 not in self.payloads:
            self.payloads[sha256] = self.project.payload(sha256)
        return self.payloads[sha256]


@contextmanager
def small_run(folder: Path) -> Iterator[SmallRun]:
    settings = Settings(latency_s=0.0, row_faults={"row-6-0": "content_filter", "row-9-0": "not_json"})
    with Simulator(settings) as simulator:
        project = Project(folder)
        project.write("tickets.csv", SOURCE)
        project.write_pipeline(simulator.url)
        project("validate", "pipeline.yaml")
        done = project("run", "pipeline.yaml")
        yield SmallRun(project, simulator.journal(), done.out, project("status", "--json").json(), project.calls())
