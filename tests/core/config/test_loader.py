"""Loading a pipeline file: what comes of a good one, and all that can be wrong in a bad one.

Also for annotations.py, resolution.py, validation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts import FieldType, PipelineError
from elspeth.core import config
from elspeth.core.config import FieldSpec, GateStep, PluginStep, load_pipeline

WithOptions = Callable[[str], str]

YAML_1_1 = "write true or false: in YAML 1.2 yes, no, on and off are text"
EMPTY_OPTIONS = "this must be a mapping (key: value), not empty"

FULL = """\
name: triage
source:
  plugin: csv
  options: {path: data/in.csv}
  schema: {id: int, note: str?}
  key: id
  on_invalid: bad
steps:
  - name: ask
    plugin: model
    options: {api_key: "${KEY}", template_file: prompt.txt}
    on_error: bad
  - name: risk
    gate: row['id'] >= 4
    routes: {true: urgent, false: next}
sinks:
  done: {plugin: csv, options: {path: out/done.csv}}
  urgent: {plugin: jsonl, options: {path: out/urgent.jsonl}}
  bad: {plugin: jsonl, options: {path: "out/{run}/bad.jsonl"}}
output: done
landscape: {url: "sqlite:///trail/audit.db"}
payloads: {path: trail/payloads, retention_days: 90}
limits: {max_error_rate: 0.02}
retry: {max_attempts: 3, initial_seconds: 2, max_seconds: 60}
"""


def test_public_names_are_sorted_and_complete() -> None:
    assert sorted(config.__all__) == config.__all__
    assert all(hasattr(config, name) for name in config.__all__)


def test_a_good_file_becomes_a_pipeline(folder: Any) -> None:
    folder.write("prompt.txt", "Hi {{ row.id }}")
    pipeline = folder.load(FULL)
    here = str(folder.path)
    assert (pipeline.name, pipeline.path, pipeline.folder) == ("triage", folder.path / "p.yaml", folder.path)
    assert FULL.encode() == pipeline.text
    assert f"{here}/data/in.csv" == pipeline.source.options.path
    assert pipeline.source.schema == {"id": FieldSpec(FieldType.INT), "note": FieldSpec(FieldType.STR, True)}
    assert (pipeline.source.key, pipeline.source.on_invalid, pipeline.output) == ("id", "bad", "done")
    ask, risk = pipeline.steps
    assert isinstance(ask, PluginStep)
    assert isinstance(risk, GateStep)
    assert (ask.on_error, ask.next, ask.options.template_file.text) == ("bad", "next", "Hi {{ row.id }}")  # type: ignore[attr-defined]
    assert risk.routes == {"true": "urgent", "false": "next"}
    assert list(pipeline.sinks) == ["done", "urgent", "bad"]
    assert pipeline.landscape.path == f"{here}/trail/audit.db"
    assert (pipeline.payloads.path, pipeline.payloads.retention_days) == (f"{here}/trail/payloads", 90)
    assert (pipeline.limits.max_error_rate, pipeline.retry.max_attempts) == (0.02, 3)
    assert [node.name for node in pipeline.graph.nodes] == ["source", "ask", "risk", "done", "urgent", "bad"]


def test_what_may_be_left_out_has_a_default(folder: Any, head: str) -> None:
    pipeline = folder.load(head)
    assert (pipeline.output, pipeline.steps, pipeline.source.schema) == ("out", (), None)
    assert (pipeline.source.on_invalid, pipeline.landscape.url, pipeline.payloads.path) == ("discard", None, None)
    assert (pipeline.limits.max_error_rate, pipeline.retry.max_attempts) == (None, 5)


WRONG_FILE = """\
name: my pipeline
sorce: {}
source:
  plugin: cvs
  options: {path: in.csv}
  schema: {id: itn}
