"""What proves some rows is collected from a trail that holds, and from no other (proofs.py, proven_payloads.py)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.app.bundle_scene import REFUSED, REJECTED, ROWS, purge, record_run
from tests.engine.workbench import Project

from elspeth.contracts import MissingTrailError, PayloadClass, TrailError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.bundles import PAYLOAD_COLUMNS, named_hashes, parse_line
from elspeth.core.landscape.proofs import Proof, collect_proof
from elspeth.core.landscape.proven_payloads import proven_payloads, purged_on_record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that tests only read."""
    return record_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def copied(recorded: Project, tmp_path: Path) -> Project:
    """A copy that a test may change."""
    shutil.copytree(recorded.folder, tmp_path / "copy")
    return Project(tmp_path / "copy")


def collect(project: Project, *rows: int) -> Proof:
    with LandscapeReader(project.database) as reader, reader.snapshot():
        return collect_proof(reader, reader.run("latest"), rows, known_keys=())


def payloads(project: Project, *rows: int) -> list[bytes]:
    with LandscapeReader(project.database) as reader, reader.snapshot():
        run = reader.run("latest")
        return list(proven_payloads(reader, run, collect_proof(reader, run, rows, known_keys=()).records))


def change(project: Project, *statements: str) -> None:
    """Changes the trail as somebody does who drops the triggers first."""
    with closing(sqlite3.connect(project.database)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def test_all_that_is_recorded_about_the_rows_is_there_and_nothing_about_others(recorded: Project) -> None:
    found = list(collect(recorded, 0, REJECTED, REFUSED).records.records())
    for table in ("rows", "row_keys", "passages", "outcomes", "batch_members"):
        records = [record for name, record in found if name == table]
        ((count,),) = recorded.query(f"SELECT COUNT(*) FROM {table} WHERE row_index IN (0, {REJECTED}, {REFUSED})")
        assert count == len(records), table
        assert {record["row_index"] for record in records} <= {0, REJECTED, REFUSED}
    named = {(record["commit_no"], record["journey_no"]) for name, record in found if name == "passages"}
    steps = recorded.query("SELECT commit_no, journey_no, place FROM journeys")
    assert named < {(commit_no, journey_no) for commit_no, journey_no, _ in steps}
    assert {step for step in steps if step[:2] in named} == {
        (record["commit_no"], record["journey_no"], record["place"]) for name, record in found if name == "journeys"
    }
    batches = {record["batch_no"] for name, record in found if name == "batch_members"}
    assert batches < {number for (number,) in recorded.query("SELECT batch_no FROM batches")}
    listed = ", ".join(map(str, batches))
    for table in ("batches", "batch_events", "calls", "call_intents"):
        records = [record for name, record in found if name == table]
        ((count,),) = recorded.query(f"SELECT COUNT(*) FROM {table} WHERE batch_no IN ({listed})")
        assert count == len(records) > 0, table
        assert {record["batch_no"] for record in records} == batches
    for table in ("runs", "run_files", "nodes", "edges", "artifacts", "purges"):
        ((count,),) = recorded.query(f"SELECT COUNT(*) FROM {table}")
        assert count == sum(name == table for name, _ in found), table


def test_only_the_blinding_of_its_own_leaves_is_in_it(recorded: Project) -> None:
    """A path is made of hashes alone; no nonce, from which every blinding of a commit follows, is anywhere."""
    proof = collect(recorded, 0)
    said = repr(proof)
    for (nonce,) in recorded.query("SELECT nonce FROM commits"):
        assert nonce.hex() not in said
        assert repr(nonce)[2:-1] not in said
    assert len({leaf.blinding for leaf in proof.records.leaves}) == len(proof.records.leaves)


def test_the_payloads_are_those_that_the_records_name(recorded: Project) -> None:
    proof = collect(recorded, 0, REJECTED, REFUSED)
    named = {
        digits
        for name, record in proof.records.records()
        for column in PAYLOAD_COLUMNS.get(name, (None, ()))[1]
        for digits in named_hashes(record, column)
    }
    found = payloads(recorded, 0, REJECTED, REFUSED)
    assert named == {sha256(data).hex() for data in found}
    assert recorded.file.read_bytes() in found
    assert any(b"row-0-0" in data for data in found)
    assert any(b"no number" in data for data in found)
    assert not any(b"row-1-0" in data for data in found)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE passages SET output_hashes = zeroblob(32) WHERE row_index = 1", "records are not those"),
        ("UPDATE journeys SET duration_us = duration_us + 1 WHERE place = 1", "records are not those"),
        ("UPDATE rows SET line = 99 WHERE row_index = 0", "records are not those"),
        ("DELETE FROM outcomes WHERE row_index = 0", "records are not those"),
        ("UPDATE calls SET url = 'https://elsewhere' WHERE call_no = 0", "records are not those"),
        ("UPDATE runs SET code_version = '9'", "records are not those"),
        ("UPDATE commits SET root = zeroblob(32) WHERE commit_no = 2", "are not those that were sealed"),
        ("UPDATE commits SET leaf_count = 7 WHERE commit_no = 3", "are not those that were sealed"),
        ("UPDATE commits SET nonce = zeroblob(32) WHERE commit_no = 0", "records are not those"),
        ("DELETE FROM commits WHERE commit_no = 1", "there is no such record"),
        ("DELETE FROM commits WHERE commit_no = (SELECT MAX(commit_no) FROM commits)", "missing, and .* were sealed"),
        ("UPDATE seals SET root = zeroblob(32) WHERE seal_no = 1", "not what its note says"),
        ("UPDATE seals SET root = zeroblob(32) WHERE seal_no = 0", "are not those that were sealed"),
        ("UPDATE seals SET note = 'x' WHERE seal_no = 1", "not a signed note"),
        ("UPDATE seals SET at = 1 << 62 WHERE seal_no = 1", "no note is made of its columns"),
        ("UPDATE seals SET tree_size = (SELECT MAX(tree_size) FROM seals)", "not as one is written"),
    ],
)
def test_nothing_is_proven_out_of_a_trail_that_was_changed(copied: Project, statement: str, words: str) -> None:
    collect(copied, 0)
    change(copied, statement)
    with pytest.raises(TrailError, match=words):
        collect(copied, 0)


