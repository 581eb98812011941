"""Leaves made from the tables are those that the commit was made of (recorded_leaves.py and commit_tree.py)."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.landscape.conftest import Trail, failed_step, node_step
from tests.tamper.mutations import insider

from elspeth.contracts import FileRole, Outcome, RunStatus
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader, LandscapeRecorder, LineColumns, RunHeader
from elspeth.core.landscape.leaves import HINT_BYTES, leaf_hashes
from elspeth.core.landscape.recorded_leaves import Leaf, leaves
from elspeth.core.merkle import root_of

ROWS = st.integers(0, 12)
NUMBERS = count()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
STEPS = st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=4)
MEMBERS = st.tuples(ROWS, st.integers(1, 2), st.sampled_from(FileRole))
ENTRIES = st.one_of(
    st.tuples(st.just("rows"), ROWS, st.none()),
    st.tuples(st.just("row_keys"), TEXTS, ROWS),
    st.tuples(st.just("passages"), st.frozensets(ROWS, min_size=1), st.tuples(STEPS, st.none() | TEXTS)),
    st.tuples(st.just("failures"), ROWS, st.tuples(STEPS, TEXTS)),
    st.tuples(st.just("outcomes"), ROWS, st.none() | TEXTS),
    st.tuples(st.just("batch_members"), MEMBERS, st.none()),
    st.tuples(st.just("edges"), st.tuples(st.integers(0, 3), TEXTS), st.none()),
)
"""Kind, key and value of a record; a key that was used before is left out, but tokens may go on any number of times."""


def add(recorder: LandscapeRecorder, name: str, key: Any, value: Any) -> None:
    match name, key, value:
        case "rows", row, _:
            recorder.add_rows([row], [row + 1], [sha256(b"row %d" % row)])
        case "row_keys", text, row:
            recorder.add_key(text, row)
        case "passages", rows, (steps, route):
            hashes = [[sha256(b"%d" % row) for row in rows] for _, is_changed in steps if is_changed]
            journey = [node_step(node, changed=is_changed, route=route) for node, is_changed in steps]
            recorder.add_passages(list(rows), journey, hashes)
        case "failures", row, (steps, message):
            hashes = [sha256(b"%d" % row) for _, is_changed in steps if is_changed]
            journey = [node_step(node, changed=is_changed) for node, is_changed in steps]
            recorder.add_failed_passage(row, [*journey, failed_step(4)], hashes, {"message": message})
        case "outcomes", row, reason:
            sink = None if reason is None else 4
            recorder.add_outcomes(
                [row], outcome=Outcome.FAILED, step_no=1, sink_no=sink, sink_lines=[row], reason=reason
            )
        case "batch_members", (row, batch, role), _:
            lines = LineColumns([row], [row], [0], [9], [bytes(32)])
            recorder.batches.add_lines(lines, batch_no=batch, role=role, segment_no=batch)
        case "edges", (node, label), _:
            recorder.journal.add("edges", from_no=node, label=label, to_no=None)


def by_commit(reader: LandscapeReader, run: RunHeader) -> dict[int, list[Leaf]]:
    found: dict[int, list[Leaf]] = defaultdict(list)
    for leaf in leaves(reader, run):
        found[leaf.commit_no].append(leaf)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journals")


@settings(max_examples=40, deadline=None)
@given(commits=st.lists(st.lists(ENTRIES, max_size=25), min_size=1, max_size=4))
def test_any_journal_has_the_same_leaves_in_its_tables(folder: Path, commits: list[list[tuple[str, Any, Any]]]) -> None:
    own = folder / str(next(NUMBERS))  # all runs have one time, and ids would meet, in the database and in its seals
    own.mkdir()
    trail = Trail(own / "audit.db")
    try:
        run = trail.new_run()
        recorder = trail.recorder(run)
        used = set()
        for commit in commits:
            for name, key, value in commit:
                if (name, key) not in used or name in ("passages", "failures"):
                    used.add((name, key))
                    add(recorder, name, key, value)
            recorder.journal.commit()
        recorder.journal.drain()
        found = by_commit(trail.reader(), run)
        told = trail.query(
            "SELECT commit_no, leaf_count, root, nonce, leaf_hints, table_checks_json FROM commits WHERE run_no = ?",
            run.run_no,
        )
    finally:
        trail.close()

    assert len(commits) == len(told)
    for number, leaf_count, root, nonce, hints, checks in told:
        hashes = leaf_hashes(nonce, [leaf.text for leaf in found[number]])
        assert (leaf_count, root) == (len(hashes), root_of(hashes))
        assert hints == b"".join(digest[:HINT_BYTES] for digest in hashes)
        texts: dict[str, str] = defaultdict(str)
        for name, line in (pair for leaf in found[number] for pair in leaf.lines):
            texts[name] += line
        assert json.loads(checks) == {name: zlib.crc32(text.encode()) for name, text in texts.items()}
        assert list(range(leaf_count)) == [leaf.place for leaf in found[number]]


def small(trail: Trail) -> RunHeader:
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.add_run_event(RunStatus.RUNNING)
    recorder.add_rows([0, 1], [1, 2], [bytes(32), bytes(32)])
    recorder.add_key("k", 1)
    recorder.journal.commit_durably()
    return run


def test_a_token_has_one_leaf_a_commit_and_every_other_record_its_own(trail: Trail) -> None:
    run = small(trail)

    assert [
        ("row 0", ("rows",)),
        ("row 1", ("rows", "row_keys")),
        ("1", ("runs",)),
        ("0", ("run_events",)),
        ("0", ("commits",)),
    ] == [(leaf.label, leaf.tables) for leaf in leaves(trail.reader(), run)]


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        ("UPDATE rows SET row_index = 'x' WHERE row_index = 1", "row x"),
        ("UPDATE rows SET data_hash = 5 WHERE row_index = 1", "row 1"),
        ("UPDATE row_keys SET row_index = NULL", "row None"),
        ("UPDATE run_events SET host = CAST(x'ff' AS TEXT)", "0"),
        ("UPDATE rows SET line = 2.5 WHERE row_index = 1", "row 1"),
    ],
)
def test_a_value_that_cannot_be_makes_a_leaf_that_no_commit_has(trail: Trail, statement: str, label: str) -> None:
    run = small(trail)
    before = {leaf.text for leaf in leaves(trail.reader(), run)}
    with insider(trail.database, is_lax=True) as connection:
        connection.execute(statement)
    reader = trail.reader()
    reader.read_any_text()
    after = [leaf for leaf in leaves(reader, run) if leaf.text not in before]

    assert label in [leaf.label for leaf in after]


@pytest.mark.parametrize("value", ["NULL", "'x'", "x'00'"])
def test_the_number_of_a_commit_that_is_no_number_is_that_of_none(trail: Trail, value: str) -> None:
    run = small(trail)
    with insider(trail.database, is_lax=True) as connection:
        connection.execute(f"UPDATE rows SET commit_no = {value} WHERE row_index = 1")

    assert [-1] == [leaf.commit_no for leaf in leaves(trail.reader(), run) if leaf.commit_no != 0]