steps:
  - name: ask
    plugin: model
    options:
      api_key: sk-live-abc
      max_request: 5
      temperature: "0.5"
      mode: fsat
      template: |
        Hello
        {{ row.x }}
  - name: ask
    gate: row.id > 3 and row['ä'] = 4
    routes: {true: nowhere, false: next}
    on_eror: done
sinks:
  done: {plugin: csv, options: {path: out.csv}}
  more: {plugin: csv, options: {path: ./x/../out.csv}}
outptu: done
limits: {max_error_rate: 2}
"""

ITS_REPORT = """\
p.yaml:1:1: error[MISSING_KEY]: with several sinks, 'output' must name the one after the last step
    name: my pipeline
    ^
  hint: add output: done
p.yaml:1:7: error[BAD_NAME]: 'my pipeline' cannot be a name
    name: my pipeline
          ^
  hint: a letter first, then letters, digits, - and _, at most 63 in all
p.yaml:2:1: error[UNKNOWN_KEY]: unknown key 'sorce'
    sorce: {}
    ^
  hint: the keys are name, source, steps, sinks, output, landscape, payloads, limits, retry
p.yaml:4:11: error[UNKNOWN_PLUGIN]: there is no source plugin 'cvs'
      plugin: cvs
              ^
  hint: did you mean 'csv'?
p.yaml:6:16: error[BAD_VALUE]: this is no type of a field
      schema: {id: itn}
                   ^
  hint: did you mean 'int'?
p.yaml:11:16: error[SECRET_LITERAL]: a secret must not stand in the pipeline file
          api_key: ***
                   ^
  hint: write ${NAME} and set NAME in the environment or in .env beside the pipeline file
p.yaml:12:7: error[UNKNOWN_KEY]: unknown key 'max_request'
          max_request: 5
          ^
  hint: did you mean 'max_requests'?
p.yaml:13:20: error[WRONG_TYPE]: this must be a number, not text
          temperature: "0.5"
                       ^
  hint: write it without quotes
p.yaml:14:13: error[BAD_VALUE]: this must be 'fast' or 'slow'
          mode: fsat
                ^
  hint: did you mean 'fast'?
p.yaml:18:11: error[DUPLICATE_NAME]: 'ask' is already the name of step 1
      - name: ask
              ^
p.yaml:19:35: error[EXPRESSION]: = is no operator here
        gate: row.id > 3 and row['ä'] = 4
                                      ^
  hint: write == to compare
p.yaml:20:20: error[UNKNOWN_TARGET]: there is no step or sink 'nowhere'
        routes: {true: nowhere, false: next}
                       ^
  hint: one of done, more, next
p.yaml:21:5: error[UNKNOWN_KEY]: unknown key 'on_eror'
        on_eror: done
        ^
  hint: did you mean 'on_error'?
p.yaml:24:39: error[DUPLICATE_PATH]: this is also the path of the sink 'done'
      more: {plugin: csv, options: {path: ./x/../out.csv}}
                                          ^
  hint: every sink needs a file of its own
p.yaml:25:1: error[UNKNOWN_KEY]: unknown key 'outptu'
    outptu: done
    ^
  hint: did you mean 'output'?
