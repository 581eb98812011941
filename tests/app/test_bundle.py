"""A bundle is made of files that a reader without us understands; the same trail gives the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.app.bundle_scene import REFUSED, REJECTED, ROWS, SCRIPT, bundle_of, record_run
from tests.engine.workbench import Project

from elspeth.app.archive import decode_archive, encode_archive
from elspeth.app.bundle import MOST_ROWS, row_numbers, rows_of_keys, script, write_bundle
from elspeth.app.verification import verify_archive
from elspeth.contracts import MissingTrailError, UnprovenError, UsageError
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader
from elspeth.core.landscape.bundles import decode_records, encode_records
from elspeth.core.landscape.verify import Brought


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return record_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [("42", [42]), ("42,43,100-103", [42, 43, 100, 101, 102, 103]), ("3-3, 1", [1, 3]), ("5,5,4-6", [4, 5, 6])],
)
def test_rows_are_named_by_number_and_range(text: str, rows: list[int]) -> None:
    assert rows == row_numbers(text)


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "1-", "1-2-3", "1.5", "0x1", "²", "1 2", "9" * 30])
def test_what_names_no_rows_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no rows"):
        row_numbers(text)


def test_too_many_rows_and_ranges_that_run_backwards_are_refused(project: Project) -> None:
    assert MOST_ROWS == len(row_numbers(f"0-{MOST_ROWS - 1}"))
    with pytest.raises(UsageError, match="at most 10,000 rows"):
        row_numbers(f"0-{MOST_ROWS}")
    with pytest.raises(UsageError, match="at most 10,000 rows"):
        bundle_of(project, range(MOST_ROWS + 1))
    with pytest.raises(UsageError, match="ends before it begins"):
        row_numbers("7-3")


def test_rows_are_found_by_their_keys(project: Project) -> None:
    with LandscapeReader(project.database) as reader:
        run = reader.run("latest")
        assert [0, 7] == rows_of_keys(reader, run, "7, 0,7")
        with pytest.raises(MissingTrailError, match="no row with the key 'x'"):
            rows_of_keys(reader, run, "7,x")


def test_the_files_are_those_that_the_readme_names(project: Project) -> None:
    bundle = bundle_of(project, [0, REJECTED, REFUSED])
    beside = [name for name in bundle.files if not name.startswith("payloads/")]
    assert ["README.md", "checkpoint.txt", "key.txt", "records.json", "verify.py"] == sorted(beside)
    readme = bundle.files["README.md"].decode()
    for name in (*beside, "payloads/"):
        assert name == "README.md" or f"`{name}`" in readme, name
    assert script() == SCRIPT.read_bytes() == bundle.files["verify.py"]
    assert f"did with 3 rows: 0, {REJECTED}, {REFUSED}" in readme
    assert "SIMULATED ANSWERS" in readme
    assert "{" not in readme


def test_the_same_trail_gives_the_same_bytes_whatever_the_order_of_the_rows(project: Project, tmp_path: Path) -> None:
    one, other = bundle_of(project, [0, 1, 2, 7]), bundle_of(project, [7, 2, 1, 0])
    assert encode_archive(one.files) == encode_archive(other.files)
    assert "4 rows: 0-2, 7" in one.files["README.md"].decode()
    path = tmp_path / "rows.zip"
    write_bundle(one, path)
    assert one.files == decode_archive(path.read_bytes())
    assert [path] == list(tmp_path.iterdir())


def test_one_row_says_nothing_of_any_other(project: Project) -> None:
    data = encode_archive(bundle_of(project, [0]).files)
    for other in range(1, ROWS):
        for words in (f'"text":"Ticket \N{EURO SIGN} {other}"', f"row-{other}-0", f'"row_keys","{other}"'):
            assert words.encode() not in data
            assert words.replace('"', '\\"').encode() not in data


def test_a_key_that_is_not_known_here_is_left_out_and_that_is_said(project: Project, tmp_path: Path) -> None:
    bundle = bundle_of(project, [0], environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert "key.txt" not in bundle.files
    assert any("no key.txt" in remark for remark in bundle.remarks)
    assert "there is no key.txt" in bundle.files["README.md"].decode()


def test_a_payload_that_was_cut_stops_it(project: Project, tmp_path: Path) -> None:
    copy = Project(tmp_path / "copy")
    shutil.copytree(project.folder, copy.folder)
    segment = next(copy.folder.rglob("*b0001-a0-request.jsonl.zst"))
    segment.write_bytes(segment.read_bytes()[:-4])
    with pytest.raises(UnprovenError, match="the trail does not hold: ") as caught:
        bundle_of(copy, [0])
    assert "elspeth verify" in (caught.value.hint or "")


def test_a_script_of_another_version_is_told_of(project: Project, tmp_path: Path) -> None:
    files = dict(bundle_of(project, [0]).files)
    files["verify.py"] += b"# another\n"
    records = decode_records(files["records.json"])
    changed = replace(records, files={**records.files, "verify.py": sha256(files["verify.py"])})
    files["records.json"] = encode_records(changed)
    path = tmp_path / "rows.zip"
    path.write_bytes(encode_archive(files))
    found = verify_archive(path, brought=Brought(), on_report=lambda _report: None)
    assert 0 == found.finding_count
    assert ["its verify.py is not the one of this version of elspeth: take it from a copy you trust"] == (
        found.reports[0].steps[0].notes
    )