def test_a_record_that_is_gone_from_a_commit_of_its_own_is_missed(copied: Project) -> None:
    """No record says any more that the bundle needs that commit."""
    before = {commit.commit_no for commit in collect(copied, 0).records.commits}
    ((commit_no,),) = copied.query("SELECT commit_no FROM outcomes WHERE row_index = 0")
    assert commit_no in before
    change(copied, "DELETE FROM outcomes WHERE row_index = 0")
    with pytest.raises(TrailError, match=f"commits 1/{commit_no}: its records are not those"):
        collect(copied, 0)


def test_a_line_or_a_row_that_lost_its_bytes_is_no_payload(copied: Project) -> None:
    rows = next(copied.folder.rglob("rows.zst"))
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    with pytest.raises(TrailError):
        payloads(copied, 0)


def test_what_was_purged_on_record_is_left_out_and_said(copied: Project) -> None:
    before = payloads(copied, 0, REJECTED)
    purge(copied, PayloadClass.ROWS)
    after = payloads(copied, 0, REJECTED)
    assert frozenset({PayloadClass.ROWS}) == purged_on_record(collect(copied, 0).records)
    assert set(after) < set(before)
    assert all(b"row-0-0" in data or b"steps:" in data for data in after)


def test_bytes_that_are_gone_without_a_record_stop_the_bundle(copied: Project) -> None:
    next(copied.folder.rglob("rows.zst")).unlink()
    with pytest.raises(TrailError):
        payloads(copied, 0)


def test_rows_that_are_not_there_are_named(recorded: Project) -> None:
    with pytest.raises(MissingTrailError, match=f"no row {ROWS} that is sealed"):
        collect(recorded, 0, ROWS)


def test_what_is_not_sealed_yet_is_left_out_and_counted(copied: Project) -> None:
    """As in a run that goes on: only what its last seal covers can be proven."""
    change(copied, "DELETE FROM seals WHERE seal_no = 1")
    with pytest.raises(MissingTrailError, match="no row 0 that is sealed"):
        collect(copied, 0)
    change(copied, "DELETE FROM seals")
    with pytest.raises(MissingTrailError, match="has no seal yet"):
        collect(copied, 0)


def test_commits_after_the_last_seal_are_counted(copied: Project) -> None:
    assert 0 == collect(copied, 0).unsealed_commits
    with closing(sqlite3.connect(copied.database)) as connection, connection:
        derived = "leaf_count, root, nonce, peaks, leaf_hints, table_checks_json"
        columns = f"run_no, commit_no + 1, at, frontier_json, {derived}"
        connection.execute(f"INSERT INTO commits SELECT {columns} FROM commits ORDER BY commit_no DESC LIMIT 1")
    proof = collect(copied, 0)
    assert 1 == proof.unsealed_commits
    assert proof.records == collect(copied, 0).records


def test_a_leaf_has_the_lines_of_its_token_in_order(recorded: Project) -> None:
    for leaf in collect(recorded, 0, 1, 2).records.leaves:
        assert all("\n" not in line for line in leaf.lines)
        names = [parse_line(line)[0] for line in leaf.lines]
        assert 1 == len(leaf.lines) or set(names) <= {"rows", "row_keys", "passages", "outcomes", "batch_members"}
        assert [json.loads(line)[0] for line in leaf.lines] == names
