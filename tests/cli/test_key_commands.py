"""What ``keys`` prints where; tests/e2e/test_keys.py goes through the installed command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from elspeth.cli.app import build_app
from elspeth.contracts import KeyFileError
from elspeth.core.notes import SigningKey

KEY = SigningKey("ministry.example/claims", bytes(range(32)))
LINE = KEY.verifier.encode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key whose first use nobody wrote down."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "elspeth"
    folder.mkdir()
    (folder / "signing_key").write_text(f"{KEY.encode()}\n")
    (folder / "signing_key").chmod(0o600)
    (folder / "known_keys").write_text(f"{LINE}\n")
    return folder


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["keys", *arguments])


def test_the_verifier_line_is_the_result_and_the_rest_is_said_beside_it(folder: Path) -> None:
    shown = keys("show")

    assert (0, f"{LINE}\n") == (shown.exit_code, shown.stdout)
    assert f"since an unknown day  {folder}/signing_key\n" == shown.stderr


def test_only_the_key_in_force_has_a_path(folder: Path) -> None:
    assert 0 == keys("rotate", "--yes").exit_code
    first, second = keys("show", "--all").stderr.splitlines()

    assert "since an unknown day" == first
    assert second.endswith(f"  {folder}/signing_key")


def test_keys_alone_says_what_there_is() -> None:
    helped = keys()

    assert "show" in helped.output
    assert "rotate" in helped.output


def test_a_line_that_is_no_key_ends_the_command(folder: Path) -> None:
    (folder / "known_keys").write_text("nonsense\n")

    failed = keys("show")

    assert isinstance(failed.exception, KeyFileError)
    assert f"{folder}/known_keys:1: this is not a key" == failed.exception.message
    assert "" == failed.stdout


def test_that_no_key_was_rotated_is_said_beside_an_empty_result(folder: Path) -> None:
    told = keys("rotations")

    assert (0, "", True) == (told.exit_code, told.stdout, "no key was rotated here" in told.stderr)
