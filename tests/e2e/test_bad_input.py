"""Bad pipeline files and bad sources: told at their place, all at once, before anything is made or sent."""

import json
import os
import re
from typing import Any

import pytest
from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, tickets

ENDPOINT = "https://nowhere.openai.azure.com"
DIAGNOSTIC = re.compile(r"^pipeline\.yaml:(\d+):(\d+): error\[([A-Z_0-9]+)\]: (.+)$", re.MULTILINE)

BAD_FILES: dict[str, tuple[str, str, str]] = {
    # what is wrong: (text, what stands there instead, what must be said of it)
    "a misspelt key": ("on_invalid:", "on_invalids:", "did you mean"),
    "a misspelt option": ("max_requests:", "max_request:", "did you mean"),
    "an unknown plugin": ("plugin: csv\n  options: {path: tickets", "plugin: csvv\n  options: {path: tickets", "csv"),
    "an unknown sink": ("output: triaged", "output: triage", "triaged"),
    "an unknown route": ("true: urgent", "true: urgnt", "urgent"),
    "a gate that is no expression": ("row['category'] ==", "row['category'] = =", ""),
    "a gate that calls what it may not": ("row['category'] == 'billing'", "open('x') == 'billing'", ""),
    "a gate over a field that is not there": ("row['category'] ==", "row['categry'] ==", "category"),
    "a template over a field that is not there": ("{{ row.title }}", "{{ row.titel }}", "title"),
    "a template that does not parse": ("{{ row.title }}", "{{ row.title", ""),
    "a wrong type": ("max_requests: 5", "max_requests: five", ""),
    "a negative number": ("poll_interval_seconds: 0.1", "poll_interval_seconds: -1", ""),
    "a schema type that is not there": ("body: str", "body: string", ""),
    "a schema out of the strict subset": ("additionalProperties: false", "additionalProperties: true", ""),
    "a missing key of a section": ("    gate: row['category'] == 'billing'\n", "", ""),
    "two equal keys": ("output: triaged", "output: triaged\noutput: urgent", ""),
    "two equal names": ("- name: risk", "- name: tidy", "tidy"),
    "a tab": ("    on_error: failed\n\n  - name: risk", "\ton_error: failed\n\n  - name: risk", ""),
    "a field that exists": ("rename: {subject: title}", "rename: {subject: category}", ""),
    "a literal secret": ("${AZURE_OPENAI_API_KEY}", "abcdefgh12345678", ""),
    "a variable that is not set": (ENDPOINT, "${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
    "an endpoint that is no address": (ENDPOINT, "ftp://x", ""),
    "something that comes later": (
        "    plugin: field_mapper\n",
        "    plugin: field_mapper\n    collect: {count: 3}\n",
        "not in this version",
    ),
    "a key that is no field": ("key: id", "key: number", ""),
    "two outputs with one path": ("out/urgent.jsonl", "out/failed.jsonl", ""),
    "a source that is not there": ("path: tickets.csv", "path: tickts.csv", "tickts.csv"),
    "a schema column that is not there": ("subject: str", "subjekt: str", "subject"),
}


def check_nothing_was_made(project: Project, *allowed: str) -> None:
    assert sorted({"pipeline.yaml", "tickets.csv", *allowed}) == sorted(p.name for p in project.folder.iterdir())


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_pipeline_file_is_told_at_its_place(project: Project, what: str) -> None:
    old, new, said = BAD_FILES[what]
    project.write("tickets.csv", tickets(2))
    path = project.write_pipeline(ENDPOINT)
    assert old in path.read_text(), "the table fits the pipeline"
    path.write_text(path.read_text().replace(old, new))
    done = project("run", "pipeline.yaml", code=2)
    assert "" == done.out
    found = DIAGNOSTIC.search(done.err)
    assert found, done.err
    line, column = int(found[1]), int(found[2])
    source_line = path.read_text().split("\n")[line - 1]
    assert 1 <= column <= len(source_line) + 1
    after = done.err[found.end() :].split("\n")
    key, _, value = source_line.partition(": ")
    assert source_line.strip() in after[1] or (value and f"{key.strip()}: ***" in after[1]), "a value may be a secret"
    assert re.fullmatch(r"[ |]*\^[\^~]*", after[2]), after
    assert said in done.err
    check_nothing_was_made(project)


def test_every_error_is_told_at_once(project: Project) -> None:
    project.write("tickets.csv", tickets(2))
    path = project.write_pipeline(ENDPOINT)
    text = path.read_text().replace("on_invalid:", "on_invalids:").replace("max_requests: 5", "max_requests: five")
    path.write_text(text.replace("{{ row.title", "{{ rwo.title").replace("true: urgent", "true: urgnt"))
    err = project("validate", "pipeline.yaml", code=2).err
    assert len(DIAGNOSTIC.findall(err)) >= 3
    assert "errors in the pipeline file; nothing was sent" in err
    found = json.loads(project("validate", "pipeline.yaml", "--format", "json", code=2).out)
    assert (1, False) == (found["schema_version"], found["ok"])
    assert len(found["diagnostics"]) == len(DIAGNOSTIC.findall(err))
    github = project("validate", "pipeline.yaml", "--format", "github", code=2).out.splitlines()
    assert len(found["diagnostics"]) == len(github)
    assert all(line.startswith("::error file=") for line in github)


@pytest.mark.parametrize("content", [
    b"", b"\n\n", b"just text\n", b"- a\n- list\n", b"name: [\n", b"\xff\xfe\x00bad", b"name: a\n  b: c\n", b"null\n",
    b"&a [*a]\n", b"name: !!python/object:os.system x\n", b"name: tickets\n",
    b"a: " + b"[" * 5000 + b"\n", b"name: \x00\n",
])  # fmt: skip
def test_a_file_that_is_no_pipeline_at_all(project: Project, content: bytes) -> None:
    project.write("pipeline.yaml", content)
    for command in ("validate", "run"):
        done = project(command, "pipeline.yaml", code=2)
        assert "pipeline.yaml" in done.err
        assert "" == done.out
    assert ["pipeline.yaml"] == [path.name for path in project.folder.iterdir()]


def test_a_folder_is_no_pipeline_file(project: Project) -> None:
    project.path("pipeline.yaml").mkdir()
    assert "pipeline.yaml" in project("run", "pipeline.yaml", code=2).err


def test_no_is_text_in_yaml_1_2(project: Project) -> None:
    project.write("tickets.csv", tickets(2))
    path = project.write_pipeline(ENDPOINT)
    path.write_text(path.read_text().replace("enum: [bug, billing, other]", "enum: [no, billing, other]"))
    project("validate", "pipeline.yaml")
    (line,) = project("plan", "pipeline.yaml", "--show", "1").out.splitlines()
    schema = json.loads(line)["body"]["response_format"]["json_schema"]["schema"]
    assert ["no", "billing", "other"] == schema["properties"]["category"]["enum"]


def run_source(project: Project, simulate: Simulate, source: bytes, **changes: str) -> Any:
    simulator = simulate()
    project.write("tickets.csv", source)
    path = project.write_pipeline(simulator.url)
    text = path.read_text()
    for old, new in changes.values():
        text = text.replace(old, new)
    path.write_text(text)
    return simulator


@pytest.mark.parametrize(("source", "said"), [
    (b"", "no header"),
    (b"\n\n", "no header"),
    (b"id,subject,body,priority,id\n1,a,b,1,2\n", "more than once"),
    (b"id,,body,priority\n", "has no name"),
    (b"id,subject,body\n", "no column 'priority'"),
    (b"\xff\xfei\x00d\x00", "UTF-16"),
    (b"id,subj\x00ect,body,priority\n", "NUL"),
    (b'id,"subject,body,priority\n', "quote"),
])  # fmt: skip
def test_a_source_whose_header_is_no_good(project: Project, simulate: Simulate, source: bytes, said: str) -> None:
    simulator = run_source(project, simulate, source)
    for command in ("validate", "run"):
        done = project(command, "pipeline.yaml", code=None)
        assert done.code in (2, 3)
        assert said in done.err
        assert "hint:" in done.err
    assert [] == simulator.journal()
    check_nothing_was_made(project)


def test_a_source_that_is_missing_is_refused_before_anything_is_made(project: Project, simulate: Simulate) -> None:
    run_source(project, simulate, b"")
    project.path("tickets.csv").unlink()
    done = project("run", "pipeline.yaml", code=None)
    assert done.code in (2, 3)
    assert "tickets.csv" in done.err
    assert ["pipeline.yaml"] == [path.name for path in project.folder.iterdir()]


HEADER = b"id,subject,body,priority\n"
BAD_ROWS: dict[str, tuple[bytes, list[tuple[int, str]], int]] = {
    # what: (records after the header, the rejected rows and their codes, how many come through)
    "a NUL byte": (b"1,a,b\x00c,1\n2,a,b,1\n", [(0, "nul")], 1),
    "bytes that are not UTF-8": (b"1,a,\xff\xfe,1\n2,a,b,1\n", [(0, "encoding")], 1),
    "too many fields": (b"1,a,b,1,extra\n2,a,b,1\n", [(0, "field_count")], 1),
    "too few fields": (b"1,a\n2,a,b,1\n", [(0, "field_count")], 1),
    "a lone carriage return": (b"1,a\rb,c,1\n2,a,b,1\n", [(0, "csv")], 1),
    "a quote in the middle": (b'1,"a"b,c,1\n2,a,b,1\n', [(0, "csv")], 1),
    "a quote that is never closed": (b'1,a,b,1\n2,"a,b,1\n', [(1, "csv")], 1),
    "a required value that is empty": (b",a,b,1\n2,a,b,1\n", [(0, "")], 1),
    "a number that is none": (b"1,a,b,high\n2,a,b,1\n", [(0, "type")], 1),
    "a key twice": (b"1,a,b,1\n1,c,d,2\n2,e,f,3\n", [(1, "duplicate_key")], 2),
    "CRLF in quotes": (b'1,"a\r\nb","c\r\nd",1\r\n2,a,b,1\r\n', [], 2),
    "blank lines": (b"1,a,b,1\n\n\n2,a,b,1\n\n", [], 2),
    "no last newline": (b"1,a,b,1\n2,a,b,1", [], 2),
    "a formula": (b"1,=1+1,@SUM(A1),1\n2,+x,-y,1\n", [], 2),
    "control characters and emoji": ("1,\x07\x1b[31m,\U0001f600\u202e,1\n2,\u2028,\ufeff,1\n".encode(), [], 2),
    "nothing but bad rows": (b"x,a,b,1\ny,a,b,1\n", [(0, "type"), (1, "type")], 0),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_quarantined_with_its_bytes_and_the_run_goes_on(
    project: Project, simulate: Simulate, what: str
) -> None:
    records, rejected, good = BAD_ROWS[what]
    run_source(project, simulate, HEADER + records)
    done = project("run", "pipeline.yaml")
    rows = project.lines(f"out/{project.run_id()}/rejected.jsonl")
    assert [index for index, _ in rejected] == [row["row"] for row in rows]
    for row, (_, code) in zip(rows, rejected, strict=True):
        assert code in row["code"]
    outcomes = [r["outcome"] for r in project.query("SELECT outcome FROM v_outcomes ORDER BY row_index")]
    assert (len(rejected), good) == (outcomes.count("quarantined"), len(outcomes) - outcomes.count("quarantined"))
    assert done.out.startswith(f"complete: {len(outcomes)} in = ")
    for index, code in rejected:
        assert code in project.explain(index)["row"]["error"]["code"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(project: Project, simulate: Simulate) -> None:
    run_source(project, simulate, b"\xef\xbb\xbf" + HEADER + b"1,a,b,1\n")
    project("run", "pipeline.yaml")
    assert ["id", "subject", "body", "priority"] == list(project.explain(0)["row"]["data"])


def test_a_huge_field_goes_through_and_a_monstrous_one_is_quarantined(project: Project, simulate: Simulate) -> None:
    huge, monstrous = b"h" * 3_000_000, b"m" * 20_000_000
    run_source(project, simulate, HEADER + b"1,a," + huge + b",1\n2,b," + monstrous + b",1\n3,c,d,1\n")
    done = project("run", "pipeline.yaml")
    assert "1 quarantined (too_large)" in done.out
    assert huge.decode() == project.explain(0)["row"]["data"]["body"]
    assert 3 == project.explain(2)["row"]["data"]["id"]


JSONL = """\
{"id": 1, "subject": "good", "body": "b", "priority": 1}
{"id": 2, "subject": "NaN", "body": "b", "priority": NaN}
{"id": 3, "subject": "infinity", "body": "b", "priority": -Infinity}
[4, "not an object"]
{"id": 5, "subject": "cut", "bo
{"id": 6, "subject": "twice", "subject": "twice", "body": "b", "priority": 1}
{"id": 7, "subject": "lone surrogate \\ud800", "body": "b", "priority": 1}
{"id": 8, "subject": "1e400", "body": "b", "priority": 1, "more": 1e400}
{"id": 9, "subject": "big", "body": "b", "priority": 1, "more": 123456789012345678901234567890}

{"id": 10, "subject": "3.0", "body": "b", "priority": 1, "more": 3.0}
"""


def test_jsonl_with_what_json_does_not_have(project: Project, simulate: Simulate) -> None:
    run_source(project, simulate, b"")
    project.write("tickets.jsonl", JSONL)
    path = project.path("pipeline.yaml")
    text = path.read_text().replace(
        "plugin: csv\n  options: {path: tickets.csv}", "plugin: jsonl\n  options: {path: tickets.jsonl}"
    )
    path.write_text(
        text.replace(
            "{plugin: csv, options: {path: out/triaged.csv}}", "{plugin: jsonl, options: {path: out/triaged.jsonl}}"
        )
    )
    project("run", "pipeline.yaml")
    rows = project.lines(f"out/{project.run_id()}/rejected.jsonl")
    assert {1, 2, 3, 4, 7} <= {row["row"] for row in rows}
    assert not {0, 8, 9} & {row["row"] for row in rows}
    good = {row["id"]: row for row in project.lines("out/triaged.jsonl") + project.lines("out/urgent.jsonl")}
    assert 123456789012345678901234567890 == good[9]["more"]
    assert "3.0" in json.dumps(good[10])
    assert [1, 10] == [project.explain(0)["row"]["line"], project.explain(9)["row"]["line"] - 1]
    for row in rows:
        assert row.get("raw", "").strip() in JSONL


def test_bytes_that_are_no_text_are_told_wherever_they_are_given(project: Project, simulate: Simulate) -> None:
    """Whatever an argument of a command line holds: `Project` refuses a traceback."""
    odd = os.fsdecode(b"\xff")
    project.write("tickets.csv", tickets(1))
    project.write_pipeline(simulate().url)
    for place in ("--db", "--key"):
        assert "not UTF-8" in project("run", "pipeline.yaml", place, odd, code=2).err
    project.write(f"{odd}/tickets.csv", tickets(1))
    elsewhere = project.write(f"{odd}/pipeline.yaml", project.text("pipeline.yaml"))
    assert "not UTF-8" in project("run", elsewhere, code=2).err
    project("run", "pipeline.yaml")
    for arguments in (
        ("explain", "latest", "--key", odd),
        ("explain", "--all-runs", "--key", odd),
        ("export", "latest", "--format", "bundle", "--keys", odd, "--to", "bundle.zip"),
        ("verify", odd),
        ("calls", "latest", "--step", odd),
    ):
        assert "not UTF-8" in project(*arguments, code=2).err


@pytest.mark.parametrize("command", [("purge", ""), ("hold", "", "--why", "x"), ("resume", ""), ("verify", "")])
def test_an_empty_argument_does_not_name_the_only_run(
    project: Project, simulate: Simulate, command: tuple[str, ...]
) -> None:
    project.write("tickets.csv", tickets(1))
    project.write_pipeline(simulate().url)
    project("run", "pipeline.yaml", "--no-wait", code=75)

    assert "has at least one character" in project(*command, code=2).err
