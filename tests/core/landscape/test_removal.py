"""Nothing is deleted but the files of the class, in the run's own folder."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail

from elspeth.contracts import FileRole, PayloadClass, RunError, TrailError
from elspeth.core.landscape import RunHeader
from elspeth.core.landscape.removal import ClassFiles, classes_of, delete_files, files_of, unknown_files

ROWS, CALLS, FILES = PayloadClass


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    """A run with one file of rows, one of calls, two of files."""
    run = trail.new_run()
    recorder = trail.recorder(run)
    recorder.add_rejected_bytes(b"raw")
    recorder.calls.store_body(b"body")
    recorder.add_file("/pipeline.yaml", b"name: p")
    recorder.batches.open_file(1, FileRole.REQUEST, name="ask.jsonl")[1].append(b"{}\n")
    recorder.journal.commit_durably()
    return run


def change(trail: Trail, name: str, *, of: str = "calls.zst") -> None:
    """What somebody with access to the database can do."""
    with closing(sqlite3.connect(trail.database)) as connection, connection:
        connection.execute("DROP TRIGGER segments_no_update")
        connection.execute("UPDATE segments SET name = ? WHERE name = ?", (name, of))


def there(run: RunHeader) -> set[str]:
    return {path.name for path in run.payload_folder.iterdir()}


def test_files_are_found_by_class_with_their_sizes_on_the_disk(trail: Trail, run: RunHeader) -> None:
    found = files_of(trail.reader(), run)
    assert frozenset(PayloadClass) == classes_of(trail.reader(), run)
    assert [ROWS, CALLS, FILES] == list(found)
    assert (("rejected.zst",), ("calls.zst",)) == (found[ROWS].names, found[CALLS].names)
    assert 2 == found[FILES].files
    for one in found.values():
        assert one.bytes == sum((run.payload_folder / name).stat().st_size for name in one.names)
    assert 0 == unknown_files(run, list(found.values()))
    assert 2 == unknown_files(run, [found[ROWS], found[CALLS]])


def test_only_the_files_that_are_named_go_and_what_is_gone_already_is_fine(trail: Trail, run: RunHeader) -> None:
    names = files_of(trail.reader(), run)[FILES].names
    (run.payload_folder / "stray.zst").write_bytes(b"not in the trail")
    assert [] == delete_files(run, names)
    assert {"rejected.zst", "calls.zst", "stray.zst"} == there(run)
    assert [] == delete_files(run, names)
    gone = files_of(trail.reader(), run)[FILES]
    assert ClassFiles(payload_class=FILES, names=names, files=0, bytes=0) == gone


@pytest.mark.parametrize(
    "name",
    ["../calls.zst", "/etc/passwd.zst", "sub/calls.zst", "..", ".", "", "calls.txt", "..\\calls.zst", "a\0.zst", "a/"],
)
def test_a_name_that_might_lead_elsewhere_stops_everything(trail: Trail, run: RunHeader, name: str) -> None:
    change(trail, name)
    with pytest.raises(TrailError, match=r"segments 1/\d: .* is no name of a payload file; nothing of the run is"):
        files_of(trail.reader(), run)


def test_a_file_of_two_classes_stops_everything(trail: Trail, run: RunHeader) -> None:
    change(trail, "rejected.zst")
    with pytest.raises(TrailError, match=r"'rejected\.zst' is also the file of another class"):
        files_of(trail.reader(), run)


@pytest.mark.parametrize(
    "folder",
    ["payloads/another", "payloads/../../{run}", "/tmp/elsewhere/{run}", "/tmp/elsewhere", ".", "payloads"],
)
def test_a_folder_that_is_not_the_runs_own_stops_everything(trail: Trail, run: RunHeader, folder: str) -> None:
    with closing(sqlite3.connect(trail.database)) as connection, connection:
        connection.execute("DROP TRIGGER runs_no_update")
        connection.execute("UPDATE runs SET payload_folder = ?", (folder.format(run=run.run_id),))
    reader = trail.reader()
    with pytest.raises(TrailError, match="is not the payload folder of run"):
        files_of(reader, reader.run("latest"))


def test_a_configured_folder_elsewhere_is_the_runs_own(trail: Trail, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    config = f'{{"payloads":{{"path":"{elsewhere}","retention_days":null}}}}'
    run = trail.new_run(config_json=config, payloads=elsewhere)
    recorder = trail.recorder(run)
    recorder.calls.store_body(b"body")
    recorder.journal.commit_durably()
    assert elsewhere / run.run_id == run.payload_folder
    assert [CALLS] == list(files_of(trail.reader(), run))


def test_a_folder_that_is_missing_or_a_link_is_not_taken_for_one_that_is_empty(trail: Trail, run: RunHeader) -> None:
    moved = run.payload_folder.with_name("moved")
    run.payload_folder.rename(moved)
    with pytest.raises(RunError, match="is not there"):
        files_of(trail.reader(), run)
    run.payload_folder.symlink_to(moved)
    with pytest.raises(RunError, match="is not there"):
        files_of(trail.reader(), run)
    (fault,) = delete_files(run, ["calls.zst"])
    assert "cannot be deleted" in fault.message
    assert (moved / "calls.zst").exists()


def test_a_link_in_the_place_of_a_file_is_left_and_so_is_what_it_leads_to(trail: Trail, run: RunHeader) -> None:
    target = trail.database.parent / "precious.zst"
    target.write_bytes(b"precious")
    path = run.payload_folder / "calls.zst"
    path.unlink()
    path.symlink_to(target)
    (fault,) = delete_files(run, ["calls.zst"])
    assert f"{path} cannot be deleted: it is no file, but a link, a folder or a device" == fault.message
    assert (True, b"precious") == (path.is_symlink(), target.read_bytes())


def test_one_file_that_cannot_be_deleted_does_not_keep_the_others(trail: Trail, run: RunHeader) -> None:
    names = files_of(trail.reader(), run)[FILES].names
    path = run.payload_folder / names[0]
    path.unlink()
    path.mkdir()
    (fault,) = delete_files(run, names)
    assert str(path) in fault.message
    assert {names[0], "rejected.zst", "calls.zst"} == there(run)


def test_a_folder_that_cannot_be_made_durable_is_a_fault(
    trail: Trail, run: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    (fault,) = delete_files(run, ["calls.zst"])
    assert f"{run.payload_folder} cannot be deleted: Input/output error" == fault.message
