"""What a verifier brings, one run or all, and what only all runs together tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.workbench import Project
from tests.tamper.mutations import drop_run, insider

from elspeth.app.verification import Verification, read_brought, verify_all, verify_one
from elspeth.contracts import KeyFileError, MissingTrailError, UsageError
from elspeth.core.landscape import LandscapeReader, SealFolder
from elspeth.core.landscape.verify import Brought, Finding, Report, Strength
from elspeth.core.notes import SigningKey, VerifierKey


@pytest.fixture
def two_runs(bench: Project) -> Project:
    bench.rows([{"n": 1}])
    bench.pipeline()
    for _ in range(2):
        assert bench.run().exit_code == 0
    return bench


def run_ids(project: Project) -> list[str]:
    return [run_id for (run_id,) in project.query("SELECT run_id FROM runs ORDER BY run_no")]


def notes(project: Project, run_id: str) -> list[str]:
    return SealFolder.beside(project.database).notes(run_id)


def verify(
    project: Project,
    run: str | None = None,
    *,
    brought: Brought | None = None,
    on_report: Callable[[Report], None] = id,
) -> Verification:
    with LandscapeReader(project.database) as reader:
        if run is None:
            return verify_all(reader, brought=brought or Brought(), on_report=on_report)
        return verify_one(reader, run, brought=brought or Brought(), on_report=on_report)


def test_every_run_is_reported_when_it_is_done(two_runs: Project) -> None:
    heard: list[str] = []
    verification = verify(two_runs, on_report=lambda report: heard.append(report.run_id))

    assert run_ids(two_runs) == heard == [report.run_id for report in verification.reports]
    assert 0 == verification.finding_count
    assert verification.as_json()["is_verified"]


def test_a_run_is_named_as_everywhere(two_runs: Project) -> None:
    first, last = run_ids(two_runs)

    assert [last] == [report.run_id for report in verify(two_runs, "latest").reports]
    assert [first] == [report.run_id for report in verify(two_runs, first).reports]
    with pytest.raises(MissingTrailError, match="there is no run 'zz'"):
        verify(two_runs, "zz")


def test_the_word_about_all_is_as_strong_as_about_the_weakest(two_runs: Project) -> None:
    first, last = (notes(two_runs, run_id)[-1] for run_id in run_ids(two_runs))

    assert Strength.ANCHORED is verify(two_runs, brought=Brought(checkpoints=[first, last])).strength
    assert Strength.CONSISTENT is verify(two_runs, brought=Brought(checkpoints=[last])).strength
    assert Strength.CONSISTENT is Verification().strength


@pytest.mark.parametrize(
    "change", ["config_json = '{}'", "config_hash = zeroblob(32)", "folder = NULL", "mode = x'00'"]
)
def test_a_run_whose_own_record_cannot_be_read_is_found_and_the_others_are_verified(
    two_runs: Project, change: str
) -> None:
    with insider(two_runs.database, is_lax=True) as connection:
        connection.execute(f"UPDATE runs SET {change} WHERE run_no = 1")
    first, last = run_ids(two_runs)
    verification = verify(two_runs)

    assert [("runs", "1")] == [(finding.where, finding.place) for finding in verification.findings]
    assert [last] == [report.run_id for report in verification.reports]
    assert [("runs", first)] == [(finding.where, finding.place) for finding in verify(two_runs, first).findings]


def test_a_missing_run_is_told_by_the_numbers_the_files_and_the_checkpoints(two_runs: Project) -> None:
    first = run_ids(two_runs)[0]
    kept = notes(two_runs, first)
    drop_run(two_runs.database, 1)

    assert [
        Finding("runs", "1", "there is no such run, but there are later ones"),
        Finding("runs", first, "the run was sealed, and is not in the database"),
        Finding("runs", first, "a checkpoint of the run was brought, and it is not in the database"),
    ] == verify(two_runs, brought=Brought(checkpoints=kept)).findings


def test_records_of_no_run_are_found_with_all_runs(two_runs: Project) -> None:
    with insider(two_runs.database) as connection:
        connection.execute("INSERT INTO edges VALUES (9, 0, 'next', 0, 1)")

    assert [Finding("edges", "run 9", "it has records of a run that is not there")] == verify(two_runs).findings
    assert 0 == verify(two_runs, "latest").finding_count


class TestBrought:
    """Keys and checkpoints out of files."""

    key = SigningKey.generate()

    def read(self, path: Path, *, is_key: bool) -> Brought:
        return read_brought([path] if is_key else [], [] if is_key else [path], {})

    def test_a_file_of_keys_has_one_on_each_line(self, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        other = VerifierKey("other", bytes(32))
        path.write_text(f"# since 2031-01-01\n{self.key.verifier.encode()}\n\n{other.encode()}\n")

        assert [self.key.verifier, other] == self.read(path, is_key=True).keys

    def test_a_file_of_seals_has_one_after_the_other(self, two_runs: Project) -> None:
        run_id = run_ids(two_runs)[0]
        path = SealFolder.beside(two_runs.database).file(run_id)

        assert notes(two_runs, run_id) == self.read(path, is_key=False).checkpoints

    @pytest.mark.parametrize("text", ["", "\n\n", "# only words\n"])
    def test_a_file_without_a_key_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "empty"
        path.write_text(text)

        with pytest.raises(UsageError, match="holds no key"):
            self.read(path, is_key=True)

    def test_what_is_no_key_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text("# since 2031-05-07\nno key\n")

        with pytest.raises(KeyFileError, match=f"^{path}:2: this is not a key$"):
            self.read(path, is_key=True)

    @pytest.mark.parametrize("text", ["", "a note\n", "text\n\n\N{EM DASH} me AAAAAAAA\n"])
    def test_what_is_no_checkpoint_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "kept"
        path.write_text(text)

        with pytest.raises(UsageError, match="holds no checkpoint"):
            self.read(path, is_key=False)

    @pytest.mark.parametrize("is_key", [True, False])
    def test_what_is_no_text_or_not_there_is_refused(self, tmp_path: Path, is_key: bool) -> None:
        path = tmp_path / "file"
        with pytest.raises(UsageError, match="cannot be read"):
            self.read(path, is_key=is_key)
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(UsageError, match="cannot be read"):
            self.read(path, is_key=is_key)
