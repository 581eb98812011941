"""The lines of an export are the records of the trail: all of them, in a fixed order, nothing lost on the way."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from itertools import groupby
from typing import Any

import pytest
import zstandard
from tests.conftest import Serve
from tests.core.landscape.conftest import Trail
from tests.engine.workbench import Project, ask

from elspeth.contracts import RunStatus, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.export import payload_lines, record_lines
from elspeth.core.landscape.schema import TABLES, table
from elspeth.testing import FakeClock

TABLES_OF_A_RUN = 19
FIRST = ["runs", "run_files", "nodes", "edges"]


@pytest.fixture
def exported(bench: Project, serve: Serve) -> Project:
    """Two runs with all there is: a rejected record, a retry, a failure, keys, text beyond ASCII."""
    bench.write("rows.jsonl", b'{"id": 1, "text": "\xe2\x82\xac"}\nbroken \xff\n{"id": 2, "text": "two"}\n')
    for _ in range(2):
        simulator = serve(row_faults={"row-0-0": "429", "row-2-0": "content_filter"})
        steps = ask(simulator, poll_interval_seconds=0.05)
        steps += "- {name: size, gate: \"len(row['text']) > 2\", routes: {true: done, false: next}, on_error: failed}"
        bench.pipeline(steps, source="key: id", sinks=("done", "failed"))
        assert bench.run(new=True).status is RunStatus.COMPLETED
    return bench


def lines_of(bench: Project, run_no: int = 2) -> list[str]:
    with LandscapeReader(bench.database) as reader:
        return list(record_lines(reader, reader.run_numbered(run_no)))


def records_of(bench: Project) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines_of(bench):
        record = json.loads(line)
        found.setdefault(record.pop("table"), []).append(record)
    return found


def raw_value(line: str, name: str) -> str:
    """The text of a member that is an object, as it stands in the line."""
    start = line.index(f'"{name}":') + len(name) + 3
    return line[start : start + json.JSONDecoder().raw_decode(line[start:])[1]]


def test_every_record_of_the_run_is_there_once_with_every_column(exported: Project) -> None:
    records = records_of(exported)
    for entry in TABLES:
        found = records.get(entry.name, [])
        ((count,),) = exported.query(f"SELECT COUNT(*) FROM {entry.name} WHERE run_no = 2")
        assert count == len(found), entry.name
        assert {entry.column_names} >= {tuple(record) for record in found}
        assert count == len({tuple(record[name] for name in entry.key) for record in found})
    assert len(records) >= TABLES_OF_A_RUN


def test_every_value_is_the_one_in_the_table(exported: Project) -> None:
    records = records_of(exported)
    for entry in TABLES:
        stored = exported.query(
            f"SELECT {', '.join(entry.column_names)} FROM {entry.name} WHERE run_no = 2 ORDER BY {', '.join(entry.key)}"
        )
        found = sorted(records.get(entry.name, []), key=lambda record: [_sortable(record[name]) for name in entry.key])
        stored.sort(key=lambda record: [_sortable(record[entry.column_names.index(name)]) for name in entry.key])
        for values, record in zip(stored, found, strict=True):
            for column, value in zip(entry.columns, values, strict=True):
                shown = record[column.name]
                if value is None:
                    assert shown is None
                elif column.words is not None and column.name not in entry.key:
                    assert column.words(value).word == shown
                elif column.kind == "BLOB":
                    assert value.hex() == shown
                elif column.is_json:
                    assert json.loads(value) == shown
                elif column.words is None:
                    assert value == shown


def _sortable(value: Any) -> Any:
    words = {"request": 1, "output": 2, "error": 3}
    value = words.get(value, value) if isinstance(value, str) else value
    return value.hex() if isinstance(value, bytes) else value


def test_what_the_run_is_comes_first_then_commit_by_commit_in_the_order_of_the_tables(exported: Project) -> None:
    parsed = [json.loads(line) for line in lines_of(exported)]
    tables = [name for name, _ in groupby(record["table"] for record in parsed)]
    assert FIRST == tables[: len(FIRST)]
    assert "seals" == tables[-1]
    rest = [record for record in parsed if record["table"] not in {*FIRST, "seals"}]
    positions = {entry.name: number for number, entry in enumerate(TABLES)}
    places = [(record["commit_no"], positions[record["table"]]) for record in rest]
    assert sorted(places) == places
    assert len({commit_no for commit_no, _ in places}) > 3
    for (_, name), group in groupby(rest, key=lambda record: (record["commit_no"], record["table"])):
        keys = [tuple(map(_sortable, (record[column] for column in table(name).key))) for record in group]
        assert sorted(keys) == keys


def test_the_same_trail_gives_the_same_lines(exported: Project) -> None:
    assert lines_of(exported) == lines_of(exported)
    assert not set(lines_of(exported)) & set(lines_of(exported, 1))


def test_a_column_of_json_keeps_its_bytes(exported: Project) -> None:
    (line,) = [line for line in lines_of(exported) if line.startswith('{"table":"runs"')]
    config = raw_value(line, "config_json")
    assert json.loads(line)["config_hash"] == sha256(config.encode()).hex()


def test_a_line_of_each_shape(trail: Trail) -> None:
    run = trail.new_run(pipeline='p"ü', config_json='{"a": 1.0, "b": [10000000000000000000001]}')
    recorder = trail.recorder(run)
    recorder.add_rows([0], [7], [bytes(range(32))])
    recorder.add_run_event(RunStatus.FAILED, {"message": "a\nb"})
    recorder.journal.commit_durably()
    with LandscapeReader(trail.database) as reader:
        lines = list(record_lines(reader, run))
    started = FakeClock().now_us()
    folder = json.dumps(str(trail.database.parent))
    config_hash = sha256(b'{"a": 1.0, "b": [10000000000000000000001]}').hex()
    assert lines[0] == (
        f'{{"table":"runs","run_no":1,"run_id":"{run.run_id}","pipeline":"p\\"ü","mode":"run","started_at":{started},'
        f'"folder":{folder},"config_json":{{"a": 1.0, "b": [10000000000000000000001]}},"config_hash":"{config_hash}",'
        f'"code_version":"0","payload_folder":"payloads/{run.run_id}","row_limit":null,"sample_rows":null,'
        '"sample_seed":null,"sample_of":null,"run_key":null,"reuse_json":null}'
    )
    assert lines[1].startswith('{"table":"run_events","run_no":1,"event_no":0,"commit_no":0,"at":')
    assert '"status":"failed"' in lines[1]
    assert lines[1].endswith('"code_version":"0","detail_json":{"message":"a\\nb"}}')
    assert lines[2] == (
        '{"table":"rows","run_no":1,"row_index":0,"commit_no":0,"line":7,'
        '"data_hash":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}'
    )
    assert lines[3].startswith('{"table":"commits","run_no":1,"commit_no":0,')
    assert lines[4].startswith('{"table":"seals","run_no":1,"seal_no":0,')
    assert 5 == len(lines)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("outcomes", "outcome = 99", "outcomes.outcome"),
        ("runs", "config_json = '{'", "config_json"),
        ("commits", "frontier_json = '{}' || char(10) || ' '", "more than one line"),
        ("batch_events", "detail_json = 'x'", "batch_events.detail_json: not JSON"),
    ],
)
def test_what_cannot_be_stops_the_export(exported: Project, name: str, change: str, message: str) -> None:
    with closing(sqlite3.connect(exported.database)) as connection, connection:
        connection.execute(f"DROP TRIGGER {name}_no_update")
        connection.execute(f"UPDATE {name} SET {change} WHERE run_no = 2")
    with pytest.raises(TrailError, match=message):
        lines_of(exported)


def payloads_of(bench: Project) -> list[dict[str, Any]]:
    with LandscapeReader(bench.database) as reader:
        return [json.loads(line) for line in payload_lines(reader, reader.run_numbered(2))]


def test_the_payloads_are_the_content_of_every_segment(exported: Project) -> None:
    content: dict[str, bytes] = {}
    for line in payloads_of(exported):
        data = line["text"].encode() if "text" in line else base64.b64decode(line["base64"])
        assert (line["size"], line["sha256"]) == (len(data), sha256(data).hex())
        assert line["start"] == len(content.setdefault(line["payload"], b""))
        content[line["payload"]] += data
    with LandscapeReader(exported.database) as reader:
        folder = reader.run_numbered(2).payload_folder
    stored = {}
    for path in folder.iterdir():
        with path.open("rb") as file:
            stored[path.name] = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    assert stored == content
    assert {"base64", "text"} <= {name for line in payloads_of(exported) for name in line}


def test_a_changed_byte_of_a_payload_stops_the_export(exported: Project) -> None:
    with LandscapeReader(exported.database) as reader:
        path = reader.run_numbered(2).payload_folder / "calls.zst"
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(bytes(stored))
    with pytest.raises(TrailError, match=r"calls\.zst.*do not have the hash"):
        payloads_of(exported)
    path.unlink()
    with pytest.raises(TrailError, match="cannot be read"):
        payloads_of(exported)