p.yaml:26:26: error[BAD_VALUE]: this should be less than or equal to 1
    limits: {max_error_rate: 2}
                             ^"""


def test_all_errors_are_reported_at_once_in_the_order_of_the_file(folder: Any) -> None:
    assert folder.rendered(WRONG_FILE) == ITS_REPORT


@pytest.mark.parametrize(
    ("option", "code", "column", "message", "hint"),
    [
        ("strict: no", "WRONG_TYPE", 15, "this must be true or false, not text", YAML_1_1),
        ("strict: 1", "WRONG_TYPE", 15, "this must be true or false, not a number", None),
        ("max_requests: 0", "BAD_VALUE", 21, "this should be greater than or equal to 1", None),
        ("max_requests: 1.5", "WRONG_TYPE", 21, "this must be a whole number, not a decimal number", None),
        ("max_requests: true", "WRONG_TYPE", 21, "this must be a whole number, not true or false", None),
        ("max_requests:", "WRONG_TYPE", 7, "this must be a whole number, not empty", None),
        ("max_requests: '5'", "WRONG_TYPE", 21, "this must be a whole number, not text", "write it without quotes"),
        ("template: 5", "BAD", 0, "", None),
        ("stops: x", "WRONG_TYPE", 14, "this must be a list, not text", None),
        ("stops: [x, 5]", "WRONG_TYPE", 18, "this must be text, not a number", "put it in quotes"),
        ("body: [x]", "WRONG_TYPE", 13, "this must be a mapping (key: value), not a list", None),
        ("wait: x", "WRONG_TYPE", 13, "this must be a whole number or 'auto', not text", None),
        ("price: {model: 5}", "WRONG_TYPE", 22, "this must be text, not a number", "put it in quotes"),
        ("price: {input_per_mtok: 5, output_per_mtok: x}", "WRONG_TYPE", 51, "this must be a number, not text", None),
        ("price: x", "WRONG_TYPE", 14, "this must be a mapping (key: value), not text", None),
        ("reuse: true", "NOT_YET", 7, "'reuse' is not in this version", None),
        ("template: 'Hi {% x'", "TEMPLATE", 21, "bad tag", None),
    ],
)  # fmt: skip
def test_a_wrong_option_is_explained_in_plain_words(
    folder: Any, with_options: WithOptions, option: str, code: str, column: int, message: str, hint: str | None
) -> None:
    if code == "BAD":
        assert folder.load(with_options(option)).plugin_options()[1].template == "5"
        return
    (found,) = folder.faults(with_options(option))
    assert (code, 8, column, message, hint) == (
        found.code,
        found.line,
        found.column,
        found.message,
        found.hint,
    )


def test_a_templates_error_is_placed_inside_its_block(folder: Any, with_options: WithOptions) -> None:
    assert folder.places(with_options("template: |\n  Hello\n  you {% x")) == [("TEMPLATE", 10, 13, "bad tag")]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("steps: [{name: s, fork: [a, b]}]", "fork"),
        ("steps: [{name: s, coalesce: {branches: [a]}}]", "coalesce"),
        ("steps: [{name: s, plugin: rename, collect: {count: 3}}]", "collect"),
        ("steps: [{name: s, plugin: rename, emit: new}]", "emit"),
    ],
)
def test_what_is_promised_for_later_says_so(folder: Any, head: str, section: str, key: str) -> None:
    found = folder.faults(head + section)
    assert [("NOT_YET", f"{key!r} is not in this version")] == [(d.code, d.message) for d in found]
    assert section.index(key) + 1 == found[0].column


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://me:hunter22@db/audit", "NOT_YET"),
        ("sqlite://", "BAD_VALUE"),
        ("sqlite:///", "BAD_VALUE"),
        ("sqlite:///:memory:", "BAD_VALUE"),
        ("sqlite://host/x.db", "BAD_VALUE"),
        ("audit.db", "BAD_VALUE"),
    ],
)
def test_only_sqlite_files_hold_the_trail_and_no_url_is_shown(folder: Any, head: str, url: str, code: str) -> None:
    found = folder.faults(f'{head}landscape: {{url: "{url}"}}')
    assert [(code, 4, 18)] == [(d.code, d.line, d.column) for d in found]
    assert "hunter22" not in repr(found)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[x]", [("WRONG_TYPE", 4, 9, "a step is a mapping with a name and a plugin or gate")]),
        ("{a: b}", [("WRONG_TYPE", 4, 8, "this must be a list, not a mapping")]),
        ("[{plugin: rename}]", [("MISSING_KEY", 4, 9, "the key 'name' is missing")]),
        ("[{name: a}]", [("MISSING_KEY", 4, 9, "the key 'plugin' is missing")]),
        ("[{name: a, plugin: rename, gate: '1'}]", [("BAD_VALUE", 4, 41, "a step has a plugin or a gate, not both")]),
        ("[{name: a, gate: '1'}]", [("MISSING_KEY", 4, 9, "the key 'routes' is missing")]),
        ("[{name: a, routes: {x: next}}]", [("MISSING_KEY", 4, 9, "the key 'gate' is missing")]),
        ("[{name: a, gate: '1', routes: {}}]", [("BAD_VALUE", 4, 38, "this should have at least 1 item")]),
        ("[{name: a, gate: '1', routes: {x: next}, next: out}]", [("UNKNOWN_KEY", 4, 49, "unknown key 'next'")]),
        ("[{name: a, plugin: rename, options: }]", [("WRONG_TYPE", 4, 35, EMPTY_OPTIONS)]),
        ("[{name: a, plugin: broken}]", [("BAD_PLUGIN", 4, 27, "the plugin 'broken' cannot be used: no module")]),
        ("[{name: a, plugin: 5}]", [("WRONG_TYPE", 4, 27, "this must be text, not a number")]),
        ("[{name: true, plugin: rename}]", [("WRONG_TYPE", 4, 16, "this must be text, not true or false")]),
    ],
)  # fmt: skip
def test_a_step_says_what_it_is(folder: Any, head: str, steps: str, expected: list[object]) -> None:
    assert expected == folder.places(f"{head}steps: {steps}\n")


def test_sections_that_must_be_there_are_missed_by_name(folder: Any) -> None:
    assert [m for _, _, _, m in folder.places("name: a\n")] == [
        "the key 'source' is missing",
        "the key 'sinks' is missing",
    ]


def test_options_that_are_left_out_are_missed_at_the_section(folder: Any) -> None:
    text = "name: a\nsource: {plugin: csv}\nsinks: {out: {plugin: csv, options: {}}}\n"
    assert folder.places(text) == [
        ("MISSING_KEY", 2, 1, "the key 'path' is missing"),
        ("MISSING_KEY", 3, 28, "the key 'path' is missing"),
    ]


def test_labels_of_routes_may_be_typed_but_not_twice(folder: Any, head: str) -> None:
    steps = "steps: [{name: g, gate: \"row['a']\", routes: {1: out, urgent: out, true: next, 'true': out}}]\n"
    assert folder.places(head + steps) == [("DUPLICATE_KEY", 4, 79, "the key 'true' stands here and on line 4")]
    (gate,) = folder.load(head + steps.replace(", 'true': out", "")).steps
    assert gate.routes == {"1": "out", "urgent": "out", "true": "next"}


def test_the_labels_no_and_yes_are_text_and_never_taken(folder: Any, head: str) -> None:
    steps = "steps: [{name: g, gate: \"row['a'] > 1\", routes: {yes: out, no: next}}]\n"
    assert [m for _, _, _, m in folder.places(head + steps)] == [
        "the gate has no route for true",
        "the gate has no route for false",
        "the gate is true or false, so the route 'yes' is never taken",
        "the gate is true or false, so the route 'no' is never taken",
    ]


@pytest.mark.parametrize("key", ["1", "true", "~", "1.5"])
def test_other_keys_must_be_text(folder: Any, with_options: WithOptions, key: str) -> None:
    found = folder.faults(with_options(f"body: {{{key}: x}}"))
    assert [("NON_TEXT_KEY", f'put it in quotes: "{key}"')] == [(d.code, d.hint) for d in found]


def test_every_duplicate_key_is_reported_together_with_other_errors(folder: Any, head: str) -> None:
    assert folder.places(f"{head}name: b\nnmae: c\n") == [
        ("DUPLICATE_KEY", 4, 1, "the key 'name' stands here and on line 1"),
        ("UNKNOWN_KEY", 5, 1, "unknown key 'nmae'"),
    ]


def test_a_gate_that_yaml_cuts_at_a_comment_is_told_so(folder: Any, head: str) -> None:
    steps = "steps:\n  - name: g\n    gate: row['a'] == 'x #1'\n    routes: {true: out, false: next}\n"
    assert folder.rendered(head + steps) == (
        """\
