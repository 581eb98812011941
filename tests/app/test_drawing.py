"""The graph, drawn three ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.app.drawing import Drawing, draw_json, draw_mermaid, draw_text, drawing_of
from elspeth.core.config import load_pipeline
from elspeth.plugins.registry import Registry

PIPELINE = """\
name: triage
source: {plugin: csv, options: {path: not-there.csv}, on_invalid: bad}
steps:
  - {name: tidy, plugin: passthrough}
  - name: ask
    plugin: azure_batch_llm
    options: {endpoint: simulator, deployment_name: d, template: "{{ row.text }}"}
    on_error: bad
  - {name: risk, gate: "row['llm_response'] == '<a & \\"b\\">'", routes: {true: urgent, false: next}, on_error: bad}
sinks:
  done: {plugin: csv, options: {path: done.csv}}
  urgent: {plugin: jsonl, options: {path: urgent.jsonl}}
  bad: {plugin: jsonl, options: {path: bad.jsonl}}
output: done
"""


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    registry = Registry()
    return drawing_of(load_pipeline(tmp_path / "pipeline.yaml", registry, environ={}), registry)


def test_text_shows_every_node_and_every_way_out_of_it(drawing: Drawing) -> None:
    expected = """\
source csv
  next       -> tidy
  on_invalid -> bad
tidy: transform passthrough
  next     -> ask
  on_error -> (discarded)
ask: batch azure_batch_llm
  next     -> risk
  on_error -> bad
risk: gate row['llm_response'] == '<a & "b">'
  true     -> urgent
  false    -> done
  on_error -> bad
done: sink csv  (output)
urgent: sink jsonl
bad: sink jsonl"""

    assert expected == draw_text(drawing)


def test_mermaid_shows_the_same_edges(drawing: Drawing) -> None:
    lines = [line.strip() for line in draw_mermaid(drawing).splitlines()]

    assert lines[0] == "flowchart TD"
    assert lines[-9:] == [
        "n0 --> n1",
        'n0 -.->|"on_invalid"| n6',
        "n1 --> n2",
        'n1 -.->|"on_error"| discarded',
        "n2 --> n3",
        'n2 -.->|"on_error"| n6',
        'n3 -->|"true"| n5',
        'n3 -->|"false"| n4',
        'n3 -.->|"on_error"| n6',
    ]


def test_an_expression_cannot_end_the_text_that_mermaid_shows_it_in(drawing: Drawing) -> None:
    (gate,) = [line for line in draw_mermaid(drawing).splitlines() if line.startswith("  n3{")]

    assert gate == "  n3{\"risk<br/>row['llm_response'] == '#lt;a #amp; #quot;b#quot;#gt;'\"}"


def test_json_names_kinds_edges_and_the_output(drawing: Drawing) -> None:
    drawn = draw_json(drawing)

    assert [node["kind"] for node in drawn["nodes"]] == [
        "source",
        "transform",
        "batch_transform",
        "gate",
        "sink",
        "sink",
        "sink",
    ]
    assert {"from": 1, "label": "on_error", "to": None} in drawn["edges"]
    assert {"from": 3, "label": "route:true", "to": 5} in drawn["edges"]
    assert drawn["nodes"][drawn["output"]]["name"] == "done"
    assert drawn["schema_version"] == 1
