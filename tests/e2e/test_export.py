"""``export`` writes the whole trail, and says what it is worth."""

import base64
import hashlib
import json

from tests.e2e.conftest import Simulate
from tests.e2e.project import Project, ended, tickets
from tests.e2e.small_run import COUNT, SmallRun


def test_a_file_holds_every_record_of_the_run(small: SmallRun) -> None:
    done = small.project("export", "latest", "--to", "trail.jsonl")
    lines = small.project.lines("trail.jsonl")
    assert f"run {small.status['run']}: {len(lines):,} lines in trail.jsonl\n" == done.out
    head, *records, end = lines
    assert (1, small.status["run"], "tickets", True) == tuple(
        head[name] for name in ("schema_version", "run", "pipeline", "simulated")
    )
    assert "SIMULATED ANSWERS" in head["note"]
    assert {"what": "end", "records": len(records), "payloads": 0} == end
    assert COUNT == sum(record["table"] == "rows" for record in records)
    by_row = {record["row_index"]: record for record in records if record["table"] == "outcomes"}
    for row in (0, 3, 6):
        (outcome,) = small.explain(row)["outcomes"]
        assert (outcome["outcome"], outcome["line"]) == (by_row[row]["outcome"], by_row[row]["sink_line"])
        (source,) = [one for one in records if one["table"] == "rows" and one["row_index"] == row]
        assert small.explain(row)["row"]["hash"] == source["data_hash"]


def test_stdout_gets_the_same_lines_and_nothing_else(small: SmallRun) -> None:
    small.project("export", "latest", "--to", "trail.jsonl", "--format", "jsonl")
    done = small.project("export", "--to", "-")
    assert small.project.path("trail.jsonl").read_bytes() == done.stdout
    assert b"" == done.stderr
    assert not small.project.path("-").exists()


def test_payloads_hold_the_bytes_of_every_row_and_file(small: SmallRun) -> None:
    lines = small.project("export", "latest", "--to", "-", "--payloads").out.splitlines()
    plain = small.project("export", "latest", "--to", "-").out.splitlines()
    assert plain[1:-1] == lines[1 : len(plain) - 1], "payloads come behind what is exported anyway"
    content: dict[str, bytes] = {}
    for line in map(json.loads, lines[len(plain) - 1 : -1]):
        data = line["text"].encode() if "text" in line else base64.b64decode(line["base64"])
        content[line["payload"]] = content.get(line["payload"], b"") + data
    hashes = {hashlib.sha256(row).hexdigest() for row in content["rows.zst"].splitlines()}
    assert small.explain(0)["row"]["hash"] in hashes
    pipeline = small.project.path("pipeline.yaml").read_bytes()
    assert pipeline in content["files.zst"]


def test_a_run_of_the_past_in_another_database(small: SmallRun, project: Project) -> None:
    run = small.status["run"]
    project("export", run, "--db", small.project.database, "--to", "trail.jsonl")
    assert run == project.lines("trail.jsonl")[0]["run"]


def test_what_cannot_be_done_is_said(small: SmallRun) -> None:
    for arguments, word in (
        (["latest"], "--to"),
        (["latest", "--to", "x", "--format", "bundle"], "--rows or --keys"),
        (["latest", "--to", "x", "--format", "xml"], "no format 'xml'"),
        (["latest", "--to", "."], "is a folder"),
        (["latest", "--to", "no/x"], "there is no folder"),
        (["01zzz", "--to", "x"], "no run"),
    ):
        done = small.project("export", *arguments, code=2)
        assert "" == done.out
        assert word in done.err
        assert not small.project.path("x").exists()


def test_a_reader_that_goes_away_is_no_fault(project: Project, simulate: Simulate) -> None:
    project.write("tickets.csv", tickets(2_000))
    project.write_pipeline(simulate().url, max_requests=2_000)
    project("run", "pipeline.yaml")
    for arguments in (["export", "latest", "--to", "-", "--payloads"], ["diff", "latest", "latest", "--json"]):
        process = project.start(*arguments)
        with ended(process):
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            err = process.stderr.read()
            process.wait(timeout=30)
        assert b"" == err, arguments