p.yaml:6:23: error[EXPRESSION]: this is no valid expression: unterminated string literal (detected at line 1)
        gate: row['a'] == 'x #1'
                          ^
  hint: YAML takes ' #' for a comment: quote the whole expression"""
    )


def test_a_gate_may_be_written_as_any_scalar(folder: Any, head: str) -> None:
    steps = (
        "steps:\n  - name: g\n    gate: >-\n      row['a'] > 1\n      and nope\n    routes: {x: out, default: next}\n"
    )
    assert folder.places(head + steps) == [("EXPRESSION", 8, 11, "'nope' means nothing here")]


def test_a_syntax_error_is_reported_alone(folder: Any) -> None:
    assert folder.rendered("nmae: x\na: [\n") == (
        "p.yaml:2:4: error[YAML_SYNTAX]: this is no valid YAML: "
        "expected the node content, but found '<stream end>'\n    a: [\n       ^"
    )


def test_the_key_must_be_in_the_schema(folder: Any) -> None:
    text = FULL.replace("template_file: prompt.txt", "strict: true").replace("key: id", "key: idd")
    assert folder.places(text) == [("FIELD_UNKNOWN", 6, 8, "the schema has no field 'idd'")]


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("in.csv", "an input"),
        ("x/../in.csv", "an input"),
        ("p.yaml", "the pipeline file"),
        ("link.csv", "an input"),
        ("trail.db", "the trail's database"),
        ("prompt.txt", "a file of the configuration"),
    ],
)
def test_a_sink_never_writes_over_what_the_run_reads(folder: Any, head: str, path: str, owner: str) -> None:
    folder.write("in.csv", "a\n")
    folder.write("prompt.txt", "hi")
    (folder.path / "link.csv").symlink_to("in.csv")
    text = head.replace("path: out.csv", f"path: {path}") + (
        "landscape: {url: 'sqlite:///trail.db'}\n"
        "steps: [{name: a, plugin: model, options: {template_file: prompt.txt}}]\n"
    )
    found = folder.faults(text)
    assert [("DUPLICATE_PATH", f"this is also the path of {owner}")] == [(d.code, d.message) for d in found]


def test_sinks_that_differ_by_the_runs_id_only_are_the_same(folder: Any) -> None:
    text = FULL.replace("template_file: prompt.txt", "strict: true").replace("out/done.csv", '"out/{run}/bad.jsonl"')
    assert [c for c, *_ in folder.places(text)] == ["DUPLICATE_PATH"]


def test_a_missing_asset_is_reported_at_its_option(folder: Any) -> None:
    (found,) = folder.faults(FULL)
    assert (found.code, found.line, found.column) == ("MISSING_FILE", 11, 49)


def test_a_missing_file_is_an_error_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(tmp_path / "none.yaml", None, environ={})  # type: ignore[arg-type]
    (found,) = caught.value.diagnostics
    assert (found.code, found.line) == ("MISSING_FILE", 0)
    assert found.message == "cannot read this file: No such file or directory"


def test_a_folder_is_no_pipeline_file(tmp_path: Path) -> None:
    with pytest.raises(PipelineError):
        load_pipeline(tmp_path, None, environ={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["a: 1", "source: 1\nsinks: 2\nsteps: 3\nname: 4\n", "steps: [[[]]]\nsinks: {a: {}, b: 1}"]
)
def test_nonsense_is_diagnosed_and_never_crashes(folder: Any, text: str) -> None:
    assert all(d.line > 0 and d.column > 0 for d in folder.faults(text))
