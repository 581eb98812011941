"""The outputs on the disk: every byte is the run's that put them there last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.tamper.trail import REPLACED, Copy, findings_of

NAMES = ("done.jsonl", "failed.jsonl", "rejected.jsonl", "routed.jsonl", "table.csv")
EDITS: dict[str, Callable[[bytes], bytes]] = {
    "a byte changed": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "the last byte cut off": lambda data: data[:-1],
    "a row more": lambda data: data + b'{"id":99}\n',
    "a byte more in front": lambda data: b" " + data,
    "emptied": lambda _data: b"",
}


@pytest.fixture
def out(original: Copy) -> Iterator[Path]:
    """The folder of the outputs, which is put back afterwards: all copies of the trail tell of it."""
    folder = original.project.folder / "out"
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    yield folder
    for path, data in kept.items():
        path.write_bytes(data)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_output_is_found(original: Copy, out: Path, name: str, edit: Callable[[bytes], bytes]) -> None:
    path = out / name
    assert path.read_bytes()
    path.write_bytes(edit(path.read_bytes()))
    found = findings_of(original.verify(2))

    assert ["outputs"] == [finding.where for finding in found]
    assert found[0].place.startswith(f"{path} byte")


def test_the_output_of_the_run_before_is_not_that_of_this_one(original: Copy, out: Path) -> None:
    path = out / "table.csv"
    earlier = (original.project.folder / REPLACED / "table.csv").read_bytes()
    assert earlier != path.read_bytes()
    path.write_bytes(earlier)

    assert [("outputs", True)] == [(f.where, f.place.startswith(str(path))) for f in findings_of(original.verify(2))]


def test_an_output_that_a_later_run_replaced_is_no_difference(original: Copy) -> None:
    step = original.verify(1).reports[0].steps[-1]

    assert (0, "0 files") == (step.finding_count, step.checked)
    assert [f"is superseded by run {original.run_id(2)}"] * 5 == [
        note.partition(".jsonl ")[2] or note.partition(".csv ")[2] for note in step.notes
    ]


def test_an_output_that_is_a_folder_now_is_found(original: Copy, out: Path) -> None:
    path = out / "done.jsonl"
    path.unlink()
    path.mkdir()
    found = findings_of(original.verify(2))
    path.rmdir()

    assert [("outputs", str(path), "it is no file")] == [(f.where, f.place, f.message) for f in found]
